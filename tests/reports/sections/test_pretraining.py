"""What pretraining is worth, in every report."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reports.markdown import markdown
from reports.page import page
from reports.sections.answer import marks
from reports.sections.pretraining import kind_rows, kinds_sentence, worth_explanation, worth_sentence
from reports.summary import summary
from reports.terminal_summary import closing_lines
from search.selection.results import Results
from tests.reports import fake_results as fake

AHEAD, ALIKE, BEHIND = (fake.both_families(gain) for gain in (0.1, 0.01, -0.15))


@pytest.mark.parametrize(
    ("results", "start", "reasons"),
    [
        (AHEAD, "Pretraining is worth 0.100 ± ", ""),
        (ALIKE, "Pretraining makes no clear difference here (+0.010 ± ", "it may be chance"),
        (BEHIND, "Pretraining is worth nothing here (−0.150 ± ", "This is usual with very small images, X-rays, "),
    ],
)
def test_the_worth_of_pretraining_with_its_reasons(results: Results, start: str, reasons: str) -> None:
    assert results.pretraining is not None
    text = worth_sentence(results)
    assert text.startswith(start)
    assert f"± {results.pretraining.se:.3f} balanced accuracy" in text
    for best in (results.pretraining.pretrained, results.pretraining.scratch):
        assert f"{best.pooled:.3f} ± {best.se:.3f} (trial {best.trial.number})" in text
    assert reasons in worth_explanation(results)
    assert bool(worth_explanation(results)) is bool(reasons)
    assert kinds_sentence(results).startswith(start)
    assert (
        "Compared are the best of 6 pretrained networks that were scored on all folds and the best of"
        in kinds_sentence(results)
    )


@pytest.mark.parametrize("results", [AHEAD, ALIKE, BEHIND])
def test_every_report_says_it(results: Results) -> None:
    text = worth_sentence(results)
    assert text in page(results)
    assert text in markdown(results).replace("\\", "")
    assert text in closing_lines(results)
    told, worth = summary(results)["pretraining"], results.pretraining
    assert worth is not None
    assert (told["difference"], told["se"], told["clear"]) == (worth.difference, worth.se, worth.is_clear)
    assert told["scratch"]["trial"] == worth.scratch.trial.number
    assert told["pretrained"]["best_of"] == 6


def test_without_backbones_nothing_is_said() -> None:
    results = fake.results(fake.trials(12))
    assert worth_sentence(results) == ""
    assert "retraining" not in page(results)
    assert "pretraining" not in summary(results)


def test_what_is_missing_to_say_it() -> None:
    alone = fake.both_families(0.0, exact_only=True)
    assert worth_sentence(alone) == ""
    assert kinds_sentence(alone).startswith("No network from scratch was tried")
    raced = fake.results([*fake.both_families(0.0, exact_only=True).study.trials, fake.trial(40, [0.6], raced=True)])
    unknown = "What pretraining is worth here is unknown, as no network from scratch was scored on all folds."
    assert worth_sentence(raced) == kinds_sentence(raced) == unknown
    neither = fake.results([fake.exact(0, [0.6], raced=True), fake.trial(1, [0.6], raced=True)])
    assert "no pretrained network and no network from scratch was scored" in worth_sentence(neither)


def test_kinds_are_backbones_and_their_use() -> None:
    layers = {"classifier": "layers", "depth": 2, "dense_ratio": 0.5}
    trials = [
        fake.exact(0, [0.9] * 5, classifier="ridge", head="average_and_middle"),
        fake.exact(1, [0.8] * 5),
        fake.exact(2, [0.7] * 5, **layers),
        fake.exact(3, [0.6] * 5, trainable="last_block", **layers),
        fake.exact(4, [0.5], raced=True, backbone="efficientnet_lite2"),
        fake.trial(5, [0.4] * 5),
    ]
    rows = kind_rows(fake.results(trials))
    assert [(row.name, row.judged, row.trials) for row in rows] == [
        ("efficientnet_lite0 (frozen), exact classifier", 2, 2),
        ("efficientnet_lite0 (frozen), head of layers", 1, 1),
        ("efficientnet_lite0 (last block)", 1, 1),
        ("from scratch", 1, 1),
        ("efficientnet_lite2 (frozen), exact classifier", 0, 1),
    ]
    assert rows[0].detail == "best: trial 0, ridge regression, 224 pixels, with the middle features"
    assert rows[1].detail == "best: trial 2, 1 dense layer"
    assert (rows[4].detail, rows[4].best) == ("", "–")


def test_the_linear_probe_is_among_the_values_to_compare_with() -> None:
    results = fake.both_families(0.1)
    (probe,) = [mark for mark in marks(results) if mark.name == "features + logistic regression"]
    assert results.linear_probe is not None
    assert probe.value == results.linear_probe.ranked.pooled
    assert probe.note == "efficientnet_lite0, 224 pixels; same folds, best of 2 in the search, optimistic"
    only = fake.results([fake.exact(0, [0.8] * 5), fake.trial(1, [0.7] * 5)])
    assert marks(only)[-2].note.endswith("same folds, the only one in the search")
    assert replace(results, linear_probe=None) != results
