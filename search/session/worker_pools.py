"""The worker pools of a session: they load TensorFlow while images are read; then the fastest one is kept."""

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
"""Seconds of training by which each number of workers is timed; longer if an epoch takes longer."""

MEASURED_FROM: Final = 600.0
"""Smallest time limit in seconds for which it pays to measure the best number of workers."""

_SMALL: Final = 64  # pixels: networks for them leave most of a second thread idle

_log = logging.getLogger(__name__)


class WorkerPools:
    """The pool of a session, or one for each number of workers until the fastest is chosen.

    Args:
        request: the user's request, with run folder and number of workers.
        gpus: GPUs that the driver lists and that may be used.
        make_pool: creates a worker pool from the resources of its workers and `must_stop`.
        must_stop: returns whether running fits have to stop.
    """

    def __init__(
        self, request: SearchRequest, gpus: tuple[Gpu, ...], make_pool: MakePool, must_stop: Callable[[], bool]
    ) -> None:
        self._request, self._make_pool, self._must_stop = request, make_pool, must_stop
        self.gpus = gpus
        self.measured: worker_count.WorkerCount | None = None  # by this session
        self._pools: list[WorkerPool] = []

    @property
    def pool(self) -> WorkerPool:
        """The chosen pool; before the choice, the one with the fewest workers."""
        return self._pools[0]

    def create(self, ledger: Ledger | None, *, will_train: bool) -> None:
        """Create the pools to choose from. If they will train, their workers begin to load TensorFlow.

        Args:
            ledger: the study's ledger, which may have the number of workers of an earlier session; None without one.
            will_train: whether this session makes fits.
        """
        self._create(self._counts(ledger, will_train))
        if will_train:
            with contextlib.suppress(WorkerError):  # `start` meets the same error again and reports it
                for pool in self._pools:
                    pool.spawn()

    def start(self, ledger: Ledger) -> None:
        """Wait until a worker has started, and store its device and package versions in the ledger.

        Raises:
            UserError: TensorFlow does not start.
            Stopped: the user stopped the session.
        """
        self._start()
        ready = self.pool.ready
        if ready is not None and self.gpus and not ready.on_gpu:
            _log.warning("%s", unseen_gpu_message(self.gpus[0]))
            self.gpus = ()
            self.close()
            self._create(self._counts(ledger, will_train=True))
            self._start()
        self._start_others()
        if (ready := self.pool.ready) is not None:
            ledger.set_fact("device", ready.device)
            ledger.set_fact("versions", {**ledger.fact("versions"), **ready.versions})

    def set_data(self, data: TrainingData) -> None:
        """Pass the training images to all pools."""
        for pool in self._pools:
            pool.set_data(data)

    @property
    def is_undecided(self) -> bool:
        """Whether several numbers of workers are still to be compared."""
        return len(self._pools) > 1

    def measure(self, ledger: Ledger, job: TimingJob, epoch_ratio: float = 1.0) -> Timing | None:
        """Time a configuration with all workers busy, keep the fastest pool, and close the others.

        Args:
            ledger: the study's ledger, where the chosen number of workers is stored.
            job: the configuration to time.
            epoch_ratio: ratio of a whole epoch's duration to that of a timed one.

        Returns:
            The timing in the fastest pool, for a whole epoch; None if timing failed in all pools, which is logged.

        Raises:
            Stopped: the user stopped the session.
        """
        was_undecided = self.is_undecided
        timed = worker_count.time_pools(self._pools, job, MEASURED_SECONDS)
        timings = [(pool, Timing(timing.trace, epoch_ratio * timing.epoch)) for pool, timing in timed]
        chosen, fastest = timings[0] if timings else (self.pool, None)
        for pool in self._pools:
            if pool is not chosen:
                pool.close()
        self._pools = [chosen]
        if was_undecided and timings:
            by_count = sorted(timings, key=lambda pair: len(pair[0]))
            rates = {str(len(pool)): worker_count.rate(pool, timing) for pool, timing in by_count}
            self.measured = worker_count.WorkerCount(resources.cores(), len(chosen), rates)
            worker_count.save_worker_count(ledger, self.measured)
            _log.info("%s", self.measured.sentence)
        return fastest

    @property
    def restart_seconds(self) -> float:
        """Seconds that a worker takes to restart after it was killed; 0 if no worker has started yet."""
        return self.pool.ready.seconds if self.pool.ready is not None else 0.0

    def close(self) -> None:
        """End all processes."""
        for pool in self._pools:
            pool.close()

    def _counts(self, ledger: Ledger | None, will_train: bool) -> tuple[int | None, ...]:
        if self._request.workers is not None or self.gpus:
            return (self._request.workers,)
        each = worker_count.PRETRAINED_BYTES if self._request.space.backbones else worker_count.WORKER_BYTES
        earlier = None if ledger is None else worker_count.load_worker_count(ledger, each)
        if earlier is not None:
            return (earlier.chosen,)
        seconds, trials = self._request.budget.seconds, self._request.budget.trials
        if not will_train:
            return (None,)
        counts = worker_count.candidates(resources.cores(), resources.memory(), trials, each)
        if seconds is not None and seconds < MEASURED_FROM:
            is_small = self._request.image_size is None or self._request.image_size <= _SMALL
            return counts[-1:] if is_small else counts[:1]
        return counts

    def _create(self, counts: tuple[int | None, ...]) -> None:
        shares = [worker_resources(self._request.out, count, self.gpus) for count in counts]
        self._pools = [self._make_pool(share, self._must_stop) for share in shares]

    def _start(self) -> None:
        try:
            with self.pool.worker() as worker:
                worker.start()
        except WorkerError as error:
            log = self._request.out / "worker.log"
            raise UserError(f"TensorFlow does not start: {last_line(str(error))}. See {log}.") from None

    def _start_others(self) -> None:
        """Start the other pools, so that none starts while another is timed; one that can't start is dropped."""
        for pool in self._pools[1:]:
            try:
                pool.start()
            except WorkerError as error:
                _log.warning("%d workers at once could not be started: %s", len(pool), last_line(str(error)))
                pool.close()
                self._pools.remove(pool)
