"""Who may have a fit while another has one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from search.workers.errors import Stopped

_POLL_SECONDS: Final = 0.2


class ReadWriteLock:
    """Lets fits run together, or one alone: a process that the system killed may have been one too many."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._inside = 0
        self._is_taken = False

    @contextmanager
    def together(self) -> Iterator[None]:
        """For as long as the block lasts nobody is alone."""
        with self._changed:
            self._changed.wait_for(lambda: not self._is_taken)
            self._inside += 1
        try:
            yield
        finally:
            self._leave()

    @contextmanager
    def alone(self, should_stop: Callable[[], bool]) -> Iterator[None]:
        """For as long as the block lasts nobody else is inside. Raises Stopped."""
        with self._changed:
            self._changed.wait_for(lambda: not self._is_taken)
            self._is_taken = True  # nobody new comes in
            while self._inside and not should_stop():
                self._changed.wait(_POLL_SECONDS)
            if self._inside:
                self._is_taken = False
                self._changed.notify_all()
                raise Stopped
            self._inside += 1
        try:
            yield
        finally:
            with self._changed:
                self._is_taken = False
            self._leave()

    def _leave(self) -> None:
        with self._changed:
            self._inside -= 1
            self._changed.notify_all()
