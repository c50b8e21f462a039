from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search.selection.robust_score import clearly_behind, differences, errors, leader, vetoed, winner

EVERYBODY = np.ones(3, np.bool_)


def table(*rows):
    return np.array(rows, np.float64)


def test_a_deviation_is_shrunk_towards_that_of_all():
    """25 fits each, one steady and one restless: s^2 = (24 own + 10 mean) / 34, by hand."""
    steady, restless = np.tile([0.7, 0.7], 13)[:25], np.tile([0.6, 0.8], 13)[:25]
    own = np.array([0.0, restless.var(ddof=1)])
    shrunk = (24 * own + 10 * own.mean()) / 34
    assert errors(table(steady, restless), folds=5) == pytest.approx(np.sqrt(shrunk * (1 / 25 + 1 / 4)))


def test_the_highest_mean_less_its_error_wins():
    steady = np.tile([0.79, 0.81], 13)[:25]
    restless = np.tile([0.65, 0.99], 13)[:25]  # mean 0.813, and not behind by half an error of the difference
    worse = steady - 0.1
    scores = table(restless, steady, worse)
    assert scores[0].mean() > scores[1].mean()
    assert leader(scores, 5) == 1
    assert winner(scores, 5, [0, 1, 2], EVERYBODY) == 0  # they tie: the smaller network
    assert winner(scores, 5, [1, 0, 2], EVERYBODY) == 1
    assert leader(table(restless, worse, worse), 5) == 0


@pytest.mark.parametrize(("gap", "first"), [(0.0, 1), (0.002, 1), (0.1, 0)])
def test_a_tie_goes_to_the_smaller_network(gap, first):
    noise = np.array([0.02, -0.02, 0.01, -0.01, 0.0])
    scores = table(0.8 + gap + noise, 0.8 - noise)
    assert winner(scores, 5, [1, 0], EVERYBODY[:2]) == first


def test_only_who_is_allowed_wins():
    scores = table([0.9] * 5, [0.6, 0.7, 0.6, 0.7, 0.6], [0.5] * 5)
    assert winner(scores, 5, [0, 1, 2], np.array([False, True, True])) == 1


@given(st.integers(0, 10_000), st.integers(2, 6), st.integers(2, 10))
@settings(max_examples=40)
def test_many_draws_at_once_are_each_draw_alone(seed, finalists, fits):
    rng = np.random.default_rng(seed)
    scores = rng.random((7, finalists, fits))
    allowed = rng.random((7, finalists)) < 0.7
    allowed[:, 0] = True
    order = rng.permutation(finalists)
    together = winner(scores, 3, order, allowed)
    assert together.tolist() == [int(winner(one, 3, order, a)) for one, a in zip(scores, allowed, strict=True)]
    behind, error = differences(scores, together, 3)
    assert behind[np.arange(7), together] == pytest.approx(0)
    assert (error >= 0).all()


def test_who_is_clearly_behind_is_known_after_one_repeat_and_who_is_close_is_not():
    best = [0.80, 0.84, 0.82, 0.78, 0.81]
    close = [0.79, 0.80, 0.83, 0.77, 0.79]
    far = [0.60, 0.63, 0.61, 0.59, 0.60]
    scores = table(close, best, far)
    assert leader(scores, 5) == 1
    assert clearly_behind(scores, 5, best=1).tolist() == [False, False, True]


def test_one_fit_alone_drops_nobody_that_is_near():
    assert not clearly_behind(table([0.7], [0.7]), 2, best=0).any()


@pytest.mark.parametrize(
    ("collapsed", "fits", "veto"),
    [(0, 25, False), (2, 25, False), (3, 25, True), (1, 10, False), (2, 10, True), (5, 9, False)],
)
def test_more_than_a_tenth_of_ten_fits(collapsed, fits, veto):
    assert vetoed(collapsed, fits) is veto
