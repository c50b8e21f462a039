"""One worker with all threads of the CPU, or several that share them? Measured, as it depends on machine and images.

Small networks leave most of a second thread idle, and a network is traced by one thread alone; large ones gain by all.
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
"""Workers that are tried at once: the more there are, the less each configuration is chosen by those before it."""

WORKER_BYTES: Final = 1_500_000_000
"""Memory that a worker may come to need: TensorFlow, eight networks, the images of a batch."""

PRETRAINED_BYTES: Final = 3_500_000_000
"""The same where pretrained networks may be trained, on larger images; 3.4 GB were seen at 128 pixels."""

_MANY: Final = 8  # from which on a number between one and all is measured too
_FACT: Final = "workers"
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class WorkerCount:
    """How many workers were found to train most, on a machine with so many cores."""

    cores: int
    chosen: int
    rates: Mapping[str, float]  # epochs a second of all workers together, by their number

    @property
    def sentence(self) -> str:
        """What was measured and chosen, for people.

        >>> Arrangement(2, 2, {"1": 20.0, "2": 30.0}).sentence
        'Epochs a second: 20.0 with 1 worker, 30.0 with 2 workers; 2 chosen.'
        """
        told = [f"{rate:.3g} with {count} worker{'s' * (count != '1')}" for count, rate in self.rates.items()]
        return f"Epochs a second: {', '.join(told)}; {self.chosen} chosen."


def candidates(cores: int, memory: int, trials: int | None = None, each: int = WORKER_BYTES) -> tuple[int, ...]:
    """Numbers of workers worth measuring on a CPU: one, as many as cores, memory and trials to do bear, and between.

    `each` is the memory that a worker may need.

    >>> candidates(cores=8, memory=64_000_000_000), candidates(cores=1, memory=64_000_000_000)
    ((1, 3, 8), (1,))
    """
    in_memory = memory // each - 1  # while they are compared there is one more
    most = max(1, min(cores, in_memory, MOST, cores if trials is None else trials))
    between = round(math.sqrt(most)) if most >= _MANY and most + math.isqrt(most) < in_memory else 1
    return tuple(sorted({1, between, most}))


def load_worker_count(ledger: Ledger, each: int = WORKER_BYTES) -> WorkerCount | None:
    """What an earlier session of the study found on such a machine: as many cores, memory enough. None: nothing."""
    stored: dict[str, Any] | None = ledger.own_fact(_FACT)
    if stored is None or stored["cores"] != resources.cores():
        return None
    found = WorkerCount(**stored)
    return found if found.chosen <= max(candidates(resources.cores(), resources.memory(), each=each)) else None


def save_worker_count(ledger: Ledger, arrangement: WorkerCount) -> None:
    """For later sessions of the study: fits of one worker repeat only with as many threads."""
    ledger.set_own_fact(_FACT, asdict(arrangement))


def time_pools(pools: Sequence[WorkerPool], pricing: TimingJob, seconds: float) -> list[tuple[WorkerPool, Timing]]:
    """Time the pools one after the other, each with all its workers at once.

    Args:
        pools: one for each number of workers.
        pricing: the configuration to time.
        seconds: for which each pool trains, at least one epoch.

    Returns:
        Pools and what the configuration costs in them, the one that trains most epochs a second first. A pool whose
        workers fault is missing: its number of workers is too much for this machine, or the configuration is.

    Raises:
        Stopped: the user asked for the end.
    """
    found = []
    for pool in pools:
        try:
            trace = _mean([one.trace for one in _all_at(pool, pricing)])
            epoch = _mean([one.epoch for one in _all_at(pool, replace(pricing, seconds=seconds))])
        except WorkerError as error:
            _log.warning("With %d at once, workers could not be timed: %s", len(pool), last_line(str(error)))
            continue
        found.append((pool, Timing(trace, epoch)))
    return sorted(found, key=lambda pair: -rate(*pair))


def rate(pool: WorkerPool, priced: Timing) -> float:
    """Epochs a second of all its workers together."""
    return len(pool) / priced.epoch


def _all_at(pool: WorkerPool, pricing: TimingJob) -> list[Timing]:
    """What each worker of the pool says while all are at it."""

    def one(pricing: TimingJob) -> Timing:
        with pool.worker() as worker:  # handed out in turn, so that each gets one
            return worker.run_timing(pricing)

    with ThreadPoolExecutor(len(pool)) as threads:
        return list(threads.map(one, [pricing] * len(pool)))


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
