"""A session of a search, from the request to the results."""

from __future__ import annotations

import logging
import shutil
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Final

from search.events import Listener
from search.fits.context import Context, OpenStudy
from search.fits.executor import Executor, LocalExecutor, SharedExecutor
from search.optimize.loop import run_trials
from search.optimize.trial import TooManyFailures
from search.request import SearchRequest, refuse_overlapping_folders, weight_files
from search.schedule.budget import Clock, ReservedTime, ablation_seconds
from search.selection.analyse import analyse
from search.selection.results import Results
from search.selection.shortlist import REPEATS, shortlist
from search.session import planning
from search.session.features import make_features
from search.session.setup import StartCancelled, open_session
from search.session.worker_pools import WorkerPools
from search.stages.pipeline import run_stages
from search.storage.database import close, explain_write_errors
from search.storage.hosts import HostRegistry
from search.storage.load import read_study
from search.storage.run_folder import FolderLock, lock_folder
from search.workers import devices
from search.workers.errors import Stopped
from search.workers.interfaces import MakePool, WorkerPool
from search.workers.pool import WorkerProcessPool
from search.workers.protocol import Timing, TrainingData

_FEATURES_SHARE: Final = 0.1
"""Share of the time after which no further backbone's features are made ahead of the trials. Chosen."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SessionResult:
    """The results of a session, and whether another one is needed.

    Attributes:
        results: the study's results from all sessions.
        is_last: whether another session would have nothing to do; false if the session ended before the search did.
        has_trained: whether this session made any fits.
    """

    results: Results
    is_last: bool
    has_trained: bool


class SearchFailed(Exception):
    """Raised if a bug or a broken machine ended the search; `results` are the results so far."""

    def __init__(self, reason: str, results: Results) -> None:
        super().__init__(reason)
        self.results = results


def search(
    request: SearchRequest,
    listener: Listener,
    clock: Clock,
    make_pool: MakePool = WorkerProcessPool,
    hold: FolderLock | None = None,
) -> SessionResult:
    """Start or continue the study in `request.out` until its budget is used up or the clock ends the session.

    Args:
        request: the user's request.
        listener: notified of stages, trials and progress.
        clock: says when each part of the session has to end.
        make_pool: creates a worker pool from the resources of its workers and a function that tells fits to stop.
        hold: the lock of the run folder, if the caller holds it; the caller must have called
            `refuse_overlapping_folders`. None: both are done here.

    Raises:
        UserError: the request can't be fulfilled; an existing study is unchanged.
        StartCancelled: the user stopped the session before there were any results.
        SearchFailed: too many trials failed in a row; the exception has the results so far.
    """
    if hold is None:
        refuse_overlapping_folders(request)
    with lock_folder(request.out, request.storage) if hold is None else nullcontext(hold) as held:
        gpus = devices.gpus()
        pools = WorkerPools(request, gpus, make_pool, clock.phase_over)
        opened: OpenStudy | None = None
        try:
            with explain_write_errors(request.out, request.storage):
                opened = open_session(request, listener, clock, pools)
                held.keep()
                opened.ledger.on_write = lambda: opened.ledger.set_own_fact("seconds", clock.seconds)
                budget = replace(request.budget, seconds=clock.total)
                request = replace(opened.request, budget=budget)
                return _run(request, opened, pools, listener, clock)
        finally:
            pools.close()
            if opened is not None:
                close(opened.storage)


def check_start(request: SearchRequest, listener: Listener, clock: Clock, hold: FolderLock) -> None:
    """Read the images and check the request ahead of the working hours, without any training.

    Args:
        request: the user's request.
        listener: notified of stages and progress.
        clock: says whether the user has stopped the session.
        hold: the lock of the run folder.

    Raises:
        UserError: the request can't be fulfilled.
        StartCancelled: the user stopped the session.
    """
    pools = WorkerPools(request, devices.gpus(), WorkerProcessPool, clock.phase_over)
    with explain_write_errors(request.out, request.storage):
        opened = open_session(request, listener, clock, pools, will_train=False)
        close(opened.storage)
    hold.keep()


def _run(
    request: SearchRequest, opened: OpenStudy, pools: WorkerPools, listener: Listener, clock: Clock
) -> SessionResult:
    """Prepare, search, confirm and explain; however it ends, the seconds are stored."""
    failure: TooManyFailures | None = None
    context: Context | None = None
    is_over = False
    try:
        try:
            context = _prepare(request, opened, pools, listener, clock)
            is_over = run_trials(context)
        except Stopped:  # before the first trial
            if planning.stored_plan(opened.ledger) is None:
                if clock.stop_requested.is_set():
                    raise StartCancelled from None
                planning.store_empty_plan(request, opened.images, opened.ledger)
        except TooManyFailures as error:
            failure = error
            _log.error("%s", error)
        listener.stage("Ranking")
        if context is not None and failure is None:
            results = run_stages(context.results(draft=True), context)
        else:
            results = analyse(read_study(opened.ledger, opened.study))
    finally:
        opened.ledger.set_own_fact("seconds", clock.seconds)
    results = replace(results, study=replace(results.study, seconds=clock.seconds))
    if failure is not None:
        raise SearchFailed(str(failure), results) from failure
    has_trained = opened.ledger.written > 0
    is_done = is_over and (_is_confirmed(results) or not (has_trained or clock.phase_over()))
    if is_done and not clock.stop_requested.is_set():
        shutil.rmtree(request.out / planning.CHECKPOINTS, ignore_errors=True)
    return SessionResult(results, not clock.stop_requested.is_set() and (is_done or clock.is_the_last), has_trained)


def _is_confirmed(results: Results) -> bool:
    """Whether the current finalists have all their fits."""
    confirmation, finalists = results.study.confirmation, shortlist(results.ranking)
    if confirmation is None or not finalists:
        return not finalists
    is_current = confirmation.finalists == tuple(finalist.trial.configuration.hash for finalist in finalists)
    is_complete = confirmation.repeats >= REPEATS or set(confirmation.dropped) == set(confirmation.finalists)
    return is_current and is_complete


def _prepare(
    request: SearchRequest, opened: OpenStudy, pools: WorkerPools, listener: Listener, clock: Clock
) -> Context:
    """Start the workers and settle what all fits share."""
    images, ledger, timed = opened.images, opened.ledger, request.budget.seconds is not None
    if not opened.used_up:
        listener.stage("Starting TensorFlow in its own process")
        pools.start(ledger)
    precision = devices.precision(pools.gpus[0] if pools.gpus else None)
    protocol = planning.study_protocol(request, images, ledger, precision)
    pools.set_data(TrainingData.of(images, request.metric, weight_files(request.weights)))
    timing = None
    if not opened.used_up and (timed or pools.is_undecided):
        listener.stage("Timing the first epochs")
        job, epoch_ratio = planning.timing_job(request, images, protocol)
        timing = pools.measure(ledger, job, epoch_ratio)
    set_aside = ablation_seconds(request.budget.seconds, request.starts, None)
    inputs = planning.PlanInputs(
        protocol=protocol,
        timing=timing or Timing(0.0, 0.0),
        workers=len(pools.pool),
        seconds=None if clock.left is None else clock.left - set_aside,
        usual_seconds=None if clock.usually_left is None else clock.usually_left - set_aside,
        test=opened.test is not None,
        notes=() if pools.measured is None else (pools.measured.sentence,),
    )
    setup, design = planning.make_setup(request, images, opened.design, inputs, ledger, listener)
    reserves = ReservedTime(
        request.budget.seconds,
        request.starts,
        setup.plan,
        test=opened.test is not None,
        restart_seconds=lambda: pools.restart_seconds,
    )
    if not opened.used_up:
        seconds = None if clock.left is None else _FEATURES_SHARE * clock.left
        make_features(design.starts, setup.protocol, len(images.labels), pools.pool, listener, seconds)
    hosts = HostRegistry(ledger, len(pools.pool))
    return Context(
        request=request,
        opened=opened,
        setup=setup,
        design=design,
        pool=pools.pool,
        executor=_executor(opened, pools.pool, hosts, clock),
        hosts=hosts,
        clock=clock,
        listener=listener,
        reserves=reserves,
    )


def _executor(opened: OpenStudy, pool: WorkerPool, hosts: HostRegistry, clock: Clock) -> Executor:
    """The executor of what follows the search: this host, or all hosts that work on the study."""
    if not opened.is_shared:
        return LocalExecutor(pool)
    return SharedExecutor(pool, opened.storage, opened.study.study_name, hosts, clock.phase_over)
