"""Batches of independent tasks, each some fits of one network, run by this host's workers or by those of all hosts.

On one host, each worker takes the next task. On several hosts, a task is an enqueued trial of a study of its own, so
that the heartbeats of the search serve here too: the task of a lost host is run by another one, which finds in the
ledger the fits that were done.
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
_TRACE: Final = 0.25  # of a fit: what tracing its network costs

Task = TypeVar("Task")


def best_split(workers: int, groups: int, fits: int) -> int:
    """Number of tasks into which each group of fits is split, so that all groups are done soonest.

    The fits of a group are of one network. Unsplit, it is traced once; split, each task's worker traces it anew.

    >>> [best_split(workers, groups, 5) for workers, groups in ((2, 1), (2, 2), (2, 3), (16, 1), (2, 8))]
    [2, 1, 5, 5, 1]

    Args:
        workers: tasks that run at a time.
        groups: of fits.
        fits: in each group, of about the same cost.
    """

    def cost(tasks: int) -> float:
        traces = -(-groups // workers) if tasks == 1 else groups
        return longest_queue(workers, groups, fits, tasks) + _TRACE * traces

    return min(range(1, fits + 1), key=cost)


def longest_queue(workers: int, groups: int, fits: int, tasks: int) -> int:
    """Number of fits that the busiest worker runs one after another.

    Args:
        workers: tasks that run at a time.
        groups: of fits.
        fits: in each group.
        tasks: into which each group is split.
    """
    return -(-groups * tasks // workers) * -(-fits // tasks)


class Executor(Protocol):
    """Runs batches of independent tasks."""

    @property
    def workers(self) -> int:
        """Number of workers that run a batch, on all hosts."""

    def split(self, groups: int, fits: int) -> int:
        """Number of tasks into which each of `groups` groups of `fits` fits of one network is best split."""

    def run(self, batch: str, tasks: Sequence[Task], run_task: Callable[[Worker, Task], None]) -> None:
        """Run all tasks of a batch.

        Args:
            batch: its name: the same for the same tasks, another one for others.
            tasks: independent of each other.
            run_task: runs a task with a worker. A task whose results are known must cost it nothing.

        Raises:
            Stopped: the time is over; what the tasks that were run recorded is kept.
        """


class LocalExecutor:
    """Runs batches by the workers of this host.

    Args:
        pool: of this host's workers.
    """

    def __init__(self, pool: WorkerPool) -> None:
        self._pool = pool

    @property
    def workers(self) -> int:
        """Number of this host's workers."""
        return len(self._pool)

    def split(self, groups: int, fits: int) -> int:
        """Number of tasks into which each group is split, so that no worker waits long for the others."""
        return best_split(self.workers, groups, fits)

    def run(self, batch: str, tasks: Sequence[Task], run_task: Callable[[Worker, Task], None]) -> None:
        """Run all tasks of a batch, by `Executor.run`; its name does not matter here."""

        def run_one(task: Task) -> None:
            with self._pool.worker() as worker:
                run_task(worker, task)

        with ThreadPoolExecutor(len(self._pool)) as threads:
            list(threads.map(run_one, tasks))


class SharedExecutor:
    """Runs batches by the workers of all hosts that have come to the same batch.

    Args:
        pool: of this host's workers.
        storage: that all hosts share.
        study: name of the search; the names of the batches' studies begin with it.
        hosts: counts the workers of all hosts.
        should_stop: asked between tasks.
        pause: waits so many seconds, for tests.
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
        """Split into single fits: all hosts, however many there are, must split alike."""
        return fits

    def run(self, batch: str, tasks: Sequence[Task], run_task: Callable[[Worker, Task], None]) -> None:
        """Run all tasks of a batch, by `Executor.run`.

        Tasks that other hosts have run are run here too at the end, and cost nothing: so this host has their results.
        """
        study = optuna.create_study(
            storage=self._storage,
            study_name=f"{self._study}/{hashlib.sha256(batch.encode()).hexdigest()[:16]}",
            load_if_exists=True,
        )
        begun: set[int] = set()  # tasks begun here
        done: set[int] = set()  # and done

        def objective(trial: optuna.Trial) -> TrialEnd:
            number = trial.user_attrs.get(_TASK)
            if number is None:  # another worker took the last task that was waiting
                return TrialEnd(TrialState.PRUNED)
            with self._lock:
                if number in done:  # the database did not learn of its end
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
        """Whether an earlier trial runs the task, or has run it; a trial of a lost host has failed."""
        others = study.get_trials(deepcopy=False, states=(TrialState.RUNNING, TrialState.COMPLETE))
        return any(other.user_attrs.get(_TASK) == task and other.number < trial.number for other in others)

    def _missing(self, study: optuna.Study, tasks: int) -> set[int]:
        """Numbers of the tasks that no host has run to its end."""
        done = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        return set(range(tasks)) - {trial.user_attrs.get(_TASK) for trial in done}

    def _enqueue(self, study: optuna.Study, missing: set[int]) -> None:
        """Enqueue the tasks that neither wait nor run. If two hosts enqueue the same one, the earlier trial runs it."""
        fail_stale_trials(study, self._storage)
        under_way = study.get_trials(deepcopy=False, states=(TrialState.WAITING, TrialState.RUNNING))
        for task in sorted(missing - {trial.user_attrs.get(_TASK) for trial in under_way}):
            study.enqueue_trial({}, user_attrs={_TASK: task})
