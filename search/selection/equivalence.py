"""Equivalence of finalists: which of them can't be told apart from the recommended one."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.special import stdtr  # type: ignore[import-untyped]

from search.selection.standard_error import variance_factor


def equal_to_best(
    scores_by_finalist: Sequence[Sequence[float]], best: int, folds: int, alpha: float = 0.05
) -> tuple[bool, ...]:
    """Whether each finalist's scores could be the best one's, for all that their common fits say.

    Two-sided t tests of the paired differences with Nadeau and Bengio's variance (Machine Learning 52, 2003), their
    p-values compared with `alpha` by Holm's procedure (1979): the chance that a finalist as good as the best is left
    out is at most `alpha` over all of them.

    Args:
        scores_by_finalist: by finalist, scores of the fits by repeat, then fold; a finalist that was dropped has a
            shorter list and is compared over its length.
        best: place of the recommended one in the list.
        folds: k of the fresh splits, at least 2.
        alpha: share of false alarms.

    Returns:
        By finalist; True for the best itself, False with fewer than two fits in common: unknown is not equal.
    """
    p_values = [p_value(scores, scores_by_finalist[best], folds) for scores in scores_by_finalist]
    tested = {place: p for place, p in enumerate(p_values) if p is not None and place != best}
    different = _rejected(tested, alpha)
    return tuple(place == best or (place in tested and place not in different) for place in range(len(p_values)))


def p_value(one: Sequence[float], other: Sequence[float], folds: int) -> float | None:
    """Two-sided p-value of the corrected paired t test on the fits in common; None with fewer than two.

    t = mean / sqrt((1/J + 1/(k - 1)) s^2) with J - 1 degrees of freedom, mean and s^2 of the J differences.

    Args:
        one: scores of a finalist's fits, by repeat, then fold.
        other: scores of another one's fits in the same order; the longer list is cut.
        folds: k of the splits, at least 2.
    """
    fits = min(len(one), len(other))
    if fits < 2:
        return None
    differences = np.asarray(one[:fits], dtype=float) - np.asarray(other[:fits], dtype=float)
    mean, spread = float(differences.mean()), float(differences.std(ddof=1))
    if spread <= 1e-12:  # the same difference in every fit
        return 1.0 if abs(mean) <= 1e-12 else 0.0
    t = mean / (spread * math.sqrt(variance_factor(fits, folds)))
    return float(2 * stdtr(fits - 1, -abs(t)))


def _rejected(p_values: dict[int, float], alpha: float) -> set[int]:
    """Holm: from the smallest p-value on, as long as p <= alpha / (number of hypotheses left)."""
    rejected: set[int] = set()
    for place in sorted(p_values, key=lambda place: p_values[place]):
        if p_values[place] > alpha / (len(p_values) - len(rejected)):
            break
        rejected.add(place)
    return rejected
