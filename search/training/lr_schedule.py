"""Learning rate schedule (warm up, hold, cool down to zero), and rules that end a fit early. Pure NumPy.

The fit is judged at its last epoch, so the rate must be close to zero by then. When the training loss can hardly fall
further, the cool-down begins early and the fit is shorter.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from search.fit_checks import Check

_WARM_UP: Final = 0.05  # share of the updates
_HOLD_UNTIL: Final = 0.6  # share of the updates at which the planned cool-down begins
_EARLY_COOL_DOWN: Final = 0.2  # share of the planned epochs that an early cool-down takes
_CHECKS_FACTOR: Final = 1.15  # seconds of a fit, checks included, by seconds of its epochs
_SATURATED: Final = 0.98  # training skill above which the loss can hardly fall further


@dataclass(frozen=True, slots=True)
class Schedule:
    """Learning rates of a fit, as shares of the peak rate.

    Attributes:
        epochs: planned number of epochs, at least 1.
        updates_per_epoch: optimizer steps per epoch, at least 1.
        last: number of epochs after which the rate is zero and the fit ends, at most `epochs`.
        cool_from: number of epochs after which an early cool-down began; None: the cool-down begins as planned.
    """

    epochs: int
    updates_per_epoch: int
    last: int
    cool_from: int | None = None

    @classmethod
    def planned(cls, epochs: int, updates_per_epoch: int) -> Schedule:
        """Return the schedule of a fit of full length."""
        return cls(epochs, updates_per_epoch, last=epochs)

    def cooled(self, epoch: int) -> Schedule:
        """Return the schedule with a cool-down that begins after `epoch` finished epochs.

        Unchanged if the cool-down has begun, or is planned to begin by then.
        """
        if self.cool_from is not None or epoch >= _HOLD_UNTIL * self.epochs:
            return self
        last = min(self.last, epoch + max(1, math.ceil(_EARLY_COOL_DOWN * self.epochs)))
        return Schedule(self.epochs, self.updates_per_epoch, last=last, cool_from=epoch)

    def rates(self, epoch: int) -> npt.NDArray[np.float32]:
        """Return the rates of an epoch, `(updates_per_epoch,)` float32 shares 0..1 of the peak rate.

        Args:
            epoch: number of epochs finished before it.
        """
        step = epoch * self.updates_per_epoch + np.arange(self.updates_per_epoch)
        warm = max(1.0, _WARM_UP * self.epochs * self.updates_per_epoch)
        cool = (self.cool_from if self.cool_from is not None else _HOLD_UNTIL * self.epochs) * self.updates_per_epoch
        end = self.last * self.updates_per_epoch
        up = (step + 1) / warm
        down = (end - step) / max(1.0, end - cool)
        return np.clip(np.minimum(up, down), 0.0, 1.0).astype(np.float32)


def is_saturated(train_skills: list[float]) -> bool:
    """Whether the training loss can hardly fall further: the last two of these training skills are 0.98 or more."""
    return len(train_skills) >= 2 and min(train_skills[-2:]) >= _SATURATED


def check_epochs(epochs: int, most: int = 30) -> int:
    """Return the number of epochs between checks with which a fit of `epochs` epochs has at most `most` checks."""
    return max(1, math.ceil(epochs / most))


def batchnorm_momentum(updates: int) -> float:
    """Return BatchNorm's momentum, 0.5..0.99, for a fit with `updates` optimizer steps.

    The initial moving statistics count for 1 % after a tenth of the steps. With Keras' default of 0.99 they would
    dominate on small image sets, and the scores in evaluation mode would look like a collapse.
    """
    return float(np.clip(0.01 ** (1 / max(1e-9, 0.1 * updates)), 0.5, 0.99))


def fit_seconds(epoch_seconds: float, epochs: int) -> float:
    """Return the expected seconds of a fit of `epochs` epochs of `epoch_seconds` each, including checks."""
    return _CHECKS_FACTOR * epoch_seconds * epochs


def missed_bar(checks: Sequence[Check], bars: Sequence[tuple[int, float]]) -> dict[str, float] | None:
    """Decide whether a fit falls short of a rung of successive halving.

    Each bar is compared with the best validation skill so far, once: at the first check at or after its epoch.

    Args:
        checks: checks of the fit so far, at least one.
        bars: (epoch, least validation skill) of each rung.

    Returns:
        `best_skill` and `bar` if the fit falls short, else None.
    """
    before = checks[-2].epoch if len(checks) > 1 else 0
    best = max((check.val_skill for check in checks if math.isfinite(check.val_skill)), default=-math.inf)
    due = [bar for epoch, bar in bars if before < epoch <= checks[-1].epoch]
    if not due or best >= max(due):
        return None
    return {"best_skill": best, "bar": max(due)}
