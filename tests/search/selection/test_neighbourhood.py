"""Copies compared with their centre: tables the eye can check, a simulation of the deviation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from search.records import CONFIRM, NEIGHBOUR, SEARCH, Fit, Sensitivity, Trial, TrialState, Variant, Verdict
from search.selection.neighbourhood import difference_deviation, neighbourhood
from search.selection.results import Neighbourhood, Ranked
from spaces.config import Configuration
from tests.factories import configuration

CENTRE = configuration()
FOLDS = (0.80, 0.82, 0.78, 0.80, 0.80)


def fit(one: Configuration, fold: int, score: float, verdict: Verdict = Verdict.LEARNED, **changes: Any) -> Fit:
    values: dict[str, Any] = {
        "trial": 0,
        "stage": SEARCH,
        "configuration": one.hash,
        "repeat": 0,
        "fold": fold,
        "attempt": 0,
        "seed": 0,
        "verdict": verdict,
        "score": score,
        **changes,
    }
    return Fit(key=f"{one.hash} {values['stage']} {fold} {values['attempt']}", **values)


def ranked(folds: Sequence[float] = FOLDS, se: float = 0.02) -> Ranked:
    """The recommended configuration; `se` is 0.671 of the folds' deviation with five folds."""
    fits = tuple(fit(CENTRE, fold, score) for fold, score in enumerate(folds))
    return Ranked(
        trial=Trial(number=0, state=TrialState.COMPLETE, configuration=CENTRE, fits=fits),
        pooled=float(np.mean(folds)),
        folds=tuple(folds),
        mean=float(np.mean(folds)),
        se=se,
        worst=min(folds),
        collapse_rate=0.0,
        healthy=True,
    )


def copy(number: int) -> Variant:
    value = 1e-3 + 1e-5 * (number + 1)
    return Variant(configuration=replace(CENTRE, learning_rate=value), changes={"learning_rate": (1e-3, value)})


def judged(scores: Mapping[int, float], folds: int = 1, more: Sequence[Fit] = (), **changes: Any) -> Neighbourhood:
    """Copies with these scores on the first folds."""
    copies = {number: copy(number) for number in scores}
    fits = [
        fit(copies[number].configuration, fold, score, stage=NEIGHBOUR)
        for number, score in scores.items()
        for fold in range(folds)
    ]
    around = Sensitivity(centre=CENTRE.hash, folds=folds, variants=tuple(copies.values()))
    found = neighbourhood(around, [*fits, *more], ranked(**changes), 0.5)
    assert found is not None
    return found


def test_differences_are_to_the_centre_on_the_same_fold_worst_first() -> None:
    found = judged({0: 0.81, 1: 0.76, 2: 0.79})
    assert [one.score for one in found.neighbours] == [0.76, 0.79, 0.81]
    assert [one.difference for one in found.neighbours] == pytest.approx([-0.04, -0.01, 0.01])
    assert (found.centre, found.drop) == pytest.approx((0.80, 0.01))
    assert found.neighbours[0].changes == copy(1).changes
    assert not found.cliff
    assert not any(one.cliff for one in found.neighbours)


def test_alone_the_searchs_deviation_gives_the_error_of_a_difference() -> None:
    deviation = 0.02 / np.sqrt(1 / 5 + 1 / 4)
    assert judged({0: 0.8}).se == pytest.approx(np.sqrt(2) * deviation * np.sqrt(1 + 1 / 4))
    assert judged({0: 0.8}, folds=3).se == pytest.approx(np.sqrt(2) * deviation * np.sqrt(1 / 3 + 1 / 4))


@pytest.mark.parametrize(("score", "cliff"), [(0.71, False), (0.70, True), (0.5, True)])
def test_a_fall_by_more_than_two_standard_errors_is_a_cliff(score: float, cliff: bool) -> None:
    found = judged({0: 0.8, 1: score, 2: 0.8})  # se 0.0471
    assert [one.cliff for one in found.neighbours] == [cliff, False, False]
    assert not found.cliff  # the median is well


def test_where_most_copies_fall_the_centre_itself_stands_on_a_cliff() -> None:
    assert judged({0: 0.8, 1: 0.65, 2: 0.68}).cliff


def test_a_collapsed_copy_is_a_cliff_and_counts_as_no_more_than_chance() -> None:
    dead = fit(copy(5).configuration, 0, 0.6, Verdict.COLLAPSED, stage=NEIGHBOUR)
    around = Sensitivity(centre=CENTRE.hash, folds=1, variants=(copy(5),))
    found = neighbourhood(around, [dead], ranked(se=1.0), 0.5)
    assert found is not None
    assert [(one.score, one.collapsed, one.cliff) for one in found.neighbours] == [(0.5, True, True)]
    assert found.cliff


def test_a_second_chance_counts_as_half_and_the_collapse_is_kept_in_mind() -> None:
    one = copy(5).configuration
    fits = [fit(one, 0, 0.6, Verdict.COLLAPSED, stage=NEIGHBOUR), fit(one, 0, 0.9, stage=NEIGHBOUR, attempt=1)]
    around = Sensitivity(centre=CENTRE.hash, folds=1, variants=(copy(5),))
    found = neighbourhood(around, fits, ranked(), 0.5)
    assert found is not None
    assert [(n.score, n.collapsed) for n in found.neighbours] == [(0.7, True)]


def test_copies_that_were_not_judged_on_all_their_folds_are_left_out() -> None:
    around = Sensitivity(centre=CENTRE.hash, folds=2, variants=(copy(0), copy(1), copy(2)))
    whole, half, slow = (one.configuration for one in around.variants)
    fits = [fit(whole, 0, 0.8), fit(whole, 1, 0.7), fit(half, 0, 0.8), fit(half, 1, 0.8, stage=CONFIRM)]
    fits += [fit(slow, fold, 0.8, Verdict.STOPPED) for fold in (0, 1)]
    found = neighbourhood(around, fits, ranked(), 0.5)
    assert found is not None
    assert [one.score for one in found.neighbours] == [0.75]
    assert found.neighbours[0].difference == pytest.approx(-0.06)


def test_without_copies_or_with_those_of_another_configuration_there_is_none() -> None:
    nothing = Sensitivity(centre=CENTRE.hash, folds=1, variants=())
    assert neighbourhood(nothing, [], ranked(), 0.5) is None
    strange = Sensitivity(centre="other", folds=1, variants=(copy(0),))
    assert neighbourhood(strange, [fit(copy(0).configuration, 0, 0.8)], ranked(), 0.5) is None


def test_the_deviation_of_a_difference_is_what_folds_do_not_share() -> None:
    """Simulated: folds differ by 0.2, good networks by 0.1, a fit by 0.03; fits of poor networks by more."""
    rng = np.random.default_rng(0)
    folds, networks = rng.normal(0, 0.2, 5), [*rng.normal(0.8, 0.1, 40), *rng.normal(-1.0, 0.1, 40)]
    by_fold: dict[str, dict[int, list[Fit]]] = {}
    for number, quality in enumerate(networks):
        one = copy(number).configuration
        noise = 0.03 if quality > 0 else 0.2
        scores = quality + folds + rng.normal(0, noise, 5)
        by_fold[one.hash] = {fold: [fit(one, fold, score)] for fold, score in enumerate(scores)}
    found = difference_deviation(by_fold, ranked(), -10.0)
    assert found == pytest.approx(np.sqrt(2) * 0.03, rel=0.15)
    dead = {"dead": {fold: [fit(CENTRE, fold, 9.0 * fold, Verdict.COLLAPSED)] for fold in range(5)}}
    raced = {"raced": {0: [fit(CENTRE, 0, 5.0)]}}
    assert difference_deviation({**by_fold, **dead, **raced}, ranked(), -10.0) == found


def test_configurations_that_all_score_the_same_leave_the_searchs_deviation() -> None:
    same = {str(n): {fold: [fit(CENTRE, fold, 0.8)] for fold in range(5)} for n in range(6)}
    assert difference_deviation(same, ranked(), 0.5) == difference_deviation({}, ranked(), 0.5) > 0
