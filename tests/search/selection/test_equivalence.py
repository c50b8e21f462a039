"""The set that can't be told apart: scipy's t test as the oracle of one, brute force as that of many."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from search.selection.equivalence import not_distinguishable, p_value

RNG = np.random.default_rng(0)
SCORES = st.lists(st.integers(0, 20).map(lambda n: n / 20), min_size=0, max_size=12)


def test_one_that_is_clearly_worse_one_that_is_not_and_the_best_itself() -> None:
    best = [0.80, 0.84, 0.78, 0.82, 0.81]
    same = [0.82, 0.80, 0.80, 0.83, 0.79]
    worse = [0.60, 0.63, 0.58, 0.64, 0.60]
    assert not_distinguishable([worse, best, same], 1, 5) == (False, True, True)


@pytest.mark.parametrize("fits", [2, 5, 25])
def test_the_p_value_is_students_with_the_variance_that_overlapping_training_sets_need(fits: int) -> None:
    one, other = RNG.normal(0.8, 0.05, fits), RNG.normal(0.78, 0.05, fits)
    t = stats.ttest_rel(one, other).statistic * np.sqrt((1 / fits) / (1 / fits + 1 / 4))
    assert p_value(one.tolist(), other.tolist(), 5) == pytest.approx(2 * stats.t.sf(abs(t), fits - 1))


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ([0.8, 0.9], [0.8, 0.9], 1.0),
        ([0.7, 0.8], [0.8, 0.9], 0.0),  # always the same difference
        ([0.8, 0.8, 0.1], [0.8, 0.8], 1.0),  # over what both have
        ([0.8], [0.1, 0.1], None),
        ([], [0.1, 0.1], None),
    ],
)
def test_the_corners(one: list[float], other: list[float], expected: float | None) -> None:
    assert p_value(one, other, 5) == expected


def test_nothing_known_is_not_equal() -> None:
    assert not_distinguishable([[0.8, 0.9], [0.8], []], 0, 2) == (True, False, False)
    assert not_distinguishable([[]], 0, 2) == (True,)


def holm(p_values: list[float], alpha: float) -> list[bool]:
    """Whether each is rejected: by its largest adjusted p-value among those not above it."""
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    adjusted = {
        i: max((len(order) - r) * p_values[j] for r, j in enumerate(order[: rank + 1])) for rank, i in enumerate(order)
    }
    return [adjusted[i] <= alpha for i in range(len(p_values))]


@settings(max_examples=100)
@given(st.lists(SCORES, min_size=1, max_size=6), st.integers(2, 6), st.sampled_from([0.01, 0.05, 0.3]))
def test_many_are_held_against_alpha_by_holm(scores: list[list[float]], folds: int, alpha: float) -> None:
    found = not_distinguishable(scores, 0, folds, alpha)
    assert found[0]
    known = {i: p_value(scores[i], scores[0], folds) for i in range(1, len(scores))}
    tested = {i: p for i, p in known.items() if p is not None}
    rejected = dict(zip(tested, holm(list(tested.values()), alpha), strict=True))
    assert list(found[1:]) == [i in tested and not rejected[i] for i in known]


def test_the_smaller_alpha_the_more_are_equal() -> None:
    scores = [RNG.normal(0.8 - 0.02 * i, 0.03, 10).tolist() for i in range(8)]
    sets = [set(np.flatnonzero(not_distinguishable(scores, 0, 5, alpha))) for alpha in (0.5, 0.2, 0.05, 0.01, 0.001)]
    assert all(one <= other for one, other in pairwise(sets))
    assert len(sets[0]) < len(sets[-1])


def test_equals_are_rarely_left_out_although_training_sets_overlap() -> None:
    """Nadeau and Bengio's correlation: fits of equal configurations share 1 / k of the variance of their difference."""
    rng, folds, fits, out = np.random.default_rng(1), 5, 10, 0
    for _ in range(400):
        shared = rng.normal(0, np.sqrt(1 / folds), 7)[:, None]  # the part that all fits of a difference have in common
        apart = shared + rng.normal(0, np.sqrt(1 - 1 / folds), (7, fits))
        out += not all(not_distinguishable([[0.0] * fits, *apart.tolist()], 0, folds))
    assert out / 400 <= 0.08
