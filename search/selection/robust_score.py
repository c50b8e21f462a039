"""The robust score R = mean - standard error, the winner by it, and the finalists that are clearly behind.

The recommendation and the bootstrap that repeats it use the same functions, so arrays may have any number of leading
axes. `scores` are always those of m finalists in J fits each on the same splits, `(..., m, J)`.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from search.selection.standard_error import variance_factor
from search.selection.weighted_metrics import Array

TIE: Final = 0.5
"""Number of standard errors of the difference below which two configurations tie."""

CLEARLY: Final = 1.64
"""Number of standard errors by which a finalist must trail the best to be fitted no further: one-sided 5 %."""

VETO_RATE: Final = 0.1
VETO_FITS: Final = 10
"""A configuration of which more than `VETO_RATE` of at least `VETO_FITS` fits collapsed is not recommended."""

_PRIOR_FREEDOM: Final = 10.0  # fits that the deviation of all finalists together weighs as much as


def errors(scores: Array, folds: int) -> Array:
    """Return Nadeau and Bengio's standard error of each finalist's mean score, `(..., m)`.

    A finalist's variance is shrunk towards the mean variance of all finalists, which weighs as much as ten fits: five
    fits give no usable deviation of their own, 25 do.

    Args:
        scores: `(..., m, J)`, by repeat, then fold.
        folds: number of folds of a split, k, at least 2.
    """
    fits = scores.shape[-1]
    own = scores.var(axis=-1, ddof=1) if fits > 1 else np.zeros(scores.shape[:-1])
    together = own.mean(axis=-1, keepdims=True)
    freedom = fits - 1
    variance = (freedom * own + _PRIOR_FREEDOM * together) / (freedom + _PRIOR_FREEDOM)
    error: Array = np.sqrt(variance * variance_factor(fits, folds))
    return error


def differences(scores: Array, best: npt.NDArray[np.intp], folds: int) -> tuple[Array, Array]:
    """Return by how much each finalist trails `best` on the same splits, and the standard error of that difference.

    Args:
        scores: `(..., m, J)`.
        best: `(...)` int, index of the finalist to compare with, 0..m-1.
        folds: number of folds of a split, k, at least 2.

    Returns:
        Mean differences `(..., m)`, positive if `best` scores higher, and their standard errors `(..., m)`.
    """
    ahead = np.take_along_axis(scores, best[..., None, None], axis=-2)
    behind = ahead - scores
    fits = scores.shape[-1]
    variance = behind.var(axis=-1, ddof=1) if fits > 1 else np.zeros(behind.shape[:-1])
    return behind.mean(axis=-1), np.sqrt(variance * variance_factor(fits, folds))


def winner(scores: Array, folds: int, size_rank: npt.ArrayLike, allowed: npt.NDArray[np.bool_]) -> npt.NDArray[np.intp]:
    """Return the index of the finalist to recommend.

    Among the allowed finalists it is the one with the highest R = mean - standard error, or the smallest network that
    ties with that one: whose mean differs from its by less than `TIE` standard errors of the difference.

    Args:
        scores: `(..., m, J)`, scores of m finalists in J fits each on the same splits.
        folds: number of folds of a split, k, at least 2.
        size_rank: `(m,)` int, rank by network size, then speed; the lowest rank wins a tie.
        allowed: `(..., m)` bool, whether the finalist may be recommended. Where none may, the result is 0.

    Returns:
        `(...)` int, 0..m-1.
    """
    robust = np.where(allowed, scores.mean(axis=-1) - errors(scores, folds), -np.inf)
    best = robust.argmax(axis=-1)
    behind, error = differences(scores, best, folds)
    tied = allowed & ((np.abs(behind) < TIE * error) | (behind == 0))
    chosen: npt.NDArray[np.intp] = np.where(tied, np.asarray(size_rank), np.iinfo(np.int64).max).argmin(axis=-1)
    return chosen


def leader(scores: Array, folds: int) -> int:
    """Return the index of the finalist with the highest R, without regard to ties and network sizes.

    Args:
        scores: `(m, J)`.
        folds: number of folds of a split, k, at least 2.
    """
    return int((scores.mean(axis=-1) - errors(scores, folds)).argmax())


def paired_differences(scores: Array, folds: int, best: int) -> tuple[Array, Array]:
    """Return by how much each configuration trails `best`, and the standard error of that difference, from few fits.

    The variance of the paired difference is shrunk towards that of two independent configurations, which weighs as much
    as ten fits, as few fits give no usable deviation.

    Args:
        scores: `(m, J)` scores on the same splits, one row per configuration, one column per fit.
        folds: number of folds of a split, k, at least 2.
        best: index of the configuration to compare with, 0..m-1.

    Returns:
        Mean differences `(m,)`, positive if `best` scores higher, and their standard errors `(m,)`.
    """
    behind, own = differences(scores, np.asarray(best), folds)
    both = np.sqrt(2.0) * errors(scores, folds)  # of two configurations without pairing
    freedom = scores.shape[-1] - 1
    return behind, np.sqrt((freedom * own**2 + _PRIOR_FREEDOM * both**2) / (freedom + _PRIOR_FREEDOM))


def clearly_behind(scores: Array, folds: int, best: int) -> npt.NDArray[np.bool_]:
    """Return which finalists trail `best` by more than `CLEARLY` (1.64) standard errors of `paired_differences`.

    Args:
        scores: `(m, J)` scores of the fits so far, one row per finalist, one column per fit.
        folds: number of folds of a split, k, at least 2.
        best: index of the finalist to compare with, 0..m-1.

    Returns:
        `(m,)` bool; False for `best` itself.
    """
    behind, error = paired_differences(scores, folds, best)
    is_behind: npt.NDArray[np.bool_] = behind > CLEARLY * np.maximum(error, 1e-9)
    return is_behind


def vetoed(collapsed: int, fits: int) -> bool:
    """Return whether more than `VETO_RATE` of at least `VETO_FITS` fits collapsed.

    Such a configuration is not recommended, as it may collapse when it is trained again.
    """
    return fits >= VETO_FITS and collapsed > VETO_RATE * fits
