"""Batches of tasks, run by one host's workers or by several hosts, some of which are lost."""

from __future__ import annotations

import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from search.fits.executor import LocalExecutor, SharedExecutor, best_split, longest_queue
from search.storage.database import StudyStorage, open_storage
from search.storage.hosts import HostRegistry
from search.storage.ledger import Ledger
from search.workers.errors import Stopped
from tests.stand_ins import FakePool, memory


@pytest.fixture
def storage(tmp_path: Path) -> StudyStorage:
    return open_storage(tmp_path)  # which lets no two threads take one trial


class Work:
    """What stands for trainings and the ledger: a task takes its time, and once it is done costs nothing more."""

    def __init__(self) -> None:
        self.done: Counter[str] = Counter()
        self.seen: Counter[str] = Counter()
        self.lock = threading.Lock()

    def __call__(self, worker: object, task: str) -> None:
        with self.lock:
            self.seen[task] += 1
            is_done = bool(self.done[task])
        if not is_done:
            time.sleep(0.03)
            with self.lock:
                self.done[task] += 1


def test_all_tasks_are_run_by_one_host() -> None:
    work = Work()
    LocalExecutor(FakePool(workers=2)).run("batch", list("abcde"), work)
    assert work.done == Counter("abcde")


def executor(storage: StudyStorage, stop: threading.Event | None = None) -> SharedExecutor:
    hosts = HostRegistry(Ledger(memory(), "s"), 1)
    return SharedExecutor(
        FakePool(), storage, "s", hosts, (stop or threading.Event()).is_set, pause=lambda seconds: None
    )


@pytest.mark.study
def test_hosts_share_the_tasks_and_each_goes_through_all_of_them(storage: StudyStorage) -> None:
    work = Work()
    tasks = [f"task {n}" for n in range(12)]
    with ThreadPoolExecutor(3) as hosts:
        list(hosts.map(lambda _: executor(storage).run("batch", tasks, work), range(3)))
    assert set(work.done) == set(tasks)
    assert min(work.seen.values()) >= 3  # each host has gone through it: by itself, or found it done
    assert set(work.done.values()) == {1}


@pytest.mark.study
def test_a_host_that_stops_leaves_the_rest_to_others(storage: StudyStorage) -> None:
    work, stop = Work(), threading.Event()
    tasks = [f"task {n}" for n in range(6)]

    def until_the_third(worker: object, task: str) -> None:
        if len(work.done) == 3:
            stop.set()
            raise Stopped
        work(worker, task)

    with pytest.raises(Stopped):
        executor(storage, stop).run("batch", tasks, until_the_third)
    assert len(work.done) == 3
    executor(storage).run("batch", tasks, work)
    assert set(work.done) == set(tasks)


@pytest.mark.study
def test_what_is_done_is_gone_through_again_and_another_batch_is_another(storage: StudyStorage) -> None:
    work = Work()
    for _ in range(2):
        executor(storage).run("batch", ["a", "b"], work)
    assert work.seen == Counter({"a": 2, "b": 2})
    executor(storage).run("other", ["a"], work)
    assert work.seen["a"] == 3


def done_after(workers: int, groups: int, fits: int, tasks: int) -> int:
    """Fits' time until all is done, played through: each worker takes the next task as soon as it is free."""
    lengths = [len(range(first, fits, tasks)) for _ in range(groups) for first in range(tasks)]
    free = [0] * workers
    for length in lengths:
        free[free.index(min(free))] += length
    return max(free)


@pytest.mark.parametrize("workers", [1, 2, 3, 4, 7, 16])
@pytest.mark.parametrize("groups", [1, 2, 3, 5, 8])
def test_groups_are_split_so_that_no_worker_waits_long(workers: int, groups: int) -> None:
    fits = 5
    chosen = best_split(workers, groups, fits)
    soonest = min(done_after(workers, groups, fits, tasks) for tasks in range(1, fits + 1))
    assert done_after(workers, groups, fits, chosen) <= soonest + 0.25 * groups  # what more traces may cost
    assert done_after(workers, groups, fits, chosen) <= longest_queue(workers, groups, fits, chosen)
    if groups % workers == 0:
        assert chosen == 1, "every network is traced once"


@pytest.mark.study
@pytest.mark.parametrize("end", [TrialState.FAIL, TrialState.COMPLETE])
def test_a_host_that_was_silent_for_too_long_finds_its_task_taken_over(end: TrialState, storage: StudyStorage) -> None:
    """It lets it go, and has done it."""
    work, taken = Work(), []

    def asleep(worker: object, task: str) -> None:
        work(worker, task)
        if not taken:
            (batch,) = optuna.get_all_study_names(storage)
            (trial,) = optuna.load_study(study_name=batch, storage=storage).get_trials(states=(TrialState.RUNNING,))
            storage.set_trial_state_values(trial._trial_id, end, [1.0] if end is TrialState.COMPLETE else None)
            taken.append(task)

    executor(storage).run("batch", ["a", "b"], asleep)
    assert work.done == Counter("ab")
