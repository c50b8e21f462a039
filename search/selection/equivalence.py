"""Equivalence of finalists: which of them do not differ significantly from the recommended one."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.special import stdtr  # type: ignore[import-untyped]

from search.selection.standard_error import variance_factor


def not_distinguishable(
    scores_by_finalist: Sequence[Sequence[float]], reference: int, folds: int, alpha: float = 0.05
) -> tuple[bool, ...]:
    """Return for each finalist whether its scores do not differ significantly from the recommended one's.

    A finalist differs significantly if a two-sided paired t test with Nadeau and Bengio's variance (Machine Learning
    52, 2003) rejects equal means under Holm's correction (1979): the probability that any finalist as good as the
    recommended one is found to differ is at most `alpha`.

    Args:
        scores_by_finalist: scores of each finalist's fits, by repeat, then fold. A finalist that was dropped has fewer
            scores; only the splits that it shares with the recommended one are compared.
        reference: index of the recommended finalist.
        folds: number of folds of a fresh split, k, at least 2.
        alpha: family-wise error rate, 0..1.

    Returns:
        One bool per finalist: True for the recommended one itself; False with fewer than two shared fits.
    """
    p_values = [p_value(scores, scores_by_finalist[reference], folds) for scores in scores_by_finalist]
    tested = {place: p for place, p in enumerate(p_values) if p is not None and place != reference}
    different = _rejected(tested, alpha)
    return tuple(place == reference or (place in tested and place not in different) for place in range(len(p_values)))


def p_value(one: Sequence[float], other: Sequence[float], folds: int) -> float | None:
    """Return the two-sided p-value of the corrected paired t test; None with fewer than two shared fits.

    t = mean / sqrt((1/J + 1/(k - 1)) s^2) with J - 1 degrees of freedom; mean and s^2 are those of the J differences.

    Args:
        one: scores of a finalist's fits, by repeat, then fold.
        other: scores of another finalist's fits in the same order; the longer of the two sequences is cut.
        folds: number of folds of a split, k, at least 2.
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
