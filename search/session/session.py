"""A session: from a request to the results, through every room of the house."""

from __future__ import annotations

import logging
import shutil
from contextlib import nullcontext
from dataclasses import dataclass, replace

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

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SessionResult:
    """What came of a session."""

    results: Results  # of the study, all sessions
    is_last: bool  # another one would find nothing to do: only the end of the working hours leaves something
    has_trained: bool  # fits were made


class SearchFailed(Exception):
    """The search could not go on because of a bug or a broken machine; what it left stands in `results`."""

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
    """Run or go on with the study in `request.out` until its budget is used up or the clock is told to end.

    Args:
        request: what to search.
        listener: told how it goes.
        clock: says when each part has to end.
        make_pool: makes the workers, from where each works and from who says that a fit must stop.
        hold: of the run folder, if the caller holds it already; it has then called `refuse_overlapping_folders`.

    Raises:
        UserError: the user can mend it; nothing that was there is lost.
        StartCancelled: the user ended it while the images were being read.
        SearchFailed: trials failed one after the other; carries the results.
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
                request = replace(request, budget=replace(request.budget, seconds=clock.total))
                return _run(request, opened, pools, listener, clock)
        finally:
            pools.close()
            if opened is not None:
                close(opened.storage)


def rehearse(request: SearchRequest, listener: Listener, clock: Clock, hold: FolderLock) -> None:
    """Do all that can be done before the hours of work: read the images, refuse what `search` would refuse.

    Raises:
        UserError: the user can mend it.
        StartCancelled: the user ended it.
    """
    pools = WorkerPools(request, devices.gpus(), WorkerProcessPool, clock.phase_over)
    with explain_write_errors(request.out, request.storage):
        opened = open_session(request, listener, clock, pools, rehearsal=True)
        close(opened.storage)
    hold.keep()


def _run(
    request: SearchRequest, opened: OpenStudy, pools: WorkerPools, listener: Listener, clock: Clock
) -> SessionResult:
    """Prepare, search, confirm and explain; whatever ends it, the time spent is kept."""
    broken: TooManyFailures | None = None
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
            broken = error
            _log.error("%s", error)
        listener.stage("Ranking")
        if context is not None and broken is None:
            results = run_stages(context.results(draft=True), context)
        else:
            results = analyse(read_study(opened.ledger, opened.study))
    finally:
        opened.ledger.set_own_fact("seconds", clock.seconds)
    results = replace(results, study=replace(results.study, seconds=clock.seconds))
    if broken is not None:
        raise SearchFailed(str(broken), results) from broken
    has_trained = opened.ledger.written > 0
    is_done = is_over and (_is_confirmed(results) or not (has_trained or clock.phase_over()))
    if is_done and not clock.stop_requested.is_set():
        shutil.rmtree(request.out / planning.CHECKPOINTS, ignore_errors=True)
    return SessionResult(results, not clock.stop_requested.is_set() and (is_done or clock.is_the_last), has_trained)


def _is_confirmed(results: Results) -> bool:
    """Whether more time would bring nothing more for the finalists."""
    known, best = results.study.confirmation, shortlist(results.ranking)
    if known is None or not best:
        return not best
    is_current = known.finalists == tuple(one.trial.configuration.hash for one in best)
    return is_current and (known.repeats >= REPEATS or set(known.dropped) == set(known.finalists))


def _prepare(
    request: SearchRequest, opened: OpenStudy, pools: WorkerPools, listener: Listener, clock: Clock
) -> Context:
    """Workers and what all fits share."""
    images, ledger, timed = opened.images, opened.ledger, request.budget.seconds is not None
    if not opened.used_up:  # TensorFlow takes its seconds to start
        listener.stage("Starting TensorFlow in its own process")
        pools.start(ledger)
    precision = devices.precision(pools.gpus[0] if pools.gpus else None)
    protocol = planning.study_protocol(request, images, ledger, precision)
    pools.set_data(TrainingData.of(images, request.metric, weight_files(request.weights)))
    timing = None
    if not opened.used_up and (timed or pools.undecided):
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
        notes=() if pools.found is None else (pools.found.sentence,),
    )
    terms, design = planning.make_setup(request, images, opened.design, inputs, ledger, listener)
    reserves = ReservedTime(
        request.budget.seconds,
        request.starts,
        terms.plan,
        test=opened.test is not None,
        restart_seconds=lambda: pools.restart_seconds,
    )
    hosts = HostRegistry(ledger, len(pools.pool))
    return Context(
        request=request,
        opened=opened,
        terms=terms,
        design=design,
        pool=pools.pool,
        executor=_executor(opened, pools.pool, hosts, clock),
        hosts=hosts,
        clock=clock,
        listener=listener,
        reserves=reserves,
    )


def _executor(opened: OpenStudy, pool: WorkerPool, hosts: HostRegistry, clock: Clock) -> Executor:
    """Who does what follows the search: this host, or all that work on the study."""
    if not opened.is_shared:
        return LocalExecutor(pool)
    return SharedExecutor(pool, opened.storage, opened.study.study_name, hosts, clock.phase_over)
