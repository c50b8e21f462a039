"""Successive halving: when a first fit is too far behind at part of its epochs to be worth the rest.

All fits have the same epochs and the same schedule of the learning rate, so what they have reached at the same epoch
can be compared, though none is finished: successive halving's idea (Jamieson and Talwalkar 2016; asynchronous: Li et
al. 2020), without its changes of the training's length. A fit is measured by the best validation skill it has had so
far, which forgives a dip.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np

from search.fit_checks import column
from search.records import Fit, Verdict

SHARES: Final = (0.125, 0.25, 0.5)
"""Shares of the planned epochs at which a fit is compared, one a rung (`benchmarks/racing_replay.py`, DECISIONS.md)."""

KEPT: Final = 1 / 3
"""Share of the fits that may go on from each rung."""

LEAST: Final = 6
"""Smallest number of earlier fits from which the bars are set."""

Curve = Sequence[tuple[int, float]]
"""Epoch and validation skill of each check of a fit; shorter where the fit was stopped."""

Reached = tuple[float, ...]
"""Best skill of a fit up to each rung, minus infinity where it ended before."""

Bars = tuple[tuple[int, float], ...]
"""Epoch of each rung, and the least skill with which a fit goes on."""


def bars(earlier: Sequence[Reached], epochs: int) -> Bars:
    """Least skill that the next fit needs at each rung, from what earlier fits had there.

    Args:
        earlier: fits of the same fold and with as many epochs.
        epochs: planned.

    Returns:
        One bar a rung; none with fewer than `LEAST` fits.
    """
    if len(earlier) < LEAST:
        return ()
    least = np.quantile(np.asarray(earlier, float), 1 - KEPT, axis=0, method="lower")
    by_rung = zip(_rungs(epochs), least.tolist(), strict=True)
    return tuple((epoch, bar) for epoch, bar in by_rung if math.isfinite(bar))


def reached(curve: Curve, epochs: int) -> Reached:
    """Best skill of a fit up to each rung; minus infinity at rungs that it did not come to."""
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
    """Curve of a finished fit. One that learned, even if it ended early, has its last skill at the last epoch."""
    points = tuple(zip(column(fit.checks, "epoch"), column(fit.checks, "val_skill"), strict=True))
    if fit.verdict is not Verdict.LEARNED or not points:
        return points
    return (*points, (fit.epochs_planned, points[-1][1]))
