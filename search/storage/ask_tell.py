"""Optuna's `ask` and `tell` in the threads of a host's workers, with heartbeats where several hosts share the study.

`Study.optimize` does nearly the same. But it raises where another host ended a trial, drops some of the errors of its
threads, and can be stopped from inside a trial only.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from search.background import beside
from search.storage.server import ServerStorage

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TrialEnd:
    """The end of a trial, as Optuna is told."""

    state: TrialState  # COMPLETE, PRUNED or FAIL
    value: float | None = None  # the objective's, of a COMPLETE trial only


Objective = Callable[[optuna.Trial], TrialEnd]
OnLost = Callable[[FrozenTrial], None]
"""Called with a trial whose host was lost, after it was told to have failed."""


def optimize(
    study: optuna.Study,
    storage: BaseStorage,
    objective: Objective,
    *,
    go_on: Callable[[], bool],
    workers: int = 1,
    after_trial: Callable[[], None] = lambda: None,
    on_lost: OnLost = lambda trial: None,
    on_told: Callable[[FrozenTrial], None] = lambda trial: None,
) -> None:
    """Run trials in one thread a worker for as long as `go_on()`; with one worker, in the calling thread.

    Args:
        study: to ask for trials.
        storage: the study's.
        objective: runs a trial. What it raises is told to Optuna as FAIL, ends the optimization, and is raised.
        go_on: asked before each trial.
        workers: trials at a time.
        after_trial: called after each trial whose end was told.
        on_lost: called with trials of other hosts that were lost.
        on_told: called with each trial whose end was told.

    Raises:
        Exception: the first one that `objective` or `after_trial` raised, once the trials that run have ended.
    """
    broken = threading.Event()

    def work() -> None:
        try:
            while not broken.is_set() and go_on():
                _run_trial(study, storage, objective, on_lost, on_told)
                after_trial()
        except BaseException:
            broken.set()
            raise

    if workers == 1:  # where Ctrl-C arrives
        work()
        return
    with ThreadPoolExecutor(workers) as threads:
        for ended in as_completed([threads.submit(work) for _ in range(workers)]):
            ended.result()


def fail_stale_trials(study: optuna.Study, storage: BaseStorage) -> list[FrozenTrial]:
    """Tell Optuna that the trials of lost hosts have failed, and return them; none where the study is not shared."""
    if not isinstance(storage, ServerStorage):
        return []
    failed = []
    for trial_id in storage.stale_trials(study.study_name):
        with contextlib.suppress(UpdateFinishedTrialError):  # another host was quicker
            if storage.set_trial_state_values(trial_id, TrialState.FAIL):
                failed.append(storage.get_trial(trial_id))
    return failed


def _run_trial(
    study: optuna.Study,
    storage: BaseStorage,
    objective: Objective,
    on_lost: OnLost,
    on_told: Callable[[FrozenTrial], None],
) -> None:
    for lost in fail_stale_trials(study, storage):
        on_lost(lost)
    trial = study.ask()
    try:
        with _heartbeats(storage, trial):
            end = objective(trial)
    except UpdateFinishedTrialError:
        _note_taken_over(trial)
        return
    except (Exception, KeyboardInterrupt):
        _tell(study, trial, TrialEnd(TrialState.FAIL))
        raise
    if (told := _tell(study, trial, end)) is not None:
        on_told(told)


def _tell(study: optuna.Study, trial: optuna.Trial, end: TrialEnd) -> FrozenTrial | None:
    """Tell a trial's end, unless it has one: another host took this one for lost, and has gone on with its trial.

    Returns:
        The trial; None if its end was not told.
    """
    told: FrozenTrial | None = None
    with contextlib.suppress(UpdateFinishedTrialError):  # between Optuna's look at the trial and its writing
        told = study.tell(trial, end.value, end.state, skip_if_finished=True)
    if told is None or told.state != end.state:
        _note_taken_over(trial)
        return None
    return told


def _note_taken_over(trial: optuna.Trial) -> None:
    _log.warning(
        "Trial %d was taken over by another host, since this one had recorded no heartbeat for too long.", trial.number
    )


@contextmanager
def _heartbeats(storage: BaseStorage, trial: optuna.Trial) -> Iterator[None]:
    """Records inside the block, from a thread, that the trial's host is alive, where other hosts look at that."""
    if not isinstance(storage, ServerStorage):
        yield
        return

    def beat(over: threading.Event) -> None:
        while True:
            try:
                storage.record_heartbeat(trial._trial_id)
            except Exception:  # the trial's own next call says what is wrong
                _log.info("no heartbeat of trial %d could be recorded", trial.number, exc_info=True)
            if over.wait(storage.heartbeat_seconds):
                return

    with beside(beat):
        yield
