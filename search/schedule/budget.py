"""Clock of a session: how much is left of the study's time budget and of the working hours."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np

from search.records import Trial, Verdict
from search.selection.ablation import most_fits
from search.settings import Plan
from spaces.config import Configuration

LAST_SECONDS: Final = 4.0
"""Seconds at the end of the budget that are kept for writing the report."""

_LATE_SECONDS: Final = 20.0  # after the end, for which what was finished may still wait for a database that is away
_ABLATION_SHARE: Final = 0.1  # of the limit, at most: for the way from the user's configuration to the recommended one
_SENSITIVITY_SHARE: Final = 1 / 6  # of what the plan gives the finalists
_WORTH_SECONDS: Final = 60.0  # left of a budget, for which it is worth to begin another session


class Clock:
    """Clock of a session: tells how many seconds are left of the budget, the working hours and the present phase.

    Time spent is measured by a monotonic clock, which nobody can set and which stands still while a laptop sleeps. The
    end of the working hours is compared with the wall clock.

    Args:
        limit: time budget of the study in seconds, over all sessions; None for no limit.
        now: monotonic clock, in seconds; replaced in tests.
        until: time at which the working hours end, in seconds since 1970; None if they don't end.
        usual: length of the next working hours in seconds; None if there are none.
        wall: wall clock, in seconds since 1970; replaced in tests.
        stop_requested: event that is set when the user or the system asks the session to end.

    Attributes:
        reserve: function that returns the seconds to keep for the phases after the present one.
    """

    def __init__(
        self,
        limit: float | None = None,
        now: Callable[[], float] = time.monotonic,
        *,
        until: float | None = None,
        usual: float | None = None,
        wall: Callable[[], float] = time.time,
        stop_requested: threading.Event | None = None,
    ) -> None:
        self._now, self._wall = now, wall
        self._started = now()
        self._spent = 0.0
        self._limit, self._until, self._usual = limit, until, usual
        self.reserve: Callable[[], float] = lambda: LAST_SECONDS  # seconds to keep back for what comes after
        self.stop_requested = stop_requested or threading.Event()

    def resume(self, spent: float) -> None:
        """Set the seconds that earlier sessions spent."""
        self._spent = spent

    @property
    def seconds(self) -> float:
        """Seconds spent so far, over all sessions."""
        return self._spent + self._now() - self._started

    @property
    def left(self) -> float | None:
        """Seconds left of the budget or of the working hours, whichever end first; None if neither ends."""
        bounds = [bound for bound in (self._limit_left, self._hours_left) if bound is not None]
        return min(bounds, default=None)

    @property
    def total(self) -> float | None:
        """Seconds that all sessions will have spent when this one ends; None if nothing ends it."""
        return None if self.left is None else self.seconds + self.left

    @property
    def usually_left(self) -> float | None:
        """Seconds left of this session, or length of the next working hours if that is more; None if nothing ends it.

        It is never more than what is left of the budget.
        """
        if self.left is None or self._usual is None:
            return self.left
        usual = self._usual if self._limit_left is None else min(self._usual, self._limit_left)
        return max(self.left, usual)

    @property
    def is_the_last(self) -> bool:
        """Whether this is the study's last session: the budget ends before the working hours, or within a minute."""
        if self._limit_left is None:
            return False
        return self._hours_left is None or self._limit_left <= self._hours_left or self._limit_left < _WORTH_SECONDS

    @property
    def phase_left(self) -> float | None:
        """Seconds left for the present phase: `left` less the seconds kept by `reserve`; None if nothing ends it."""
        return None if self.left is None else self.left - self.reserve()

    def phase_over(self) -> bool:
        """Return whether the present phase must end: its time is up, or a stop was requested."""
        left = self.phase_left
        return self.stop_requested.is_set() or (left is not None and left <= 0)

    def past_end(self) -> bool:
        """Return whether the session ended 20 seconds ago or longer, or a stop was requested: don't wait any more."""
        return self.stop_requested.is_set() or (self.left is not None and self.left <= -_LATE_SECONDS)

    @property
    def _limit_left(self) -> float | None:
        return None if self._limit is None else self._limit - self.seconds

    @property
    def _hours_left(self) -> float | None:
        return None if self._until is None else self._until - self._wall()


class ReservedTime:
    """Computes the seconds that each phase of a session must leave for the phases after it.

    Args:
        limit: time budget of the study in seconds; None for no limit.
        starts: the user's own configurations; the ablation begins at the first one.
        plan: plan of the study.
        test: whether a final training and a test follow.
        restart_seconds: function that returns the seconds a worker takes to restart.
    """

    def __init__(
        self,
        limit: float | None,
        starts: Sequence[Configuration],
        plan: Plan,
        *,
        test: bool,
        restart_seconds: Callable[[], float],
    ) -> None:
        self._limit, self._starts, self._plan = limit, starts, plan
        self._test, self._restart_seconds = test, restart_seconds

    def after_search(self, best: Trial | None) -> float:
        """Return the seconds for confirmation, ablation, sensitivity, final training and report.

        If `best` is None, there is nothing to confirm, so only the seconds of the final training and the report count.
        """
        if best is None:
            return self.for_final_fit(None)
        confirmation = self._plan.confirm_seconds or 0.0
        return confirmation + ablation_seconds(self._limit, self._starts, best) + self.for_final_fit(best)

    def after_confirmation(self, best: Trial | None) -> float:
        """Return the seconds for ablation, sensitivity, final training and report."""
        return ablation_seconds(self._limit, self._starts, best) + self.after_ablation(best)

    def after_ablation(self, best: Trial | None) -> float:
        """Return the seconds for sensitivity, final training and report."""
        return _SENSITIVITY_SHARE * (self._plan.confirm_seconds or 0.0) + self.for_final_fit(best)

    def for_final_fit(self, best: Trial | None) -> float:
        """Return the seconds for the final training of the best trial's configuration, the test and the report."""
        plan = self._plan
        if best is None or not self._test:
            return plan.final_seconds
        fit = max(fit.seconds for fit in best.fits) * plan.folds / (plan.folds - 1)
        return max(plan.final_seconds, 10.0 + self._restart_seconds() + 1.3 * fit)  # a worker that won't stop is killed


def ablation_seconds(limit: float | None, starts: Sequence[Configuration], best: Trial | None) -> float:
    """Return the seconds to keep for the ablation from the user's first configuration to the best trial's.

    Args:
        limit: time budget of the study in seconds; None for no limit.
        starts: the user's own configurations.
        best: the best trial so far; None while there is none.

    Returns:
        The expected duration, at most a tenth of `limit`, and that tenth if `best` is None; 0 if there is no limit or
        the user gave no configuration.
    """
    if limit is None or not starts:
        return 0.0
    most = _ABLATION_SHARE * limit
    if best is None:
        return most
    return min(most, most_fits(starts[0], best.configuration) * typical_fit_seconds(best))


def typical_fit_seconds(trial: Trial) -> float:
    """Return the median duration, in seconds, of the trial's fits that learned; 0 if none did."""
    seconds = [fit.seconds for fit in trial.fits if fit.verdict is Verdict.LEARNED]
    return float(np.median(seconds)) if seconds else 0.0
