"""Heartbeats of a training process, and the time without heartbeats after which it counts as hung."""

from __future__ import annotations

import math
import statistics
import threading
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Final

from search.background import beside

_EVERY_SECONDS: Final = 1.0
_TIMEOUT_SECONDS: Final = 120.0  # without a heartbeat, which comes after each epoch at the latest ...
_USUAL_FACTOR: Final = 10.0  # ... or this multiple of the session's median interval ...
_OWN_FACTOR: Final = 3.0  # ... or this multiple of the fit's own longest interval, since networks and images differ
_BUILD_SECONDS: Final = 1800.0  # to the first heartbeat: the network is built, images are loaded, kernels are tuned
_ENOUGH_BUILDS: Final = 5  # fits after which the longest of their build times limits those of the next ones
_KEPT_INTERVALS: Final = 500


def heartbeat(
    work_done: Callable[[], int], send: Callable[[], None], every: float = _EVERY_SECONDS
) -> AbstractContextManager[None]:
    """Return a context manager that sends heartbeats from a background thread as long as the work advances.

    Args:
        work_done: returns the amount of work done so far, such as training steps; never falls.
        send: sends one heartbeat; raises OSError when the other side has closed the pipe.
        every: seconds between two calls of `work_done`; a heartbeat is sent if it has changed.
    """

    def watch(over: threading.Event) -> None:
        before = work_done()
        while not over.wait(every):
            now = work_done()
            if now != before:
                try:
                    send()
                except OSError:  # the fit itself will find out
                    return
            before = now

    return beside(watch)


class StallDetector:
    """Decides how long a worker may be silent before it counts as hung, from earlier fits' intervals. Thread-safe."""

    def __init__(self) -> None:
        self._intervals: deque[float] = deque(maxlen=_KEPT_INTERVALS)
        self._builds: deque[float] = deque(maxlen=_KEPT_INTERVALS)
        self._lock = threading.Lock()

    def add_interval(self, seconds: float) -> None:
        """Record the seconds between two messages of a fit."""
        with self._lock:
            self._intervals.append(seconds)

    def add_build(self, seconds: float) -> None:
        """Record the seconds from the start of a fit to its first message, in which its network is built."""
        with self._lock:
            self._builds.append(seconds)

    def timeout(self, longest: float | None) -> float:
        """Return the seconds without a message after which a fit counts as hung, at least 120.

        Args:
            longest: longest interval in seconds between two messages of this fit; None before its first message.
        """
        with self._lock:
            if longest is None:
                longest_build = max(self._builds) if len(self._builds) >= _ENOUGH_BUILDS else math.inf
                return min(_BUILD_SECONDS, max(_TIMEOUT_SECONDS, _USUAL_FACTOR * longest_build))
            usual = statistics.median(self._intervals) if self._intervals else 0.0
        return max(_TIMEOUT_SECONDS, _USUAL_FACTOR * usual, _OWN_FACTOR * longest)
