"""The time budget of a study and the hours of work, compared with the time as it passes."""

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
"""Seconds at the end of the budget in which the report is written."""

_LATE_SECONDS: Final = 20.0  # after the end, for which what was finished may still wait for a database that is away
_ABLATION_SHARE: Final = 0.1  # of the limit, at most: for the way from the user's configuration to the recommended one
_SENSITIVITY_SHARE: Final = 1 / 6  # of what the plan gives the finalists
_WORTH_SECONDS: Final = 60.0  # left of a budget, for which it is worth to begin another session


class Clock:
    """Clock of a session: tells how much is left of the budget, of the working hours and of the present part.

    What is spent is counted by a clock that nobody sets and that stands still while a laptop sleeps; the end of the
    working hours is a time of day, whatever happened to the clock on the wall before it.

    Args:
        limit: total of seconds over all sessions, None without one.
        now: seconds that pass, for tests.
        until: moment (seconds since 1970) at which the session has to end, whatever is left of the limit.
        usual: seconds of the hours of work that follow, None where none do.
        wall: the moment now, for tests.
        stop_requested: set when a person or the system asks the session to end.
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
        """Add the seconds that earlier sessions spent."""
        self._spent = spent

    @property
    def seconds(self) -> float:
        """Seconds spent so far, over all sessions."""
        return self._spent + self._now() - self._started

    @property
    def left(self) -> float | None:
        """Seconds left of the budget or of the working hours, whichever end first; None without a limit."""
        bounds = [bound for bound in (self._limit_left, self._hours_left) if bound is not None]
        return min(bounds, default=None)

    @property
    def total(self) -> float | None:
        """Seconds that all sessions together will have had when this one ends; None without a limit."""
        return None if self.left is None else self.seconds + self.left

    @property
    def usually_left(self) -> float | None:
        """Seconds left of this session, or of a usual one where this is but the rest of a night; None without limit."""
        if self.left is None or self._usual is None:
            return self.left
        usual = self._usual if self._limit_left is None else min(self._usual, self._limit_left)
        return max(self.left, usual)

    @property
    def is_the_last(self) -> bool:
        """Whether the budget ends before the working hours do, so that all it allows is done in this session."""
        if self._limit_left is None:
            return False
        return self._hours_left is None or self._limit_left <= self._hours_left or self._limit_left < _WORTH_SECONDS

    @property
    def phase_left(self) -> float | None:
        """Seconds left for the present part of the session, less what later parts need; None without a limit."""
        return None if self.left is None else self.left - self.reserve()

    def phase_over(self) -> bool:
        """Whether the present part of the session has to end: its time is up, or an end was requested."""
        left = self.phase_left
        return self.stop_requested.is_set() or (left is not None and left <= 0)

    def past_end(self) -> bool:
        """Whether the session should have ended a while ago, or was asked to end: nothing is worth waiting for."""
        return self.stop_requested.is_set() or (self.left is not None and self.left <= -_LATE_SECONDS)

    @property
    def _limit_left(self) -> float | None:
        return None if self._limit is None else self._limit - self.seconds

    @property
    def _hours_left(self) -> float | None:
        return None if self._until is None else self._until - self._wall()


class ReservedTime:
    """Seconds that each part of a session leaves for the parts after it.

    Args:
        limit: seconds of the whole study, None without a limit.
        starts: the user's own configurations; the first one is explained after the search.
        plan: of the study.
        test: whether a final training and a test follow.
        restart_seconds: returns what a worker takes to start again.
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
        """Seconds for all that follows the search. Without a best trial nothing is confirmed and the search goes on."""
        if best is None:
            return self.for_final_fit(None)
        confirmation = self._plan.confirm_seconds or 0.0
        return confirmation + ablation_seconds(self._limit, self._starts, best) + self.for_final_fit(best)

    def after_confirmation(self, best: Trial | None) -> float:
        """Seconds for ablation, sensitivity, final training and report."""
        return ablation_seconds(self._limit, self._starts, best) + self.after_ablation(best)

    def after_ablation(self, best: Trial | None) -> float:
        """Seconds for sensitivity, final training and report."""
        return _SENSITIVITY_SHARE * (self._plan.confirm_seconds or 0.0) + self.for_final_fit(best)

    def for_final_fit(self, best: Trial | None) -> float:
        """Seconds for a final training of the best trial's configuration, the test and the report."""
        plan = self._plan
        if best is None or not self._test:
            return plan.final_seconds
        fit = max(fit.seconds for fit in best.fits) * plan.folds / (plan.folds - 1)
        return max(plan.final_seconds, 10.0 + self._restart_seconds() + 1.3 * fit)  # a worker that won't stop is killed


def ablation_seconds(limit: float | None, starts: Sequence[Configuration], best: Trial | None) -> float:
    """Seconds for the ablation from the user's first configuration to the best trial's.

    0 without a limit or without a configuration of the user's; the most an ablation may take without a best trial.

    Args:
        limit: seconds of the whole study, None without a limit.
        starts: the user's own configurations.
        best: the best trial so far, None while there is none.
    """
    if limit is None or not starts:
        return 0.0
    most = _ABLATION_SHARE * limit
    if best is None:
        return most
    return min(most, most_fits(starts[0], best.configuration) * typical_fit_seconds(best))


def typical_fit_seconds(trial: Trial) -> float:
    """Median seconds of the trial's fits that learned; 0 without any."""
    seconds = [fit.seconds for fit in trial.fits if fit.verdict is Verdict.LEARNED]
    return float(np.median(seconds)) if seconds else 0.0
