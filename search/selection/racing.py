"""Racing: ends a trial that is too far behind the best one before its remaining folds are fitted.

Either of two rules ends it: the mean is below the worst fold of the best trial (Bergman et al., AutoML 2024), or a test
of the same-fold differences to the best trial. With three to five folds they save about two thirds of the fits and keep
the winner; a rank test could not end a trial before its fourth fold.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

MIN_TRIALS: Final = 3  # completed trials before a residual deviation means anything
QUANTILE: Final = 1.64  # one-sided 5 %
_LEVEL: Final = 1e-9  # means of equal scores differ by rounding


def should_stop(
    done: Sequence[float],
    incumbent: Sequence[float],
    spread: float | None,
    *,
    negated: bool = False,
    rival: str = "the best trial",
) -> str | None:
    """Decide whether a trial should end before its next fold.

    Args:
        done: scores of the trial's finished folds, in the order of the folds; higher is better.
        incumbent: scores of the best trial so far on all folds, in the same order; empty if there is none.
        spread: `residual_spread` of the completed trials; None switches the test of the differences off.
        negated: whether the scores are losses with their sign changed; the reason then gives the losses.
        rival: what the reason calls the trial of `incumbent`.

    Returns:
        The reason to end the trial, as part of a sentence; None to go on, or if no fold is left.
    """
    if not done or len(done) >= len(incumbent):
        return None
    mean, worst = float(np.mean(done)), min(incumbent)
    folds = f"{len(done)} fold{'s' if len(done) > 1 else ''}"
    if mean < worst - _LEVEL:  # a tie, frequent where folds are small and scores are high, says nothing
        side, sign = ("above", -1.0) if negated else ("below", 1.0)
        return f"mean of {folds} {sign * mean:.3f} is {side} the worst fold {sign * worst:.3f} of {rival}"
    if spread is None or spread <= 0:
        return None
    behind = float(np.mean(np.asarray(incumbent[: len(done)]) - np.asarray(done)))
    limit = QUANTILE * spread * float(np.sqrt(2 / len(done)))
    if behind > limit:
        return f"{behind:.3f} behind {rival} on the same {folds}, more than {limit:.3f}"
    return None


def residual_spread(scores: npt.NDArray[np.floating[Any]]) -> float | None:
    """Return the standard deviation of fold scores after the means of trials and of folds are subtracted.

    Args:
        scores: `(trials, folds)` scores of the completed trials.

    Returns:
        The deviation with (trials - 1)(folds - 1) degrees of freedom, in units of the metric; None with fewer than
        three trials or fewer than two folds.
    """
    if scores.ndim != 2 or len(scores) < MIN_TRIALS or scores.shape[1] < 2:
        return None
    residuals = scores - scores.mean(axis=1, keepdims=True) - scores.mean(axis=0, keepdims=True) + scores.mean()
    freedom = (scores.shape[0] - 1) * (scores.shape[1] - 1)
    return float(np.sqrt((residuals**2).sum() / freedom))
