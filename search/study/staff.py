"""The workers of a session: they load TensorFlow while images are read, then the best arrangement of them stays."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from search import host
from search.errors import UserError
from search.study import arrangement
from search.study.ledger import Ledger
from search.study.machine import Gpu
from search.study.pool import MakePool, Pool, WorkerFault, seats
from search.study.request import Request
from search.study.worker import Material, Priced, Pricing

MEASURED_SECONDS: Final = 1.0
"""For which each arrangement of workers trains before one is chosen."""

_log = logging.getLogger(__name__)


class Staff:
    """The pool of a session, or a few of them until one is chosen.

    Args:
        request: names run folder and number of workers.
        gpus: that the driver lists.
        make_pool: makes the workers, from where each works and from who says that a fit must stop.
        must_stop: says that a fit must stop.
    """

    def __init__(
        self, request: Request, gpus: tuple[Gpu, ...], make_pool: MakePool, must_stop: Callable[[], bool]
    ) -> None:
        self._request, self._make_pool, self._must_stop = request, make_pool, must_stop
        self.gpus = gpus
        self._pools: list[Pool] = []

    @property
    def pool(self) -> Pool:
        """The one that is chosen; before that, the smallest."""
        return self._pools[0]

    def hire(self, ledger: Ledger | None, *, busy: bool) -> None:
        """Choose how many to begin with.

        Args:
            ledger: of the study, if there is one: it may know how many train most.
            busy: there is something to train, so that TensorFlow may be loaded already.
        """
        self._hire(self._counts(ledger, busy))
        if busy:
            for pool in self._pools:
                pool.begin()

    def start(self, ledger: Ledger) -> None:
        """Have the first worker up, and keep what it tells of device and versions.

        Raises:
            UserError: TensorFlow does not start.
            Stopped: the user asked for the end.
        """
        self._start()
        ready = self.pool.ready
        if ready is not None and self.gpus and not ready.on_gpu:
            _log.warning(
                "This machine has an NVIDIA GPU (%s) that TensorFlow does not see; the search runs on the CPU. "
                "To use it: pip install 'steadynet[gpu]' (from a checkout: pip install -e '.[gpu]').",
                self.gpus[0].name,
            )
            self.gpus = ()
            self.close()
            self._hire(self._counts(ledger, busy=True))
            self._start()
        if (ready := self.pool.ready) is not None:
            ledger.set_fact("device", ready.device)
            ledger.set_fact("versions", {**ledger.fact("versions"), **ready.versions})

    def supply(self, material: Material) -> None:
        """What all fits train on."""
        for pool in self._pools:
            pool.supply(material)

    @property
    def undecided(self) -> bool:
        """Whether it is open how many workers train most."""
        return len(self._pools) > 1

    def measure(self, ledger: Ledger, pricing: Pricing) -> Priced:
        """What the configuration costs, with all workers at it; of several arrangements the quickest stays.

        Args:
            ledger: of the study, for what was found.
            pricing: the configuration to time.

        Raises:
            WorkerFault, Stopped: as fits do.
        """
        found, prices = arrangement.arrange(self._pools, pricing, MEASURED_SECONDS)
        if len(self._pools) == 1:
            return prices[0]
        _log.info("%s", found.sentence)
        arrangement.keep(ledger, found)
        best = next(place for place, pool in enumerate(self._pools) if len(pool) == found.chosen)
        for place, pool in enumerate(self._pools):
            if place != best:
                pool.close()
        self._pools = [self._pools[best]]
        return prices[best]

    @property
    def restart_seconds(self) -> float:
        """What a worker takes to start again, if one had to be killed."""
        return self.pool.ready.seconds if self.pool.ready is not None else 0.0

    def close(self) -> None:
        """End all processes."""
        for pool in self._pools:
            pool.close()

    def _counts(self, ledger: Ledger | None, busy: bool) -> tuple[int | None, ...]:
        if self._request.workers is not None or self.gpus:
            return (self._request.workers,)
        known = None if ledger is None else arrangement.kept(ledger)
        if known is not None:
            return (known.chosen,)
        return arrangement.candidates(host.cores(), host.memory()) if busy else (None,)

    def _hire(self, counts: tuple[int | None, ...]) -> None:
        told = [seats(self._request.out, count, self.gpus) for count in counts]
        self._pools = [self._make_pool(each, self._must_stop) for each in told]

    def _start(self) -> None:
        try:
            with self.pool.worker() as worker:
                worker.start()
        except WorkerFault as error:
            log = self._request.out / "worker.log"
            raise UserError(f"TensorFlow does not start: {str(error).strip().splitlines()[-1]}. See {log}.") from None
