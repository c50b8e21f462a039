"""Standard errors of cross-validated scores."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np


def pooled_deviation(folds: Sequence[Sequence[float]]) -> float | None:
    """Return the standard deviation of fold scores around the mean of their trial, pooled over trials.

    Five folds of one trial give no usable deviation; those of many trials do.

    Args:
        folds: fold scores of each trial.

    Returns:
        sqrt(sum of squared deviations / sum of (folds - 1)); None if no trial has two folds.
    """
    freedom = sum(len(scores) - 1 for scores in folds if scores)
    if freedom < 1:
        return None
    squares = sum(float(((np.asarray(scores) - np.mean(scores)) ** 2).sum()) for scores in folds if scores)
    return float(np.sqrt(squares / freedom))


def standard_error(deviation: float, fits: int, folds: int) -> float:
    """Return Nadeau and Bengio's standard error of a cross-validated mean: s sqrt(1/J + 1/(k - 1)).

    The second term stands for the training sets that the folds share (test size / training size).

    Args:
        deviation: standard deviation of a single fit's score, s.
        fits: number of fits in the mean, J.
        folds: number of folds of the cross-validation, k, at least 2.
    """
    return deviation * math.sqrt(variance_factor(fits, folds))


def variance_factor(fits: int, folds: int) -> float:
    """Return the variance of a mean over J fits divided by that of one fit: 1/J + 1/(k - 1) (Nadeau and Bengio 2003).

    Args:
        fits: number of fits in the mean, J, at least 1.
        folds: number of folds of the cross-validation, k, at least 2.
    """
    return 1 / fits + 1 / (folds - 1)


def paired_error(one: Sequence[float], other: Sequence[float]) -> float:
    """Return the standard error of the mean difference between two configurations on the same folds (at least 2)."""
    differences = np.asarray(one) - np.asarray(other)
    return standard_error(float(differences.std(ddof=1)), len(differences), len(differences))
