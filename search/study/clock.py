"""Budgets on the wall clock, over all restarts of a study."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

LAST_SECONDS: Final = 4.0
"""Of the budget: the report is written in them."""


class Clock:
    """When each part of a session has to end.

    Args:
        limit: total of seconds over all sessions, None without one.
        now: the time in seconds, for tests.
    """

    def __init__(self, limit: float | None = None, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._started = now()
        self._spent = 0.0
        self._limit = limit
        self.reserve: Callable[[], float] = lambda: LAST_SECONDS  # seconds to keep back for what comes after
        self.asked = threading.Event()  # a person or the system asked to end

    def resume(self, spent: float) -> None:
        """Count the seconds of earlier sessions too."""
        self._spent = spent

    @property
    def seconds(self) -> float:
        """Spent so far, all sessions."""
        return self._spent + self._now() - self._started

    @property
    def left(self) -> float | None:
        """Of the whole budget; None without a limit."""
        return None if self._limit is None else self._limit - self.seconds

    @property
    def phase_left(self) -> float | None:
        """Of what the present part of the session may use; None without a limit."""
        return None if self.left is None else self.left - self.reserve()

    def phase_over(self) -> bool:
        """Whether no fit of the present part may go on."""
        left = self.phase_left
        return self.asked.is_set() or (left is not None and left <= 0)
