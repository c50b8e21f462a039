"""Pool of the worker processes of a session."""

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
_MEMORY_SHARE: Final = 0.8  # share of the machine's memory for all workers together


def worker_resources(out: Path, workers: int | None, gpus: tuple[Gpu, ...]) -> list[WorkerResources]:
    """Divide CPU threads, GPUs and main memory of the machine among workers.

    Args:
        out: run folder, in which `worker.log` takes TensorFlow's messages.
        workers: number of workers, at least 1; None: one per GPU, or one if there are no GPUs.
        gpus: GPUs that TensorFlow may use.

    Returns:
        The resources of each worker.
    """
    shares = share_devices(workers, gpus)
    each = round(_MEMORY_SHARE * memory() / len(shares))
    return [WorkerResources(threads=threads, gpu=gpu, log=out / "worker.log", memory=each) for gpu, threads in shares]


class WorkerProcessPool:
    """Pool of worker processes, implementing `search.workers.interfaces.WorkerPool`.

    Args:
        resources: threads, GPU and memory of each worker.
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
        """Device and versions of the first worker that has loaded TensorFlow; None before that."""
        return next((worker.ready for worker in self._workers if worker.ready is not None), None)

    def spawn(self) -> None:
        """Start all processes without waiting until they are ready.

        Raises:
            WorkerError: the system can't start another process.
        """
        for worker in self._workers:
            worker.spawn()

    def start(self) -> None:
        """Start all processes and wait until they have loaded TensorFlow.

        Raises:
            Stopped: `should_stop` returned True.
            WorkerError: a process can't be started.
        """
        for worker in self._workers:
            worker.start()

    def set_data(self, data: TrainingData) -> None:
        """Set the images of all further fits."""
        for worker in self._workers:
            worker.set_data(data)

    @contextmanager
    def worker(self) -> Iterator[WorkerProcess]:
        """Reserve a free worker for a `with` block, waiting until there is one."""
        worker = self._free.get()
        try:
            yield worker
        finally:
            self._free.put(worker)

    def close(self) -> None:
        """Ask all processes to end, and kill those that are still running after one second."""
        try:
            for worker in self._workers:
                worker.send_quit()
            end = time.monotonic() + _QUIT_SECONDS
            for worker in self._workers:
                worker.join(max(0.0, end - time.monotonic()))
        finally:
            for worker in self._workers:
                worker.kill()
