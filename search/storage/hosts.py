"""How many workers are at a shared study, of all hosts: what a host says of itself from time to time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from search.storage.ledger import Ledger

_FACT: Final = "presence"
_EVERY_SECONDS: Final = 60.0
_GONE_SECONDS: Final = 900.0  # since a host was last heard of; a fit may take some minutes


class HostRegistry:
    """Of this host among the others.

    Args:
        ledger: of the shared study.
        workers: of this host.
        wall: seconds since 1970, for tests. Clocks of hosts may differ by minutes, not more.
    """

    def __init__(self, ledger: Ledger, workers: int, wall: Callable[[], float] = time.time) -> None:
        self._ledger, self._workers, self._wall = ledger, workers, wall
        self._told: float | None = None

    def tell(self) -> None:
        """Say that this host is at work; costs nothing where it has just said so."""
        now = self._wall()
        if self._told is None or not 0.0 <= now - self._told < _EVERY_SECONDS:
            self._ledger.set_own_fact(_FACT, {"workers": self._workers, "moment": now})
            self._told = now

    def everyones(self) -> int:
        """Workers of all hosts that were heard of lately, this one among them."""
        self.tell()
        hosts = self._ledger.hosts_facts(_FACT)
        return sum(one["workers"] for one in hosts if one["moment"] > self._wall() - _GONE_SECONDS)
