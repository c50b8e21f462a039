"""The workers of a session, handed out one at a time."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from search import resources
from search.workers.client import Worker
from search.workers.devices import Gpu, share_devices
from search.workers.microbatching import MicrobatchMemory
from search.workers.protocol import TrainingData, WorkerReady, WorkerResources
from search.workers.read_write_lock import ReadWriteLock
from search.workers.stall_detector import StallDetector

_FAREWELL_SECONDS: Final = 1.0  # from QUIT to the kill
_MEMORY_SHARE: Final = 0.8  # of the machine's, for all workers together: one that has grown beyond it is replaced


def worker_resources(out: Path, workers: int | None, gpus: tuple[Gpu, ...]) -> list[WorkerResources]:
    """One for each worker.

    Args:
        out: run folder, for TensorFlow's own messages.
        workers: how many, None for one a GPU, else one.
        gpus: to work on.
    """
    found = share_devices(workers, gpus)
    memory = round(_MEMORY_SHARE * resources.memory() / len(found))
    return [WorkerResources(threads=threads, gpu=gpu, log=out / "worker.log", memory=memory) for gpu, threads in found]


class WorkerPool:
    """A few workers, handed out one at a time."""

    def __init__(self, worker_resources: Sequence[WorkerResources], should_stop: Callable[[], bool]) -> None:
        silence, gate, room = StallDetector(), ReadWriteLock(), MicrobatchMemory()
        self._workers = [Worker(seat, should_stop, silence, gate, room) for seat in worker_resources]
        self._free: queue.SimpleQueue[Worker] = queue.SimpleQueue()
        for worker in self._workers:
            self._free.put(worker)

    def __len__(self) -> int:
        return len(self._workers)

    def begin(self) -> None:
        """Have all processes load TensorFlow, without waiting for them. Raises WorkerFault."""
        for worker in self._workers:
            worker.begin()

    def supply(self, material: TrainingData) -> None:
        """What all fits train on, from now on."""
        for worker in self._workers:
            worker.supply(material)

    @contextmanager
    def worker(self) -> Iterator[Worker]:
        """A worker for as long as the block lasts."""
        worker = self._free.get()
        try:
            yield worker
        finally:
            self._free.put(worker)

    @property
    def ready(self) -> WorkerReady | None:
        """What a worker told of its device and versions; None before the first is up."""
        return next((worker.ready for worker in self._workers if worker.ready is not None), None)

    def start(self) -> None:
        """Have all processes up. Raises WorkerFault, Stopped."""
        for worker in self._workers:
            worker.start()

    def close(self) -> None:
        """End all processes: they have a second together."""
        try:
            for worker in self._workers:
                worker.dismiss()
            end = time.monotonic() + _FAREWELL_SECONDS
            for worker in self._workers:
                worker.wait(max(0.0, end - time.monotonic()))
        finally:
            for worker in self._workers:
                worker.kill()


MakePool = Callable[[Sequence[WorkerResources], Callable[[], bool]], WorkerPool]
"""Makes the workers, from where each works and from who says that a fit must stop."""
