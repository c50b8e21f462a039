"""The worker processes of a session, handed out one at a time."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from search.resources import memory
from search.workers.client import WorkerProcess
from search.workers.devices import Gpu, share_devices
from search.workers.heartbeat import StallDetector
from search.workers.microbatching import MicrobatchMemory
from search.workers.protocol import TrainingData, WorkerReady, WorkerResources
from search.workers.read_write_lock import ReadWriteLock

_QUIT_SECONDS: Final = 1.0  # from QUIT to the kill
_MEMORY_SHARE: Final = 0.8  # of the machine's, for all workers together


def worker_resources(out: Path, workers: int | None, gpus: tuple[Gpu, ...]) -> list[WorkerResources]:
    """Divide the machine among workers.

    Args:
        out: run folder, for TensorFlow's own messages.
        workers: number of workers; None: one a GPU, or one without GPUs.
        gpus: GPUs that TensorFlow may use.
    """
    shares = share_devices(workers, gpus)
    each = round(_MEMORY_SHARE * memory() / len(shares))
    return [WorkerResources(threads=threads, gpu=gpu, log=out / "worker.log", memory=each) for gpu, threads in shares]


class WorkerProcessPool:
    """A few worker processes: the real `search.workers.interfaces.WorkerPool`.

    Args:
        resources: what each of the workers may use of the machine.
        should_stop: called about five times a second while a job runs; True ends the job.
    """

    def __init__(self, resources: Sequence[WorkerResources], should_stop: Callable[[], bool]) -> None:
        shared = StallDetector(), ReadWriteLock(), MicrobatchMemory()
        self._workers = [WorkerProcess(each, should_stop, *shared) for each in resources]
        self._free: queue.SimpleQueue[WorkerProcess] = queue.SimpleQueue()
        for worker in self._workers:
            self._free.put(worker)

    def __len__(self) -> int:
        return len(self._workers)

    @property
    def ready(self) -> WorkerReady | None:
        """Device and versions, as the first worker reported them; None before any has loaded TensorFlow."""
        return next((worker.ready for worker in self._workers if worker.ready is not None), None)

    def spawn(self) -> None:
        """Start all processes without waiting for them. Raises WorkerError."""
        for worker in self._workers:
            worker.spawn()

    def start(self) -> None:
        """Wait until all processes have loaded TensorFlow. Raises WorkerError, Stopped."""
        for worker in self._workers:
            worker.start()

    def set_data(self, data: TrainingData) -> None:
        """Train all further fits on these images."""
        for worker in self._workers:
            worker.set_data(data)

    @contextmanager
    def worker(self) -> Iterator[WorkerProcess]:
        """A free worker for the length of a `with` block; waits until there is one."""
        worker = self._free.get()
        try:
            yield worker
        finally:
            self._free.put(worker)

    def close(self) -> None:
        """End all processes: they have a second together, then they are killed."""
        try:
            for worker in self._workers:
                worker.send_quit()
            end = time.monotonic() + _QUIT_SECONDS
            for worker in self._workers:
                worker.join(max(0.0, end - time.monotonic()))
        finally:
            for worker in self._workers:
                worker.kill()
