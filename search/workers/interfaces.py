"""Protocols of workers and worker pools, as the rest of the search uses them. Tests have their own implementations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from search.fit_checks import Check
from search.records import FitOutcome
from search.training.job import FitJob
from search.workers.protocol import (
    EmbeddingJob,
    Timing,
    TimingJob,
    TrainingData,
    WorkerReady,
    WorkerResources,
    WorkerTask,
)


class FitWorker(Protocol):
    """Runs single fits."""

    def run(
        self, job: FitJob, on_check: Callable[[Check], None] = lambda check: None, *, alone: bool = False
    ) -> FitOutcome:
        """Run one fit.

        Args:
            job: the fit to train.
            on_check: called with each check during training.
            alone: run the fit while no other worker of the session runs one.

        Raises:
            Stopped: the search was told to stop.
            WorkerError: the fit failed for a reason other than its configuration.
        """


class Worker(FitWorker, Protocol):
    """Runs everything that needs TensorFlow; `search.workers.client.WorkerProcess` is the implementation.

    Not thread-safe. `start`, `run_timing`, `embed` and `run_task` raise `Stopped` and `WorkerError` as `run` does.
    """

    @property
    def ready(self) -> WorkerReady | None:
        """Device and versions that the worker reported; None before it has loaded TensorFlow."""

    def start(self) -> None:
        """Start the worker if it is not running, and wait until it has loaded TensorFlow."""

    def set_data(self, data: TrainingData) -> None:
        """Set the images of all further fits."""

    def run_timing(self, job: TimingJob) -> Timing:
        """Measure the seconds of an epoch of a configuration."""

    def embed(self, job: EmbeddingJob) -> None:
        """Compute the features of a block of images, unless they are in the disk cache."""

    def run_task(self, task: WorkerTask) -> Any:
        """Run `task` in the worker and return its result, which must be picklable."""


class WorkerPool(Protocol):
    """The workers of a session; `search.workers.pool.WorkerProcessPool` is the implementation."""

    def __len__(self) -> int:
        """Number of workers."""

    @property
    def ready(self) -> WorkerReady | None:
        """Device and versions of the first worker that has loaded TensorFlow; None before that."""

    def spawn(self) -> None:
        """Start all workers without waiting until they are ready.

        Raises:
            WorkerError: the system can't start another process.
        """

    def start(self) -> None:
        """Start all workers and wait until they have loaded TensorFlow.

        Raises:
            Stopped: the search was told to stop.
            WorkerError: a worker can't be started.
        """

    def set_data(self, data: TrainingData) -> None:
        """Set the images of all further fits."""

    def worker(self) -> AbstractContextManager[Worker]:
        """Return a context manager that reserves a free worker, waiting until there is one."""

    def close(self) -> None:
        """End all workers."""


MakePool = Callable[[Sequence[WorkerResources], Callable[[], bool]], WorkerPool]
"""Makes a pool from the resources of each worker and a function that returns True when fits have to stop."""
