"""Execution of batches of independent tasks by this host's workers, or by the workers of all hosts.

A task is a few fits of one network. On one host, each free worker takes the next task. On several hosts, each batch has
an Optuna study of its own and each task is an enqueued trial of it, so Optuna's heartbeats tell when a host is lost:
another host then runs the task, and finds the finished fits in the ledger.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final, Protocol, TypeVar

import optuna
from optuna.trial import TrialState

from search.storage.ask_tell import TrialEnd, fail_stale_trials, optimize
from search.storage.hosts import HostRegistry
from search.workers.errors import Stopped
from search.workers.interfaces import Worker, WorkerPool

_TASK: Final = "part"  # attribute of a trial: the number of its task; databases hold it
_DONE: Final = TrialEnd(TrialState.COMPLETE, 1.0)
_POLL_SECONDS: Final = 2.0
_TRACE: Final = 0.25  # cost of tracing a network, in fits

Task = TypeVar("Task")


def best_split(workers: int, groups: int, fits: int) -> int:
    """Return the number of tasks to split each group of fits into, so that all groups are finished soonest.

    All fits of a group train the same network. A group that is one task traces it once; otherwise each task traces it
    again.

    >>> [best_split(workers, groups, 5) for workers, groups in ((2, 1), (2, 2), (2, 3), (16, 1), (2, 8))]
    [2, 1, 5, 5, 1]

    Args:
        workers: number of tasks that run at the same time, at least 1.
        groups: number of groups, at least 1.
        fits: number of fits in each group, at least 1; all take about the same time.

    Returns:
        1 to `fits`.
    """

    def cost(tasks: int) -> float:
        traces = -(-groups // workers) if tasks == 1 else groups
        return longest_queue(workers, groups, fits, tasks) + _TRACE * traces

    return min(range(1, fits + 1), key=cost)


def longest_queue(workers: int, groups: int, fits: int, tasks: int) -> int:
    """Return the number of fits that the busiest worker runs one after another.

    Args:
        workers: number of tasks that run at the same time.
        groups: number of groups of fits.
        fits: number of fits in each group.
        tasks: number of tasks that each group is split into.
    """
    return -(-groups * tasks // workers) * -(-fits // tasks)


class Executor(Protocol):
    """Runs batches of independent tasks."""

    @property
    def workers(self) -> int:
        """Number of workers that can run a batch, on all hosts together."""

    def split(self, groups: int, fits: int) -> int:
        """Return the number of tasks, 1 to `fits`, to split each of `groups` groups of `fits` fits into."""

    def run(self, batch: str, tasks: Sequence[Task], run_task: Callable[[Worker, Task], None]) -> None:
        """Run all tasks of a batch.

        Args:
            batch: name of the batch; every host must use the same name for the same list of tasks, and no other.
            tasks: tasks in an order that is the same on all hosts; none depends on another.
            run_task: runs one task on a worker and records its results. Must return at once if they are recorded.

        Raises:
            Stopped: the search was told to stop; results recorded so far are kept.
        """


class LocalExecutor:
    """Runs batches on the workers of this host.

    Args:
        pool: this host's workers.
    """

    def __init__(self, pool: WorkerPool) -> None:
        self._pool = pool

    @property
    def workers(self) -> int:
        """Number of this host's workers."""
        return len(self._pool)

    def split(self, groups: int, fits: int) -> int:
        """Return `best_split` for this host's workers."""
        return best_split(self.workers, groups, fits)

    def run(self, batch: str, tasks: Sequence[Task], run_task: Callable[[Worker, Task], None]) -> None:
        """Run all tasks of a batch; see `Executor.run`. The batch name is ignored."""

        def run_one(task: Task) -> None:
            with self._pool.worker() as worker:
                run_task(worker, task)

        with ThreadPoolExecutor(len(self._pool)) as threads:
            list(threads.map(run_one, tasks))


class SharedExecutor:
    """Runs batches on the workers of all hosts that have reached the same batch.

    Args:
        pool: this host's workers.
        storage: Optuna storage that all hosts share.
        study: name of the search's study; the study of each batch is named after it.
        hosts: registry of hosts, which counts their workers.
        should_stop: called between tasks; True stops the batch.
        pause: sleeps for the given number of seconds; tests replace it.
    """

    def __init__(
        self,
        pool: WorkerPool,
        storage: optuna.storages.BaseStorage,
        study: str,
        hosts: HostRegistry,
        should_stop: Callable[[], bool],
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._pool, self._storage, self._study = pool, storage, study
        self._hosts = hosts
        self._should_stop, self._pause = should_stop, pause
        self._lock = threading.Lock()

    @property
    def workers(self) -> int:
        """Number of workers on all hosts."""
        return self._hosts.count_workers()

    def split(self, groups: int, fits: int) -> int:
        """Return `fits`, one task for each fit: all hosts must split alike, and each may see other hosts."""
        return fits

    def run(self, batch: str, tasks: Sequence[Task], run_task: Callable[[Worker, Task], None]) -> None:
        """Run all tasks of a batch together with the other hosts; see `Executor.run`.

        Returns when every task is done on some host. Tasks that other hosts ran are passed to `run_task` here too at
        the end, so that this host reads their recorded results.
        """
        study = optuna.create_study(
            storage=self._storage,
            study_name=f"{self._study}/{hashlib.sha256(batch.encode()).hexdigest()[:16]}",
            load_if_exists=True,
        )
        begun: set[int] = set()  # tasks that this host has begun
        done: set[int] = set()  # tasks that this host has finished

        def objective(trial: optuna.Trial) -> TrialEnd:
            number = trial.user_attrs.get(_TASK)
            if number is None:  # another worker took the last waiting task
                return TrialEnd(TrialState.PRUNED)
            with self._lock:
                if number in done:  # the end of its trial was not saved
                    return _DONE
                if number in begun or self._is_twin(study, trial, number):  # two hosts enqueued it
                    return TrialEnd(TrialState.PRUNED)
                begun.add(number)
            self._hosts.record()
            try:
                with self._pool.worker() as worker:
                    run_task(worker, tasks[number])
            except BaseException:
                with self._lock:
                    begun.discard(number)
                raise
            with self._lock:
                done.add(number)
            return _DONE

        def go_on() -> bool:
            return not self._should_stop() and bool(study.get_trials(deepcopy=False, states=(TrialState.WAITING,)))

        while missing := self._missing(study, len(tasks)):
            if self._should_stop():
                raise Stopped
            self._enqueue(study, missing)
            optimize(study, self._storage, objective, go_on=go_on, workers=len(self._pool))
            if self._missing(study, len(tasks)):
                self._pause(_POLL_SECONDS)
        elsewhere = [task for number, task in enumerate(tasks) if number not in begun]
        LocalExecutor(self._pool).run(batch, elsewhere, run_task)

    @staticmethod
    def _is_twin(study: optuna.Study, trial: optuna.Trial, task: int) -> bool:
        """Whether an earlier trial of the same task is running or complete. Trials of lost hosts have failed."""
        others = study.get_trials(deepcopy=False, states=(TrialState.RUNNING, TrialState.COMPLETE))
        return any(other.user_attrs.get(_TASK) == task and other.number < trial.number for other in others)

    def _missing(self, study: optuna.Study, tasks: int) -> set[int]:
        """Numbers of the tasks that no host has finished."""
        done = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        return set(range(tasks)) - {trial.user_attrs.get(_TASK) for trial in done}

    def _enqueue(self, study: optuna.Study, missing: set[int]) -> None:
        """Enqueue the missing tasks that are neither waiting nor running; of two trials of a task the earlier runs."""
        fail_stale_trials(study, self._storage)
        under_way = study.get_trials(deepcopy=False, states=(TrialState.WAITING, TrialState.RUNNING))
        for task in sorted(missing - {trial.user_attrs.get(_TASK) for trial in under_way}):
            study.enqueue_trial({}, user_attrs={_TASK: task})
