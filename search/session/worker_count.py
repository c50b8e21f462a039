"""Measurement of the number of workers that trains most epochs per second, which depends on machine and images.

Small networks leave most of a second thread idle, and tracing a network takes one thread only; large networks gain from
all threads of the CPU.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

from search import resources
from search.storage.ledger import Ledger
from search.workers.errors import WorkerError, last_line
from search.workers.interfaces import WorkerPool
from search.workers.protocol import Timing, TimingJob

MOST: Final = 16
"""Largest number of workers to try: the more trials run at once, the fewer results the sampler has for each."""

WORKER_BYTES: Final = 1_500_000_000
"""Memory in bytes that a worker may need: TensorFlow, eight networks and the images of a batch."""

PRETRAINED_BYTES: Final = 3_500_000_000
"""Memory in bytes that a worker with pretrained networks may need; 3.4 GB were measured for images of 128 pixels."""

_MANY: Final = 8  # from which on a number between one and all is measured too
_FACT: Final = "workers"
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class WorkerCount:
    """The measured speeds for several numbers of workers, and the fastest number.

    Attributes:
        cores: cores of the machine.
        chosen: number of workers that trained most epochs per second.
        rates: number of workers -> epochs per second of all workers together.
    """

    cores: int
    chosen: int
    rates: Mapping[str, float]

    @property
    def sentence(self) -> str:
        """A sentence for the user with the measured speeds and the choice.

        >>> WorkerCount(2, 2, {"1": 20.0, "2": 30.0}).sentence
        'Epochs a second: 20.0 with 1 worker, 30.0 with 2 workers; 2 chosen.'
        """
        texts = [f"{rate:.3g} with {count} worker{'s' * (count != '1')}" for count, rate in self.rates.items()]
        return f"Epochs a second: {', '.join(texts)}; {self.chosen} chosen."


def candidates(cores: int, memory: int, trials: int | None = None, each: int = WORKER_BYTES) -> tuple[int, ...]:
    """Return the numbers of workers to measure on a CPU: one, as many as possible, and one between.

    Args:
        cores: cores of the CPU.
        memory: available memory in bytes.
        trials: largest number of trials of the search; None without a limit.
        each: memory in bytes that a worker may need.

    >>> candidates(cores=8, memory=64_000_000_000), candidates(cores=1, memory=64_000_000_000)
    ((1, 3, 8), (1,))
    """
    in_memory = memory // each - 1  # while they are compared there is one more
    most = max(1, min(cores, in_memory, MOST, cores if trials is None else trials))
    between = round(math.sqrt(most)) if most >= _MANY and most + math.isqrt(most) < in_memory else 1
    return tuple(sorted({1, between, most}))


def load_worker_count(ledger: Ledger, each: int = WORKER_BYTES) -> WorkerCount | None:
    """Return the measurement of an earlier session; None if there is none, or if it does not fit this machine.

    Args:
        ledger: the study's ledger.
        each: memory in bytes that a worker may need.
    """
    stored: dict[str, Any] | None = ledger.own_fact(_FACT)
    if stored is None or stored["cores"] != resources.cores():
        return None
    count = WorkerCount(**stored)
    return count if count.chosen <= max(candidates(resources.cores(), resources.memory(), each=each)) else None


def save_worker_count(ledger: Ledger, count: WorkerCount) -> None:
    """Store the measurement for later sessions: fits are only reproducible with the same number of threads."""
    ledger.set_own_fact(_FACT, asdict(count))


def time_pools(pools: Sequence[WorkerPool], job: TimingJob, seconds: float) -> list[tuple[WorkerPool, Timing]]:
    """Time the pools one after the other, each with all its workers at once.

    Args:
        pools: one for each number of workers.
        job: the configuration to time.
        seconds: seconds that each pool trains; at least one epoch is trained.

    Returns:
        (pool, timing) pairs, sorted by epochs per second, the fastest pool first. A pool whose workers fail is logged
        and left out: the machine can't run so many.

    Raises:
        Stopped: the user stopped the session.
    """
    timings = []
    for pool in pools:
        try:
            trace = _mean([one.trace for one in _time_all(pool, job)])
            epoch = _mean([one.epoch for one in _time_all(pool, replace(job, seconds=seconds))])
        except WorkerError as error:
            _log.warning("%d workers at once could not be timed: %s", len(pool), last_line(str(error)))
            continue
        timings.append((pool, Timing(trace, epoch)))
    return sorted(timings, key=lambda pair: -rate(*pair))


def rate(pool: WorkerPool, timing: Timing) -> float:
    """Return the epochs per second of all workers of a pool together, given the timing of one worker."""
    return len(pool) / timing.epoch


def _time_all(pool: WorkerPool, job: TimingJob) -> list[Timing]:
    """The timing of each worker of the pool while all are busy."""

    def time_one(job: TimingJob) -> Timing:
        with pool.worker() as worker:  # handed out in turn, so that each gets one
            return worker.run_timing(job)

    with ThreadPoolExecutor(len(pool)) as threads:
        return list(threads.map(time_one, [job] * len(pool)))


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
