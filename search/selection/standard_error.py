"""Standard errors of cross-validated scores."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np


def pooled_deviation(folds: Sequence[Sequence[float]]) -> float | None:
    """Standard deviation of fold scores around their own trial's mean, pooled over trials.

    Five folds of one trial give no usable deviation; those of many trials do.

    Args:
        folds: the fold scores of each trial.

    Returns:
        Square root of (sum of squared deviations / sum of (folds - 1)); None without two folds in any trial.
    """
    freedom = sum(len(scores) - 1 for scores in folds if scores)
    if freedom < 1:
        return None
    squares = sum(float(((np.asarray(scores) - np.mean(scores)) ** 2).sum()) for scores in folds if scores)
    return float(np.sqrt(squares / freedom))


def standard_error(deviation: float, fits: int, folds: int) -> float:
    """Nadeau and Bengio's standard error of a cross-validated mean: s sqrt(1/J + 1/(k - 1)).

    The second term stands for the training sets that the folds share (test size / training size).

    Args:
        deviation: s, standard deviation of one fit's score.
        fits: J, number of fits averaged.
        folds: k, at least 2.
    """
    return deviation * math.sqrt(variance_factor(fits, folds))


def variance_factor(fits: int, folds: int) -> float:
    """Ratio of the variance of a mean over J fits to that of one fit: 1/J + 1/(k - 1) (Nadeau and Bengio 2003)."""
    return 1 / fits + 1 / (folds - 1)


def paired_error(one: Sequence[float], other: Sequence[float]) -> float:
    """Standard error of the mean difference of two configurations' scores on the same folds (at least two)."""
    differences = np.asarray(one) - np.asarray(other)
    return standard_error(float(differences.std(ddof=1)), len(differences), len(differences))
