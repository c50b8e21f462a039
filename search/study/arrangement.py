"""One worker with all threads of the CPU, or several that share them? Measured, since it depends on machine and images.

Small networks leave most of a second thread idle, and a network is traced by one thread alone; large ones gain by all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, Final

from search import host
from search.study.ledger import Ledger
from search.study.pool import Pool
from search.study.worker import Priced, Pricing

MOST: Final = 16
"""Workers that are tried at once: the more there are, the less each configuration is chosen by those before it."""

WORKER_BYTES: Final = 1_500_000_000
"""Memory that a worker may come to need: TensorFlow, eight networks, the images of a batch."""

_FACT: Final = "workers"


@dataclass(frozen=True, slots=True)
class Arrangement:
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


def candidates(cores: int, memory: int) -> tuple[int, ...]:
    """Numbers of workers worth measuring on a CPU.

    >>> candidates(cores=8, memory=64_000_000_000), candidates(cores=1, memory=64_000_000_000)
    ((1, 8), (1,))
    """
    most = max(1, min(cores, memory // WORKER_BYTES, MOST))
    return (1,) if most == 1 else (1, most)


def kept(ledger: Ledger) -> Arrangement | None:
    """What an earlier session of the study found on a machine with as many cores; None if there was none."""
    stored: dict[str, Any] | None = ledger.fact(_FACT)
    return Arrangement(**stored) if stored is not None and stored["cores"] == host.cores() else None


def keep(ledger: Ledger, arrangement: Arrangement) -> None:
    """For later sessions of the study: fits of one worker repeat only with as many threads."""
    ledger.set_fact(_FACT, {"cores": arrangement.cores, "chosen": arrangement.chosen, "rates": dict(arrangement.rates)})


def arrange(pools: Sequence[Pool], pricing: Pricing, seconds: float) -> tuple[Arrangement, list[Priced]]:
    """Time all pools: they make their networks ready together, then each in turn trains with all its workers at once.

    Args:
        pools: one for each number of workers.
        pricing: the configuration to time.
        seconds: for which each pool trains.

    Returns:
        What was found, and what the configuration costs in each of the pools.

    Raises:
        WorkerFault, Stopped: as fits do.
    """
    with ThreadPoolExecutor(len(pools)) as threads:
        traces = list(threads.map(lambda pool: _mean([one.trace for one in _all_at(pool, pricing)]), pools))
    epochs = [_mean([one.epoch for one in _all_at(pool, replace(pricing, seconds=seconds))]) for pool in pools]
    rates = {len(pool): len(pool) / epoch for pool, epoch in zip(pools, epochs, strict=True)}
    chosen = max(rates, key=lambda count: rates[count])
    found = Arrangement(host.cores(), chosen, {str(count): rate for count, rate in rates.items()})
    return found, [Priced(trace, epoch) for trace, epoch in zip(traces, epochs, strict=True)]


def _all_at(pool: Pool, pricing: Pricing) -> list[Priced]:
    """What each worker of the pool says while all are at it."""

    def one(pricing: Pricing) -> Priced:
        with pool.worker() as worker:  # handed out in turn, so that each gets one
            return worker.price(pricing)

    with ThreadPoolExecutor(len(pool)) as threads:
        return list(threads.map(one, [pricing] * len(pool)))


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
