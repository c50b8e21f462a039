"""The robust score R = mean - standard error, the winner by it, and who is clearly behind.

One arithmetic for the product's choice and for the bootstrap that repeats it: everything takes any number of leading
axes. S stands for scores of `m` finalists in `J` fits on the same splits, `(..., m, J)`.
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
"""Number of standard errors behind the best from which a finalist is not fitted further: one-sided 5 %."""

VETO_RATE: Final = 0.1
VETO_FITS: Final = 10
"""A configuration of which more than `VETO_RATE` of at least `VETO_FITS` fits collapsed is not recommended."""

_PRIOR_FREEDOM: Final = 10.0  # fits that the deviation of all finalists together weighs as much as


def errors(scores: Array, folds: int) -> Array:
    """Nadeau and Bengio's standard error of each finalist's mean `(..., m)`.

    A finalist's own variance is shrunk towards the mean variance of all, which counts as `_PRIOR_FREEDOM` fits more:
    five fits give no usable deviation of their own, 25 do.

    Args:
        scores: S.
        folds: k of the splits.
    """
    fits = scores.shape[-1]
    own = scores.var(axis=-1, ddof=1) if fits > 1 else np.zeros(scores.shape[:-1])
    together = own.mean(axis=-1, keepdims=True)
    freedom = fits - 1
    variance = (freedom * own + _PRIOR_FREEDOM * together) / (freedom + _PRIOR_FREEDOM)
    error: Array = np.sqrt(variance * variance_factor(fits, folds))
    return error


def differences(scores: Array, best: npt.NDArray[np.intp], folds: int) -> tuple[Array, Array]:
    """Mean by which each finalist is behind `best` on the same splits, and its standard error, both `(..., m)`.

    Args:
        scores: S.
        best: `(...)` index of the finalist to compare with.
        folds: k of the splits.
    """
    ahead = np.take_along_axis(scores, best[..., None, None], axis=-2)
    behind = ahead - scores
    fits = scores.shape[-1]
    variance = behind.var(axis=-1, ddof=1) if fits > 1 else np.zeros(behind.shape[:-1])
    return behind.mean(axis=-1), np.sqrt(variance * variance_factor(fits, folds))


def winner(scores: Array, folds: int, order: npt.ArrayLike, allowed: npt.NDArray[np.bool_]) -> npt.NDArray[np.intp]:
    """Index `(...)` of the finalist with the highest R; among ties the smallest network, then the fastest.

    Args:
        scores: S.
        folds: k of the splits.
        order: `(m,)` place by size, then speed; the lowest is preferred in a tie.
        allowed: `(..., m)` who may win; at least one.
    """
    robust = np.where(allowed, scores.mean(axis=-1) - errors(scores, folds), -np.inf)
    best = robust.argmax(axis=-1)
    behind, error = differences(scores, best, folds)
    tied = allowed & ((np.abs(behind) < TIE * error) | (behind == 0))
    chosen: npt.NDArray[np.intp] = np.where(tied, np.asarray(order), np.iinfo(np.int64).max).argmin(axis=-1)
    return chosen


def leader(scores: Array, folds: int) -> int:
    """Index of the finalist with the highest R, whatever its network's size.

    Args:
        scores: S `(m, J)`.
        folds: k of the splits.
    """
    return int((scores.mean(axis=-1) - errors(scores, folds)).argmax())


def clearly_behind(scores: Array, folds: int, best: int) -> npt.NDArray[np.bool_]:
    """Mask `(m,)` of the finalists that have no hope left after these fits, so that further ones are saved.

    Args:
        scores: S `(m, J)` of the fits so far.
        folds: k of the splits.
        best: index of the finalist to compare with.
    """
    behind, own = differences(scores, np.asarray(best), folds)
    both = np.sqrt(2.0) * errors(scores, folds)  # of two finalists without pairing
    freedom = scores.shape[-1] - 1
    error = np.sqrt((freedom * own**2 + _PRIOR_FREEDOM * both**2) / (freedom + _PRIOR_FREEDOM))
    is_behind: npt.NDArray[np.bool_] = behind > CLEARLY * np.maximum(error, 1e-9)
    return is_behind


def vetoed(collapsed: int, fits: int) -> bool:
    """Whether so many of the fits collapsed that the configuration can't be trusted to train again."""
    return fits >= VETO_FITS and collapsed > VETO_RATE * fits
