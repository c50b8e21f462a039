"""Time limit of a fit: ends a fit that exceeds its limit, or is expected to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from search.training.interfaces import Trainer
from search.training.job import FitJob
from search.training.lr_schedule import fit_seconds

_FORECAST_EPOCHS: Final = 3  # after which the forecast counts as it is; the first epoch also traces the network
_FAR_TOO_SLOW: Final = 2.0  # times the limit: what an earlier forecast must exceed
_FEWEST_STEPS: Final = 16  # of an epoch, for which a few steps are timed before the first one


class TimeLimit:
    """Compares the expected duration of a fit with the limit of its job.

    Args:
        job: gives the limit in seconds (None: no limit) and the number of epochs.
        steps: optimizer steps per epoch.
    """

    def __init__(self, job: FitJob, steps: int) -> None:
        self._job, self._steps = job, steps

    def evidence_from_steps(self, trainer: Trainer) -> dict[str, float] | None:
        """Time a few training steps before the first epoch. Call `Trainer.begin` afterwards.

        Args:
            trainer: the trainer of the fit.

        Returns:
            `epoch_seconds` and `limit_seconds` if the fit would take more than twice its limit. None otherwise, or if
            an epoch has fewer than 16 steps, when timing them is not worth it.
        """
        limit = self._job.limit_seconds
        if limit is None or self._steps < _FEWEST_STEPS:
            return None
        seconds = trainer.step_seconds(self._job.train)
        if seconds is None or self._forecast(seconds * self._steps) <= _FAR_TOO_SLOW * limit:
            return None
        return {"epoch_seconds": seconds * self._steps, "limit_seconds": limit}

    def evidence_from_epochs(self, seconds: Sequence[float]) -> dict[str, float] | None:
        """Compare the finished epochs with the limit.

        Args:
            seconds: duration of each finished epoch. The first includes tracing, and does not count.

        Returns:
            `epoch_seconds` (of the fastest epoch) and `limit_seconds` if the epochs took longer than the limit, if the
            fit is expected to after three epochs, or to take more than twice the limit after two. Else None.
        """
        limit, epoch = self._job.limit_seconds, len(seconds)
        if limit is None:
            return None
        allowed = limit if epoch == _FORECAST_EPOCHS else _FAR_TOO_SLOW * limit
        is_foreseen = 1 < epoch <= _FORECAST_EPOCHS and self._forecast(min(seconds)) > allowed
        if sum(seconds[1:]) > limit or is_foreseen:
            return {"epoch_seconds": min(seconds), "limit_seconds": limit}
        return None

    def _forecast(self, epoch_seconds: float) -> float:
        return fit_seconds(epoch_seconds, self._job.protocol.epochs)
