"""Lock that many fits hold together, or one fit exclusively."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from search.workers.errors import Stopped

_POLL_SECONDS: Final = 0.2


class ReadWriteLock:
    """Lets several fits run at the same time, or one fit alone.

    A fit whose process the system killed, perhaps because memory ran out, is repeated alone.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._holders = 0
        self._is_exclusive = False  # held, or waited for by one that keeps new ones out

    @contextmanager
    def shared(self) -> Iterator[None]:
        """Hold the lock together with others in a `with` block; waits while it is held or wanted exclusively."""
        with self._changed:
            self._changed.wait_for(lambda: not self._is_exclusive)
            self._holders += 1
        try:
            yield
        finally:
            self._release()

    @contextmanager
    def exclusive(self, should_stop: Callable[[], bool]) -> Iterator[None]:
        """Hold the lock alone in a `with` block: new holders wait, and so does this one for the present ones.

        Raises:
            Stopped: `should_stop` returned True during the wait for the present holders.
        """
        with self._changed:
            self._changed.wait_for(lambda: not self._is_exclusive)
            self._is_exclusive = True
            while self._holders and not should_stop():
                self._changed.wait(_POLL_SECONDS)
            if self._holders:
                self._is_exclusive = False
                self._changed.notify_all()
                raise Stopped
            self._holders += 1
        try:
            yield
        finally:
            with self._changed:
                self._is_exclusive = False
            self._release()

    def _release(self) -> None:
        with self._changed:
            self._holders -= 1
            self._changed.notify_all()
