"""How long a process that trains may say nothing before it counts as hung."""

from __future__ import annotations

import math
import statistics
import threading
from collections import deque
from typing import Final

_SILENCE_SECONDS: Final = 120.0  # that a fit may be silent (it speaks after each epoch) ...
_SILENCE_FACTOR: Final = 10.0  # ... or so many times as long as the usual epoch ...
_OWN_FACTOR: Final = 3.0  # ... or as its own longest silence, since networks and images differ
_BUILD_SECONDS: Final = 1800.0  # until its first word, while a network is built, images are loaded, kernels are tuned
_BUILT_BEFORE: Final = 5  # fits whose first words say how long the next ones may take: so many times the longest
_REMEMBERED: Final = 500  # epochs


class StallDetector:
    """How long a worker may say nothing: by what the epochs of this session take. For all threads."""

    def __init__(self) -> None:
        self._seconds: deque[float] = deque(maxlen=_REMEMBERED)
        self._built: deque[float] = deque(maxlen=_REMEMBERED)
        self._lock = threading.Lock()

    def learn(self, seconds: float) -> None:
        """From one word of a fit to the next."""
        with self._lock:
            self._seconds.append(seconds)

    def learn_building(self, seconds: float) -> None:
        """From the beginning of a fit, which builds its network, to its first word."""
        with self._lock:
            self._built.append(seconds)

    def seconds(self, longest: float | None) -> float:
        """Of silence to bear.

        Args:
            longest: silence of this fit so far, which began with building its network; None before its first word.
        """
        with self._lock:
            if longest is None:
                known = max(self._built) if len(self._built) >= _BUILT_BEFORE else math.inf
                return min(_BUILD_SECONDS, max(_SILENCE_SECONDS, _SILENCE_FACTOR * known))
            usual = statistics.median(self._seconds) if self._seconds else 0.0
        return max(_SILENCE_SECONDS, _SILENCE_FACTOR * usual, _OWN_FACTOR * longest)
