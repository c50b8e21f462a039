"""From scratch and pretrained, compared."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from search.records import Trial, TrialState
from search.selection.families import linear_probe, network_kinds, worth_of_pretraining
from search.selection.results import Ranked
from spaces.config import Configuration
from tests.reports import fake_results as fake

SCRATCH = fake.configuration(1)
FROZEN = fake.configuration(
    2, backbone="mobilenet_v2", trainable="frozen", statistics="kept", head="average", classifier="layers"
)
EXACT = fake.configuration(
    4, backbone="mobilenet_v2", trainable="frozen", statistics="kept", head="average", classifier="logistic"
)
OPEN = fake.configuration(3, backbone="mobilenet_v2", trainable="all", statistics="kept", head="max")


def trial(
    number: int, configuration: Configuration, score: float | None = None, state: TrialState | None = None
) -> Trial:
    """Judged where it has a score; with one fit, of 10 seconds."""
    one = fake.trial(number, [score or 0.5])
    fits = (replace(one.fits[0], key=f"{number}", seconds=10.0),)
    ended = state or (TrialState.COMPLETE if score else TrialState.RACED)
    return replace(one, configuration=configuration, fits=fits, state=ended, seconds=10.0)


def test_nothing_is_set_side_by_side_without_a_backbone() -> None:
    assert network_kinds([trial(0, SCRATCH, 0.7)], []) == ()


def test_each_kind_has_a_row_the_best_first() -> None:
    trials = [
        trial(0, SCRATCH, 0.60),
        trial(1, SCRATCH, 0.70),
        trial(2, FROZEN, 0.80),
        trial(3, FROZEN, 0.90),
        trial(4, FROZEN, 0.86),
        trial(5, FROZEN),
        trial(6, OPEN, state=TrialState.COLLAPSED),
        trial(7, OPEN, state=TrialState.INTERRUPTED),
    ]
    ranking = [
        replace(fake.ranked(one, healthy=True), pooled=one.fits[0].score, se=0.01)
        for one in trials
        if one.state is TrialState.COMPLETE
    ]
    rows = network_kinds(trials, ranking)
    assert [(row.backbone, row.trainable, row.is_closed_form) for row in rows] == [
        ("mobilenet_v2", "frozen", False),
        ("none", "", False),
        ("mobilenet_v2", "all", False),
    ]
    assert [(row.trials, row.judged, row.collapsed) for row in rows] == [(4, 3, 0), (2, 2, 0), (1, 0, 1)]
    assert [row.best for row in rows] == pytest.approx([0.90, 0.70, None])
    assert [row.median for row in rows] == pytest.approx([0.86, 0.65, None])
    assert [row.trial for row in rows] == [3, 1, None]
    assert [row.seconds for row in rows] == [40.0, 20.0, 10.0]


def judged(number: int, configuration: Configuration, *folds: float) -> Ranked:
    """A trial with these scores on its folds."""
    one = replace(fake.trial(number, folds), configuration=configuration)
    return fake.ranked(one, healthy=True)


def test_exact_classifiers_are_a_kind_of_their_own_whichever_they_are() -> None:
    solved = [replace(EXACT, classifier=name) for name in ("logistic", "ridge")]
    trials = [trial(number, one, 0.8 - number / 100) for number, one in enumerate((*solved, FROZEN))]
    rows = network_kinds(trials, [fake.ranked(one, healthy=True) for one in trials])
    assert [(row.is_closed_form, row.trials, row.trial) for row in rows] == [(True, 2, 0), (False, 1, 2)]


def test_pretraining_is_worth_the_difference_of_the_best_on_the_same_folds() -> None:
    ranking = [
        judged(0, SCRATCH, 0.50, 0.52, 0.54, 0.56, 0.58),
        judged(1, FROZEN, 0.70, 0.73, 0.74, 0.77, 0.78),
        judged(2, EXACT, 0.60, 0.60, 0.60, 0.60, 0.60),
    ]
    worth = worth_of_pretraining(ranking)
    assert worth is not None
    assert (worth.pretrained.trial.number, worth.scratch.trial.number) == (1, 0)
    assert (worth.pretrained_judged, worth.scratch_judged) == (2, 1)
    assert worth.difference == pytest.approx(0.744 - 0.54)
    assert worth.is_clear


def test_its_error_is_that_of_the_paired_difference_shrunk_towards_that_of_independent_networks() -> None:
    """Four degrees of freedom of the fold differences, ten of two independent networks; 1/5 + 1/4 by Nadeau-Bengio."""
    one, other = np.array([0.8, 0.7, 0.9, 0.8, 0.7]), np.array([0.7, 0.6, 0.7, 0.8, 0.6])
    worth = worth_of_pretraining([judged(0, FROZEN, *one), judged(1, SCRATCH, *other)])
    assert worth is not None
    paired = (one - other).var(ddof=1)
    independent = one.var(ddof=1) + other.var(ddof=1)
    assert worth.se == pytest.approx(np.sqrt((4 * paired + 10 * independent) / 14 * (1 / 5 + 1 / 4)))


@pytest.mark.parametrize(("pretrained", "clear"), [(0.95, True), (0.76, False), (0.74, False), (0.55, True)])
def test_a_difference_is_clear_from_two_standard_errors_on_either_side(pretrained: float, clear: bool) -> None:
    noise = np.array([0.02, -0.02, 0.01, -0.01, 0.0])
    worth = worth_of_pretraining(
        [judged(0, SCRATCH, *(0.75 + noise).tolist()), judged(1, EXACT, *(pretrained - noise).tolist())]
    )
    assert worth is not None
    assert worth.is_clear is clear


@pytest.mark.parametrize("configurations", [(), (SCRATCH,), (FROZEN, EXACT)])
def test_one_family_alone_says_nothing_of_pretraining(configurations: tuple[Configuration, ...]) -> None:
    ranking = [judged(number, one, 0.7, 0.8) for number, one in enumerate(configurations)]
    assert worth_of_pretraining(ranking) is None


def test_the_linear_probe_is_the_best_logistic_regression_on_features() -> None:
    ranking = [
        judged(0, replace(EXACT, classifier="ridge"), 0.9, 0.9),
        judged(1, EXACT, 0.7, 0.7),
        judged(2, replace(EXACT, head="max"), 0.8, 0.8),
        judged(3, replace(FROZEN, classifier="logistic", trainable="all"), 0.95, 0.95),  # layers: nothing is solved
    ]
    probe = linear_probe(ranking)
    assert probe is not None
    assert (probe.ranked.trial.number, probe.judged) == (2, 2)
    assert linear_probe(ranking[:1]) is None
