"""Successive halving: stops a trial's first fit at part of its epochs if it is too far behind earlier fits.

All fits have the same number of epochs and the same learning rate schedule, so their skills at the same epoch can be
compared. This is the idea of successive halving (Jamieson and Talwalkar 2016; asynchronous: Li et al. 2020), but the
length of the training never changes. A fit is measured by its best validation skill so far, so a dip does no harm.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np

from search.fit_checks import column
from search.records import Fit, Verdict

SHARES: Final = (0.125, 0.25, 0.5)
"""Rungs: shares of the planned epochs at which fits are compared (`benchmarks/racing_replay.py`, DECISIONS.md)."""

KEPT: Final = 1 / 3
"""Share of the fits, 0..1, that go on after a rung."""

LEAST: Final = 6
"""Smallest number of earlier fits from which the bars are set."""

Curve = Sequence[tuple[int, float]]
"""Pairs (epoch, validation skill), one per check of a fit, by epoch; shorter if the fit was stopped."""

Reached = tuple[float, ...]
"""Best skill of a fit up to each rung; -inf at rungs that it did not reach."""

Bars = tuple[tuple[int, float], ...]
"""Pairs (epoch, least skill with which a fit goes on), one per rung."""


def bars(earlier: Sequence[Reached], epochs: int) -> Bars:
    """Return the skill that the next fit must reach at each rung to be among the best `KEPT` of the earlier fits.

    Args:
        earlier: best skills at each rung, one tuple per earlier fit on the same fold and with the same planned epochs.
        epochs: planned epochs of a fit.

    Returns:
        The bar of each rung; rungs that too few earlier fits reached have none. Empty with fewer than `LEAST` earlier
        fits.
    """
    if len(earlier) < LEAST:
        return ()
    least = np.quantile(np.asarray(earlier, float), 1 - KEPT, axis=0, method="lower")
    by_rung = zip(_rungs(epochs), least.tolist(), strict=True)
    return tuple((epoch, bar) for epoch, bar in by_rung if math.isfinite(bar))


def reached(curve: Curve, epochs: int) -> Reached:
    """Return the best skill of a fit up to each rung of `epochs` planned epochs; -inf at rungs it did not reach."""
    return tuple(_best(curve, epoch) for epoch in _rungs(epochs))


def _rungs(epochs: int) -> list[int]:
    return [math.ceil(share * epochs) for share in SHARES]


def _best(curve: Curve, epoch: int) -> float:
    """Highest skill up to the first check at or after the epoch; minus infinity if the fit ended before it."""
    at = next((at for at, _ in curve if at >= epoch), None)
    if at is None:
        return -math.inf
    return max(
        (skill for epoch_of_check, skill in curve if epoch_of_check <= at and math.isfinite(skill)), default=-math.inf
    )


def curve_of(fit: Fit) -> Curve:
    """Return the curve of a finished fit; a fit that learned keeps its last skill up to its last planned epoch."""
    points = tuple(zip(column(fit.checks, "epoch"), column(fit.checks, "val_skill"), strict=True))
    if fit.verdict is not Verdict.LEARNED or not points:
        return points
    return (*points, (fit.epochs_planned, points[-1][1]))
