"""The search itself: trials until the budget is used up or further ones bring nothing."""

from __future__ import annotations

import itertools
import logging
import threading
import warnings
from dataclasses import replace
from functools import partial
from typing import Final

from optuna.trial import FrozenTrial

from search.events import EarlierProgress
from search.fits.context import Context
from search.optimize import enqueue
from search.optimize.early_stopping import FinishedTrials
from search.optimize.racing_pruner import RacingPruner
from search.optimize.trial import TrialRunner
from search.storage.ask_tell import optimize
from search.storage.load import read_trials
from search.storage.trial_attributes import count_done, is_used_up

_POLL_SECONDS: Final = 2.0

_log = logging.getLogger(__name__)


def run_trials(context: Context) -> bool:
    """Run trials until the budget is used up or further ones bring no progress; interrupted trials come first.

    Returns:
        Whether the search is over, so that more time would not bring more trials.

    Raises:
        TooManyFailures: trials failed one after the other.
    """
    request, setup, study, clock = context.request, context.setup, context.opened.study, context.clock
    budget = request.budget
    space = context.design.space
    queue = _queue(context)
    if interrupted := queue.resume():
        _log.info("Continuing %d interrupted trial(s).", interrupted)
    finished = FinishedTrials(setup, read_trials(context.ledger, study))

    reading = threading.Lock()

    def catch_up() -> None:
        """Take in the trials that other hosts have finished."""
        if context.opened.is_shared:
            context.hosts.record()
            with reading:  # so that no trial of another host is taken in twice
                for trial in read_trials(context.ledger, study, but=finished.numbers):
                    context.listener.trial_finished(trial, finished.add(trial), finished.best_score)

    clock.reserve = lambda: context.reserves.after_search(finished.best_trial())
    done = count_done(study)
    shown = setup.plan
    if budget.until_no_progress:
        shown = replace(shown, notes=(*shown.notes, "It also ends when further trials bring no more progress."))
    context.listener.planned(
        shown, budget.trials, clock.left, EarlierProgress(done, finished.best_score, finished.best_trial())
    )

    def is_enough() -> bool:
        return budget.until_no_progress and finished.no_more_progress()

    def is_over() -> bool:
        return is_used_up(study, budget.trials) or is_enough()

    if is_over() or clock.phase_over():
        return is_over()
    queue.refill(len(context.pool))

    stop, begun = threading.Event(), itertools.count()  # trials of this session
    left = None if budget.trials is None or context.opened.is_shared else budget.trials - done

    def may_begin_trial() -> bool:
        return not stop.is_set() and (left is None or next(begun) < left)

    def after_trial() -> None:
        if clock.phase_over():
            stop.set()
            return
        queue.refill(len(context.pool))
        if is_enough():
            _log.info("Further trials bring no progress: the search ends before its budget.")
            stop.set()

    context.listener.stage("Searching")
    runner = TrialRunner(
        setup, space, context.ledger, context.pool, queue, finished, context.listener, stop, catch_up=catch_up
    )

    def on_told(trial: FrozenTrial) -> None:
        """Save the pruner reading the whole study for each trial; ends of other hosts' trials it has to read."""
        if isinstance(study.pruner, RacingPruner) and not context.opened.is_shared:
            study.pruner.observe(study, trial)

    def search() -> None:
        stop.clear()
        optimize(
            study,
            context.opened.storage,
            runner,
            go_on=may_begin_trial,
            workers=len(context.pool),
            after_trial=after_trial,
            on_lost=partial(enqueue.requeue_lost, study),
            on_told=on_told,
        )

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Fixed parameter", category=UserWarning)
        search()
        while context.opened.is_shared and not (clock.phase_over() or is_over()):
            clock.stop_requested.wait(_POLL_SECONDS)  # other hosts run the last trials, and one of them may be lost
            if queue.resume() or queue.has_waiting() or queue.has_free_places():
                search()
            catch_up()
    return is_over()


def _queue(context: Context) -> enqueue.TrialQueue:
    study, storage, space = context.opened.study, context.opened.storage, context.design.space
    first = context.design.starts
    if context.opened.is_shared:
        return enqueue.SharedTrialQueue(study, storage, space, first, context.request.budget.trials)
    return enqueue.TrialQueue(study, storage, space, first)
