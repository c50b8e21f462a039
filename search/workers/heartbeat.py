"""Signs of life from inside long epochs: as long as steps are done, a worker is slow and not hung."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Final

from search.background import beside

_EVERY_SECONDS: Final = 1.0


def heartbeat(
    done: Callable[[], int], beat: Callable[[], None], every: float = _EVERY_SECONDS
) -> AbstractContextManager[None]:
    """Inside, `beat` is called by a thread of its own whenever more is done than the last time.

    Args:
        done: how much work, a number that grows.
        beat: raises OSError where nobody listens any more.
        every: seconds between two looks.
    """

    def watch(over: threading.Event) -> None:
        before = done()
        while not over.wait(every):
            now = done()
            if now != before:
                try:
                    beat()
                except OSError:  # the fit itself will find out
                    return
            before = now

    return beside(watch)
