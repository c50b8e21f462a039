"""Time limit of a fit: exceeded, or foreseen to be, before much time is lost."""

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
    """Forecast of a fit's time, held against the limit of its job.

    Args:
        job: knows the limit, None for none, and the number of epochs.
        steps: optimizer steps of an epoch.
    """

    def __init__(self, job: FitJob, steps: int) -> None:
        self._job, self._steps = job, steps

    def evidence_from_steps(self, trainer: Trainer) -> dict[str, float] | None:
        """Time a few steps before the first epoch, on weights that are then reset.

        Returns:
            `epoch_seconds` and `limit_seconds` if the fit would take more than twice its limit, else None; None, too,
            where epochs are so short that timing steps is not worth it.
        """
        limit = self._job.limit_seconds
        if limit is None or self._steps < _FEWEST_STEPS:
            return None
        seconds = trainer.step_seconds(self._job.train)
        if seconds is None or self._forecast(seconds * self._steps) <= _FAR_TOO_SLOW * limit:
            return None
        return {"epoch_seconds": seconds * self._steps, "limit_seconds": limit}

    def evidence_from_epochs(self, seconds: Sequence[float]) -> dict[str, float] | None:
        """Judge a fit by its epochs so far.

        Args:
            seconds: of each finished epoch; that of the first one includes tracing and does not count.

        Returns:
            `epoch_seconds` (of the fastest epoch) and `limit_seconds` if the epochs took longer than the limit, or if
            the second or third one foretells it; else None.
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
