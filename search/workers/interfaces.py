"""Protocols of workers and their pool: all that the rest of the search needs of them. Tests bring their own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from search.fit_checks import Check
from search.records import FitOutcome
from search.training.job import FitJob
from search.workers.protocol import Timing, TimingJob, TrainingData, WorkerReady, WorkerResources, WorkerTask


class FitWorker(Protocol):
    """Runs fits."""

    def run(
        self, job: FitJob, on_check: Callable[[Check], None] = lambda check: None, *, alone: bool = False
    ) -> FitOutcome:
        """Run one fit.

        Args:
            job: the fit.
            on_check: called after each check of the fit.
            alone: run it while no other worker of the session has a fit.

        Raises:
            Stopped: the fit was ended because the search is to stop.
            WorkerError: it failed for a reason other than its configuration.
        """


class Worker(FitWorker, Protocol):
    """Runs everything that needs TensorFlow; `search.workers.client.WorkerProcess` is the real one.

    It is used by one thread at a time. All that runs something raises `Stopped` and `WorkerError` as `run` does.
    """

    @property
    def ready(self) -> WorkerReady | None:
        """Device and versions, as the worker reported them; None before it has loaded TensorFlow."""

    def start(self) -> None:
        """Wait until the worker has loaded TensorFlow; starts it if it is not running."""

    def set_data(self, data: TrainingData) -> None:
        """Train all further fits on these images."""

    def run_timing(self, job: TimingJob) -> Timing:
        """Time the epochs of a configuration."""

    def run_task(self, task: WorkerTask) -> Any:
        """Run a task in the worker and return what it returned."""


class WorkerPool(Protocol):
    """The workers of a session; `search.workers.pool.WorkerProcessPool` is the real one."""

    def __len__(self) -> int:
        """Number of workers."""

    @property
    def ready(self) -> WorkerReady | None:
        """Device and versions, as the first worker reported them; None before any has loaded TensorFlow."""

    def spawn(self) -> None:
        """Start all workers without waiting for them. Raises WorkerError."""

    def start(self) -> None:
        """Wait until all workers have loaded TensorFlow. Raises WorkerError, Stopped."""

    def set_data(self, data: TrainingData) -> None:
        """Train all further fits on these images."""

    def worker(self) -> AbstractContextManager[Worker]:
        """A free worker for the length of a `with` block; waits until there is one."""

    def close(self) -> None:
        """End all workers."""


MakePool = Callable[[Sequence[WorkerResources], Callable[[], bool]], WorkerPool]
"""Makes a pool from the resources of each worker and a function that returns True when fits are to stop."""
