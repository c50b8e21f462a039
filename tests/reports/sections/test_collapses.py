from __future__ import annotations

from dataclasses import replace

import pytest

from reports.sections.collapses import audit_sentence, collapses, reason_rows, sentence, weights
from search.selection.results import Audit
from tests.reports import fake_results as fake
from tests.reports import fake_robustness as robust

FULL = robust.everything(40)


def test_reasons_come_with_bars_and_the_median_epoch() -> None:
    trials = [fake.trial(n, [], "dead-layer" if n < 4 else "non-finite") for n in range(5)]
    first, second = reason_rows(fake.results(trials))
    assert (first.code, first.fits, first.share) == ("dead-layer", 4, 100.0)
    assert (second.code, second.fits, second.share) == ("non-finite", 1, 25.0)
    assert second.median_epoch == trials[4].fits[0].epochs
    assert "infinite" in second.sentence


def test_the_sentence_names_the_hyperparameter_that_explains_most() -> None:
    assert "The single hyperparameter that explains most of it is initializer (41 %)." in sentence(FULL)
    assert "explains" not in sentence(replace(FULL, importances=None))


@pytest.mark.parametrize(
    ("results", "words"),
    [
        (fake.results(), "No fit was run, so none collapsed."),
        (fake.results([fake.trial(0, [0.8] * 5)]), "No fit collapsed."),
        (
            fake.results([fake.trial(0, [], "dead-layer")]),
            "1 of 1 fit collapsed, which ended 1 of 1 trial.",
        ),
    ],
)
def test_the_sentence_counts(results: fake.Results, words: str) -> None:
    assert words in sentence(results)


def test_weights_are_sorted_with_bars_against_the_largest() -> None:
    found = weights({"a": 0.1, "b": 0.4, "c": 0.0})
    assert [(one.name, one.bar) for one in found] == [("b", 100.0), ("a", 25.0), ("c", 0.0)]
    assert weights({}) == []


def test_the_map_is_over_the_two_that_explain_most_of_the_collapses() -> None:
    found = collapses(FULL).map
    assert found is not None
    assert (found.across.name, found.up.name) == ("initializer", "learning_rate")


def test_every_trial_stands_in_one_cell_of_the_map() -> None:
    found = collapses(FULL).map
    assert found is not None
    assert sum(count for row in found.counts for _, count in row) == len(found.trials)
    collapsed = sum(one for row in found.counts for one, _ in row)
    assert collapsed == sum(trial.state == "collapsed" for trial, _, _ in found.trials)


def test_without_importances_the_map_takes_the_usual_suspects() -> None:
    found = collapses(replace(FULL, importances=None)).map
    assert found is not None
    assert (found.across.name, found.up.name) == ("learning_rate", "depth")


def test_no_map_without_collapses() -> None:
    assert collapses(fake.results([fake.trial(n, [0.8] * 5) for n in range(4)])).map is None


@pytest.mark.parametrize(
    ("audit", "words"),
    [
        (Audit(checked=0, wrongly_stopped=0, upper_95=None), "not measured"),
        (Audit(checked=7, wrongly_stopped=1, upper_95=0.52), "7 fits .* 1 of them .* at most 52 %"),
    ],
)
def test_the_audit_in_a_sentence(audit: Audit, words: str) -> None:
    import re

    assert re.search(words, audit_sentence(replace(FULL, audit=audit)))
