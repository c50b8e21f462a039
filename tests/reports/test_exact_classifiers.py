"""Classifiers that are solved exactly have no epochs, curves and collapses, and no report speaks of them."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from reports.best_config import best_config_text
from reports.csv_tables import csv_text, trials_table
from reports.live_board import Board
from reports.live_lines import PlainLines
from reports.live_status import StatusFile, read_status, status_lines
from reports.markdown import markdown
from reports.page import page
from reports.plots.axes import value_of
from reports.plots.curves import drawn
from reports.sections.answer import answer, not_confirmed
from reports.sections.certainty import confidence, finalist_rows
from reports.sections.collapses import collapses
from reports.sections.data import data
from reports.sections.importance import matters
from reports.sections.run import run
from reports.sections.sensitivity import neighbours_sentence
from search.selection.results import Importances, Results
from spaces.best_config import load_best_config
from tests.reports import fake_results as fake
from tests.reports import fake_robustness as robust

ALONE = robust.looked_at(robust.confirmed(fake.both_families(0.0, exact_only=True)))
LAYERS = fake.results(fake.trials(12))
MIXED = robust.looked_at(robust.confirmed(fake.both_families(0.1)))
OF_LAYERS = ("learning rate", "dropout", "batch size", "initializer", "epochs run", "earning curve", "epochs saved")


def test_a_page_of_exact_classifiers_alone_speaks_of_nothing_that_layers_have() -> None:
    results = replace(ALONE, study=replace(ALONE.study, plan=replace(ALONE.study.plan, notes=())))
    for text in (markdown(results), re.sub(r"<pre.*?</pre>|<script.*?</script>", "", page(results), flags=re.S)):
        before_glossary = text.partition("lossary</h2>")[0].partition("## Glossary")[0]
        assert [words for words in OF_LAYERS if words in before_glossary] == []
    assert ("5", "folds per configuration; no classifier was trained in epochs") in run(results).facts
    assert "Epochs:" not in markdown(results)


def test_beside_trained_networks_epochs_are_theirs() -> None:
    epochs, facts = MIXED.epochs, dict(run(MIXED).facts)
    assert epochs.full == 16 * fake.FOLDS * fake.EPOCHS
    assert facts["5 x 40"].endswith("classifiers that are solved exactly have no epochs")
    assert f"Epochs: {epochs.run:,} run of {epochs.full:,}" in markdown(MIXED)


def test_it_cannot_collapse_and_says_so() -> None:
    shown = answer(ALONE).refits
    assert shown is not None
    assert shown.collapsed == ()
    assert shown.sentence.startswith("Its classifier is solved exactly, without training steps, so it can't collapse.")
    assert "The worst of its 25 fits on fresh splits has 0." in shown.sentence
    assert 'class="squares"' not in page(ALONE)
    assert not_confirmed(fake.both_families(0.0, exact_only=True)).endswith("so it can't collapse.")
    assert {row.collapsed for row in finalist_rows(ALONE)} == {"can't collapse"}
    assert collapses(ALONE).sentence == (
        "No fit collapsed. All of them solved a classifier exactly, which can't collapse."
    )
    fits = sum(MIXED.verdicts.values())
    assert collapses(MIXED).sentence.endswith(
        f" 32 of the {fits} fits solved a classifier exactly, which can't collapse."
    )


def test_hyperparameters_that_it_lacks_are_in_no_table_and_no_figure() -> None:
    exact, layers = fake.exact(0, [0.8] * 5).configuration, fake.configuration(1)
    assert value_of(exact, "classifier") == "logistic"
    head = fake.exact(2, [0.8], classifier="layers", depth=2, dense_ratio=0.0).configuration
    assert (value_of(head, "depth"), value_of(head, "classifier")) == (None, "layers")
    for name in ("depth", "dense_ratio", "learning_rate", "dropout"):
        assert value_of(exact, name) is None
        assert value_of(layers, name) is not None
    assert not confidence(ALONE).has_layers
    assert confidence(MIXED).has_layers
    assert '<th scope="col">initializer' not in page(ALONE)
    assert {one.title for one in matters(ALONE).slices} <= {"pretrained network", "classifier"}


def test_curves_are_those_of_the_best_that_have_any() -> None:
    assert drawn(ALONE) == []
    assert collapses(ALONE).curves is None
    assert "best configurations that were trained in epochs (solid)" in page(MIXED)
    assert "best configurations (solid)" in page(LAYERS)
    best = [ranked for ranked in MIXED.ranking if not ranked.trial.configuration.is_closed_form][:3]
    assert MIXED.ranking[0].trial.configuration.is_closed_form
    assert {one.fit.trial for one in drawn(MIXED) if not one.collapsed} == {one.trial.number for one in best}


def test_there_is_nothing_to_change_a_little() -> None:
    assert "has no numbers that could be changed a little" in neighbours_sentence(ALONE)
    assert "was not measured" in neighbours_sentence(LAYERS)


def test_importances_are_told_to_be_within_families() -> None:
    weighed = Importances(score={"classifier": 0.5}, collapse={}, trials=30, collapsed=0)
    mixed = matters(replace(MIXED, importances=weighed))
    assert mixed.sentence == (
        "Within each family (from scratch, pretrained), the differences in score are explained mostly by "
        "classifier (50 %)."
    )
    assert "explains within its family of networks, among" in mixed.rows_note
    assert matters(replace(ALONE, importances=weighed)).sentence.startswith("The differences")


def test_images_of_backbones_have_their_own_size() -> None:
    assert ("224", "pixels a side, as pretrained networks see the images") in data(MIXED).facts
    assert "as the networks from scratch see them" in data(MIXED).facts[0][1]
    assert "Pretrained networks see 224 x 224 pixels." in markdown(MIXED)
    assert "retrained networks see" not in markdown(fake.results(fake.trials(3)))


def test_fields_without_an_effect_are_empty_in_trials_csv() -> None:
    header, exact, layers = csv_text(trials_table(fake.results([fake.exact(0, [0.8]), fake.trial(1, [0.7])]))).split()
    first = dict(zip(header.split(","), exact.split(","), strict=True))
    second = dict(zip(header.split(","), layers.split(","), strict=True))
    assert (first["learning_rate"], first["depth"], first["horizontal_flip"]) == ("", "", "")
    assert (first["classifier"], first["head"], first["resolution"]) == ("logistic", "average", "224")
    assert second["depth"] == str(fake.configuration(1).depth)
    assert second["horizontal_flip"] in ("True", "False")


def test_best_config_says_what_has_an_effect_and_can_be_read(tmp_path: Path) -> None:
    assert ALONE.recommended is not None
    text = best_config_text(ALONE, ALONE.recommended)
    assert "# The classifier is solved exactly: " in text
    assert LAYERS.recommended is not None
    assert "solved exactly" not in best_config_text(LAYERS, LAYERS.recommended)
    (tmp_path / "best_config.yaml").write_text(text)
    assert load_best_config(tmp_path / "best_config.yaml").configuration.is_closed_form


def test_live_displays_count_folds_not_epochs(tmp_path: Path) -> None:
    trial = fake.exact(3, [0.8, 0.9])
    stream = io.StringIO()
    PlainLines(Console(file=stream)).fit_finished(trial.fits[0])
    assert stream.getvalue() == "trial 3 fold 1: learned 0.800, 0.3 s\n"

    board = Board()
    board.trial_started(3, trial.configuration, 5)
    board.fit_finished(trial.fits[0])
    console = Console(file=io.StringIO(), width=100, record=True)
    console.print(board.render())
    text = console.export_text()
    assert "fold 2/5" in text
    assert "epoch" not in text

    with StatusFile(tmp_path) as status:
        status.trial_started(3, trial.configuration, 5)
        status.fit_finished(trial.fits[0])
        status._write()
        found = read_status(tmp_path)
        assert found is not None
        assert "trial 3: fold 2 of 5" in status_lines({**found, "state": "working"}, is_held=True, now=found["updated"])


@pytest.mark.parametrize("results", [ALONE, MIXED])
def test_every_section_can_be_drawn(results: Results) -> None:
    assert len(page(results)) > 10_000
