"""Signs of life from inside long epochs: as long as steps are done, a worker is slow and not hung."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

_EVERY_SECONDS: Final = 1.0


@contextmanager
def pulse(done: Callable[[], int], beat: Callable[[], None], every: float = _EVERY_SECONDS) -> Iterator[None]:
    """Inside, `beat` is called by a thread of its own whenever more is done than the last time.

    Args:
        done: how much work, a number that grows.
        beat: raises OSError where nobody listens any more.
        every: seconds between two looks.
    """
    over = threading.Event()

    def watch() -> None:
        before = done()
        while not over.wait(every):
            now = done()
            if now != before:
                try:
                    beat()
                except OSError:  # the fit itself will find out
                    return
            before = now

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
