"""Budgets and working hours, laid over the time as it passes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

LAST_SECONDS: Final = 4.0
"""Of the budget: the report is written in them."""

_LATE_SECONDS: Final = 20.0  # after the end, for which what was finished may still wait for a database that is away
_WORTH_SECONDS: Final = 60.0  # left of a budget, for which it is worth to begin another session


class Clock:
    """When each part of a session has to end.

    What is spent is counted by a clock that nobody sets and that stands still while a laptop sleeps; the end of the
    working hours is a time of day, whatever happened to the clock on the wall before it.

    Args:
        limit: total of seconds over all sessions, None without one.
        now: seconds that pass, for tests.
        until: moment (seconds since 1970) at which the session has to end, whatever is left of the limit.
        usual: seconds of the hours of work that follow, None where none do.
        wall: the moment now, for tests.
        asked: set when a person or the system asks to end.
    """

    def __init__(
        self,
        limit: float | None = None,
        now: Callable[[], float] = time.monotonic,
        *,
        until: float | None = None,
        usual: float | None = None,
        wall: Callable[[], float] = time.time,
        asked: threading.Event | None = None,
    ) -> None:
        self._now, self._wall = now, wall
        self._started = now()
        self._spent = 0.0
        self._limit, self._until, self._usual = limit, until, usual
        self.reserve: Callable[[], float] = lambda: LAST_SECONDS  # seconds to keep back for what comes after
        self.asked = asked or threading.Event()

    def resume(self, spent: float) -> None:
        """Count the seconds of earlier sessions too."""
        self._spent = spent

    @property
    def seconds(self) -> float:
        """Spent so far, all sessions."""
        return self._spent + self._now() - self._started

    @property
    def left(self) -> float | None:
        """Of the whole budget, and of the working hours; None without a limit."""
        bounds = [bound for bound in (self._limit_left, self._hours_left) if bound is not None]
        return min(bounds, default=None)

    @property
    def total(self) -> float | None:
        """Seconds that all sessions will have had when this one ends; None without a limit."""
        return None if self.left is None else self.seconds + self.left

    @property
    def usually_left(self) -> float | None:
        """Of sessions to come, where this one is but the rest of a night; else of this one. None without a limit."""
        if self.left is None or self._usual is None:
            return self.left
        usual = self._usual if self._limit_left is None else min(self._usual, self._limit_left)
        return max(self.left, usual)

    @property
    def is_the_last(self) -> bool:
        """Whether the budget ends before the working hours do: what it allows is done in this session."""
        if self._limit_left is None:
            return False
        return self._hours_left is None or self._limit_left <= self._hours_left or self._limit_left < _WORTH_SECONDS

    @property
    def phase_left(self) -> float | None:
        """Of what the present part of the session may use; None without a limit."""
        return None if self.left is None else self.left - self.reserve()

    def phase_over(self) -> bool:
        """Whether no fit of the present part may go on."""
        left = self.phase_left
        return self.asked.is_set() or (left is not None and left <= 0)

    def past_end(self) -> bool:
        """Whether the session should have ended a while ago, or was asked to end: nothing is worth waiting for."""
        return self.asked.is_set() or (self.left is not None and self.left <= -_LATE_SECONDS)

    @property
    def _limit_left(self) -> float | None:
        return None if self._limit is None else self._limit - self.seconds

    @property
    def _hours_left(self) -> float | None:
        return None if self._until is None else self._until - self._wall()
