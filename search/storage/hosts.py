"""The hosts at work on a shared study: each records its number of workers from time to time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from search.storage.ledger import Ledger

_FACT: Final = "presence"
_EVERY_SECONDS: Final = 60.0
_GONE_SECONDS: Final = 900.0  # since a host last recorded its workers; a fit may take some minutes


class HostRegistry:
    """Records this host's workers, and counts those of all hosts at work on the study.

    Args:
        ledger: of the shared study.
        workers: number of this host's workers.
        wall: returns seconds since 1970, for tests. Clocks of hosts may differ by minutes, not more.
    """

    def __init__(self, ledger: Ledger, workers: int, wall: Callable[[], float] = time.time) -> None:
        self._ledger, self._workers, self._wall = ledger, workers, wall
        self._recorded: float | None = None

    def record(self) -> None:
        """Record that this host is at work, unless it did so within the last minute."""
        now = self._wall()
        if self._recorded is None or not 0.0 <= now - self._recorded < _EVERY_SECONDS:
            self._ledger.set_own_fact(_FACT, {"workers": self._workers, "moment": now})
            self._recorded = now

    def count_workers(self) -> int:
        """Count the workers of all hosts that were at work within the last quarter of an hour, this one included."""
        self.record()
        hosts = self._ledger.hosts_facts(_FACT)
        return sum(host["workers"] for host in hosts if host["moment"] > self._wall() - _GONE_SECONDS)
