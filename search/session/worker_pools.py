"""The workers of a session: they load TensorFlow while images are read, then the best arrangement of them stays."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable
from typing import Final

from search import resources
from search.errors import UserError
from search.request import SearchRequest
from search.session import worker_count
from search.storage.ledger import Ledger
from search.workers.devices import Gpu, unseen_gpu_message
from search.workers.errors import WorkerError, last_line
from search.workers.interfaces import MakePool, WorkerPool
from search.workers.pool import worker_resources
from search.workers.protocol import Timing, TimingJob, TrainingData

MEASURED_SECONDS: Final = 1.0
"""For which each number of workers trains before one is chosen; more where an epoch takes longer."""

MEASURED_FROM: Final = 600.0
"""Seconds of a time limit: with less, finding out how many workers train most costs more than it brings."""

_SMALL: Final = 64  # pixels: networks for them leave most of a second thread idle

_log = logging.getLogger(__name__)


class WorkerPools:
    """The pool of a session, or a few of them until one is chosen.

    Args:
        request: names run folder and number of workers.
        gpus: that the driver lists, and that may be used.
        make_pool: makes the workers, from where each works and from who says that a fit must stop.
        must_stop: says that a fit must stop.
    """

    def __init__(
        self, request: SearchRequest, gpus: tuple[Gpu, ...], make_pool: MakePool, must_stop: Callable[[], bool]
    ) -> None:
        self._request, self._make_pool, self._must_stop = request, make_pool, must_stop
        self.gpus = gpus
        self.found: worker_count.WorkerCount | None = None  # what was measured, if anything
        self._pools: list[WorkerPool] = []

    @property
    def pool(self) -> WorkerPool:
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
            with contextlib.suppress(WorkerError):  # comes again when they are started, and is told then
                for pool in self._pools:
                    pool.spawn()

    def start(self, ledger: Ledger) -> None:
        """Have the first worker up, and keep what it tells of device and versions.

        Raises:
            UserError: TensorFlow does not start.
            Stopped: the user asked for the end.
        """
        self._start()
        ready = self.pool.ready
        if ready is not None and self.gpus and not ready.on_gpu:
            _log.warning("%s", unseen_gpu_message(self.gpus[0]))
            self.gpus = ()
            self.close()
            self._hire(self._counts(ledger, busy=True))
            self._start()
        self._start_others()
        if (ready := self.pool.ready) is not None:
            ledger.set_fact("device", ready.device)
            ledger.set_fact("versions", {**ledger.fact("versions"), **ready.versions})

    def set_data(self, data: TrainingData) -> None:
        """What all fits train on."""
        for pool in self._pools:
            pool.set_data(data)

    @property
    def undecided(self) -> bool:
        """Whether it is open how many workers train most."""
        return len(self._pools) > 1

    def measure(self, ledger: Ledger, pricing: TimingJob, longer: float = 1.0) -> Timing | None:
        """What the configuration costs, with all workers at it; of several numbers of workers the quickest stays.

        Args:
            ledger: of the study, for what was found.
            pricing: the configuration to time.
            longer: how much longer a whole epoch is than the one that is timed.

        Returns:
            Of a whole epoch; None where it can't be timed; that is logged.

        Raises:
            Stopped: the user asked for the end.
        """
        undecided = self.undecided
        timed = worker_count.time_pools(self._pools, pricing, MEASURED_SECONDS)
        found = [(pool, Timing(priced.trace, longer * priced.epoch)) for pool, priced in timed]
        chosen, priced = found[0] if found else (self.pool, None)
        for pool in self._pools:
            if pool is not chosen:
                pool.close()
        self._pools = [chosen]
        if undecided and found:
            by_count = sorted(found, key=lambda pair: len(pair[0]))
            rates = {str(len(pool)): worker_count.rate(pool, cost) for pool, cost in by_count}
            self.found = worker_count.WorkerCount(resources.cores(), len(chosen), rates)
            worker_count.save_worker_count(ledger, self.found)
            _log.info("%s", self.found.sentence)
        return priced

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
        each = worker_count.PRETRAINED_BYTES if self._request.space.backbones else worker_count.WORKER_BYTES
        known = None if ledger is None else worker_count.load_worker_count(ledger, each)
        if known is not None:
            return (known.chosen,)
        seconds, trials = self._request.budget.seconds, self._request.budget.trials
        if not busy:
            return (None,)
        counts = worker_count.candidates(resources.cores(), resources.memory(), trials, each)
        if seconds is not None and seconds < MEASURED_FROM:
            is_small = self._request.image_size is None or self._request.image_size <= _SMALL
            return counts[-1:] if is_small else counts[:1]
        return counts

    def _hire(self, counts: tuple[int | None, ...]) -> None:
        told = [worker_resources(self._request.out, count, self.gpus) for count in counts]
        self._pools = [self._make_pool(each, self._must_stop) for each in told]

    def _start(self) -> None:
        try:
            with self.pool.worker() as worker:
                worker.start()
        except WorkerError as error:
            log = self._request.out / "worker.log"
            raise UserError(f"TensorFlow does not start: {last_line(str(error))}. See {log}.") from None

    def _start_others(self) -> None:
        """While it is open how many stay, all are up before any is timed; those that can't start are not needed."""
        for pool in self._pools[1:]:
            try:
                pool.start()
            except WorkerError as error:
                _log.warning("%d workers at once could not be started: %s", len(pool), last_line(str(error)))
                pool.close()
                self._pools.remove(pool)
