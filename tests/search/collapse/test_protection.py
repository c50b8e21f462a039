"""Fits that were once among the best quarter at their epoch are protected."""

import math
import pickle
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from search.collapse.protection import Achievements, Protection
from search.fit_checks import Check, Collapse
from search.records import Fit, Verdict

Curve = Callable[..., list[Check]]


def fit(trial: int, checks: Sequence[Check], verdict: Verdict = Verdict.LEARNED) -> Fit:
    return Fit(
        key=f"{trial}",
        trial=trial,
        stage="search",
        configuration=f"{trial:012x}",
        repeat=0,
        fold=0,
        attempt=0,
        seed=0,
        verdict=verdict,
        checks=tuple(checks),
    )


def test_levels_are_the_best_quarters_at_each_epoch(curve: Curve) -> None:
    # Trial t has skill t / 10 at epoch 1 and t / 5 at epoch 2: of 0 .. 8 the best quarter begins at 6.
    protection = Protection.of(fit(t, curve([t / 10, t / 5])) for t in range(9))
    assert protection == Protection(calibrating=False, epochs=(1, 2), levels=(0.6, 1.2))
    assert protection.protects(curve([0.6, 0.0, 0.0]))
    assert protection.protects(curve([0.0, 1.2]))
    assert protection.protects(curve([0.0, 0.0, 1.2]))  # epoch 3: the nearest earlier level
    assert not protection.protects(curve([0.5, 1.1, 1.1]))


def test_a_stopped_fit_stays_at_its_last_skill(curve: Curve) -> None:
    fits = [fit(t, curve([0.1]), Verdict.COLLAPSED) for t in range(4)] + [fit(4, curve([0.3, 0.8]))]
    assert Protection.of(fits).levels == (0.1, 0.1)


@pytest.mark.parametrize(("trials", "protects"), [(0, True), (4, True), (5, False)])
def test_before_five_trials_all_are_protected(trials: int, protects: bool, curve: Curve) -> None:
    protection = Protection.of(fit(t, curve([0.5] * 3)) for t in range(trials))
    assert protection.protects(curve([0.0] * 3)) is protects


def test_skill_without_ranking_protects_nobody(curve: Curve) -> None:
    protection = Protection.of(fit(t, curve([0.1])) for t in range(8))
    assert protection.protects(curve([0.2]))
    assert not protection.protects(curve([0.2], auc=0.55))


@pytest.mark.parametrize(
    ("checked", "wrong", "distrusted"),
    [(0, 0, False), (1, 1, False), (2, 2, True), (9, 0, False), (9, 1, False), (9, 3, True), (60, 3, False)],
)
def test_a_watch_that_errs_too_often_stops_nothing_softly(checked: int, wrong: int, distrusted: bool) -> None:
    passed = Collapse(reason="prior-predictor", hard=False, epoch=9, evidence={})
    audited = [replace(fit(t, []), audit=passed, skill=0.4 if t < wrong else 0.0) for t in range(checked)]
    protection = Protection.of([*audited, *(fit(100 + t, []) for t in range(5))])
    assert protection.distrusted is distrusted
    assert protection.protects([]) is distrusted


def test_failed_fits_do_not_count(curve: Curve) -> None:
    assert Protection.of(fit(t, curve([0.5]), Verdict.FAILED) for t in range(9)) == Protection()


def test_the_prior_is_no_achievement_where_all_others_are_worse(curve: Curve) -> None:
    protection = Protection.of(fit(t, curve([-2.0, 0.3])) for t in range(8))
    assert not protection.protects(curve([0.0, 0.0]))
    assert protection.protects(curve([0.02, 0.0]))


def test_fits_that_burst_or_had_no_validation_images(curve: Curve) -> None:
    burst = [fit(t, curve([math.nan], finite=False)) for t in range(6)]
    unseen = [fit(t, curve([math.nan])) for t in range(6, 12)]
    assert Protection.of(unseen) == Protection(calibrating=False)
    assert Protection.of([*burst, *unseen, fit(12, curve([0.4]))]).protects(curve([0.4]))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(skills=st.lists(st.lists(st.floats(-1, 1), min_size=3, max_size=3), min_size=5, max_size=20))
def test_levels_agree_with_numpy_and_travel(skills: list[list[float]], curve: Curve) -> None:
    protection = Protection.of(fit(t, curve(row)) for t, row in enumerate(skills))
    assert protection.levels == pytest.approx(np.quantile(np.array(skills), 0.75, axis=0, method="lower"))
    assert pickle.loads(pickle.dumps(protection)) == protection
    best = max(skills, key=lambda row: row[0])
    assert protection.protects(curve(best)) or best[0] < 0.01


@pytest.mark.parametrize("at_once", [1, 7, 60, 130])
def test_it_does_not_matter_how_many_fits_come_between_two_looks(at_once: int, curve: Curve) -> None:
    """Fits of one to four checks, so that later ones bring epochs that earlier ones lack."""
    rng = np.random.default_rng(0)
    fits = [fit(t, curve(rng.uniform(-1, 1, min(4, 1 + t // 20)).tolist())) for t in range(130)]
    achieved = Achievements()
    for number, one in enumerate(fits, start=1):
        achieved.add(one)
        if number % at_once == 0:
            achieved.protection()
    assert achieved.protection() == Protection.of(fits)
    last = [[f.checks[min(epoch, len(f.checks) - 1)].val_skill for f in fits] for epoch in range(4)]
    assert achieved.protection().levels == pytest.approx(np.quantile(np.array(last), 0.75, axis=1, method="lower"))
