"""When a first fit is too far behind at part of its epochs to be worth the rest.

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
"""Of the epochs, at which a fit must hold its own (`benchmarks/racing_replay.py`, DECISIONS.md)."""

KEPT: Final = 1 / 3
"""Share of the fits that may go on from each rung."""

LEAST: Final = 6
"""Earlier fits that must have come to a rung, or have fallen before it, for a bar to mean anything."""

Curve = Sequence[tuple[int, float]]
"""A fit's checks: epoch and validation skill; shorter where it fell or collapsed."""

Reached = tuple[float, ...]
"""A fit's best skill at each rung, minus infinity where it ended before."""

Bars = tuple[tuple[int, float], ...]
"""By epoch, the least skill with which a fit goes on."""


def bars(earlier: Sequence[Reached], epochs: int) -> Bars:
    """What the next fit must have reached, by what the earlier ones had.

    Args:
        earlier: of the same fold and as many epochs.
        epochs: planned.

    Returns:
        One bar a rung; none where too few fits have been seen.
    """
    if len(earlier) < LEAST:
        return ()
    least = np.quantile(np.asarray(earlier, float), 1 - KEPT, axis=0, method="lower")
    found = zip(_rungs(epochs), least.tolist(), strict=True)
    return tuple((epoch, bar) for epoch, bar in found if math.isfinite(bar))


def reached(curve: Curve, epochs: int) -> Reached:
    """What a fit had; a rung that it ended before has seen nothing of it."""
    return tuple(_best(curve, epoch) for epoch in _rungs(epochs))


def _rungs(epochs: int) -> list[int]:
    return [math.ceil(share * epochs) for share in SHARES]


def _best(curve: Curve, epoch: int) -> float:
    """Highest skill up to the first check at or after the epoch; of a fit that ended before it, nothing."""
    at = next((at for at, _ in curve if at >= epoch), None)
    if at is None:
        return -math.inf
    return max((skill for known, skill in curve if known <= at and math.isfinite(skill)), default=-math.inf)


def curve_of(fit: Fit) -> Curve:
    """Of a finished fit; one that ran to its end, or early had nothing left to learn, has its last skill at the end."""
    points = tuple(zip(column(fit.checks, "epoch"), column(fit.checks, "val_skill"), strict=True))
    if fit.verdict is not Verdict.LEARNED or not points:
        return points
    return (*points, (fit.epochs_planned, points[-1][1]))
