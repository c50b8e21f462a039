"""Budgets on the wall clock, over all restarts of a study."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

_LAST_SECONDS: Final = 4.0  # of the budget: the report is written in them


class Clock:
    """When the search, and when everything, has to end.

    Args:
        limit: total of seconds over all sessions, None without one.
        now: the time in seconds, for tests.
    """

    def __init__(self, limit: float | None = None, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._started = now()
        self._spent = 0.0
        self._limit = limit
        self.reserve: Callable[[], float] = lambda: 0.0  # seconds to keep back; changes with the best so far
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

    def search_over(self) -> bool:
        """Whether no fit of the search may go on."""
        return self.asked.is_set() or (self.left is not None and self.left <= self.reserve())

    def over(self) -> bool:
        """Whether nothing may go on but the report."""
        return self.asked.is_set() or (self.left is not None and self.left <= _LAST_SECONDS)
