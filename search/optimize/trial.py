"""One trial: fold by fold, each fit judged before the next one begins, and recorded before Optuna is told of it."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable
from typing import Final

import numpy as np
import optuna
from optuna.trial import TrialState as OptunaState

from search.events import Listener
from search.fit_checks import Check
from search.fits.runner import FAULTS, PROCESS_LOST, FitRunner, StudySetup
from search.optimize.early_stopping import FinishedTrials
from search.optimize.enqueue import SurplusTrial, TrialQueue
from search.optimize.racing_pruner import pruning_reason
from search.records import SEARCH, TOO_SLOW, Fit, Trial, TrialState, Verdict
from search.selection import scores
from search.storage.ask_tell import TrialEnd
from search.storage.ledger import Ledger
from search.storage.trial_attributes import CONFIGURATION, EVIDENCE, REASON, SECONDS, START, STATE, deadly_fold
from search.training.job import FitSpec
from search.workers.errors import Stopped
from search.workers.interfaces import Worker, WorkerPool
from spaces.config import Configuration
from spaces.space import Space

_log = logging.getLogger(__name__)


_FAULTS: Final = frozenset({*FAULTS.values(), PROCESS_LOST})
"""Reasons of failures in which both the configuration and the machine may have a part: something died or hung."""

_FAULT: Final = 0.25
"""Failures that one of these counts as."""


class TooManyFailures(Exception):
    """Trials failed one after the other: a bug or a broken machine, so that the search can't go on."""


class TrialRunner:
    """The objective of the search, for `search.storage.ask_tell.optimize`.

    Args:
        setup: what all fits share.
        space: where configurations come from.
        ledger: where fits are recorded.
        pool: of workers that train them.
        queue: gives each trial its place.
        finished: trials so far.
        listener: told of trials, fits and checks.
        stop: set when no further trials are to begin: the search is to end, or enough have begun.
        max_failures: trials that may fail in a row.
        catch_up: called before each trial, to take in what other hosts have finished.
    """

    def __init__(
        self,
        setup: StudySetup,
        space: Space,
        ledger: Ledger,
        pool: WorkerPool,
        queue: TrialQueue,
        finished: FinishedTrials,
        listener: Listener,
        stop: threading.Event,
        max_failures: int = 5,
        catch_up: Callable[[], None] = lambda: None,
    ) -> None:
        self._catch_up = catch_up
        self._setup, self._space, self._pool = setup, space, pool
        self._fitter = FitRunner(setup, ledger)
        self._queue, self._finished, self._listener, self._stop = queue, finished, listener, stop
        self._max_failures = max_failures
        self._failures_left = float(max_failures)
        self._lock = threading.Lock()

    def __call__(self, trial: optuna.Trial) -> TrialEnd:
        """Run the trial's fits.

        Returns:
            COMPLETE with the pooled score; PRUNED where the trial collapsed, was raced out, or killed its worker (the
            reason stands in the user attributes); FAIL where a fit failed for another reason, where the search ends
            in the middle of the trial, or where the trial is surplus.

        Raises:
            TooManyFailures: trials failed one after the other.
        """
        self._catch_up()
        configuration = self._space.sample(trial)
        trial.set_user_attr(CONFIGURATION, configuration.as_dict())  # before the place: a trial with a place has both
        try:
            number = self._queue.place(trial)
        except SurplusTrial as surplus:
            if surplus.is_enough:
                self._stop.set()
            return TrialEnd(OptunaState.FAIL)
        self._listener.trial_started(number, configuration, len(self._setup.folds))
        started = time.monotonic()
        run = _Run(self, trial, number, configuration)
        try:
            with self._pool.worker() as worker:
                state, reason = run.judge(worker)
        except Stopped:  # fits that are done are recorded
            self._stop.set()
            return TrialEnd(OptunaState.FAIL)
        record = Trial(
            number=number,
            state=state,
            configuration=configuration,
            fits=tuple(run.fits),
            reason=reason,
            seconds=time.monotonic() - started,
        )
        trial.set_user_attr(EVIDENCE, run.evidence())
        trial.set_user_attr(SECONDS, record.seconds)
        if reason is not None:
            trial.set_user_attr(REASON, reason)
        trial.set_user_attr(STATE, state.value)  # last: a trial with a state has all the others
        pooled = self._finished.add(record)
        _log.info("trial %d %s, pooled %s, reason %s, %s", number, state, pooled, reason, configuration.canonical())
        self._listener.trial_finished(record, pooled, self._finished.best_score)
        if state is TrialState.FAILED:
            with self._lock:
                self._failures_left -= _FAULT if reason in _FAULTS else 1
                too_many = self._failures_left <= 0
            if too_many:
                raise TooManyFailures(f"{self._max_failures} trials failed in a row, the last with: {reason}")
            # From what is told as PRUNED the sampler learns to keep away; what is told as FAIL it does not see.
            return TrialEnd(OptunaState.PRUNED if reason in _FAULTS else OptunaState.FAIL)
        with self._lock:
            self._failures_left = float(self._max_failures)
        if pooled is None:
            return TrialEnd(OptunaState.PRUNED)
        return TrialEnd(OptunaState.COMPLETE, pooled if math.isfinite(pooled) else self._setup.chance)


class _Run:
    """The fits of one trial."""

    def __init__(self, runner: TrialRunner, trial: optuna.Trial, number: int, configuration: Configuration) -> None:
        self._runner, self._setup = runner, runner._setup
        self._trial, self._number, self._configuration = trial, number, configuration
        self._protection = runner._finished.protection()
        self._is_start = START in trial.user_attrs  # start configurations are trained to their end
        self._deadly = deadly_fold(trial)
        self.fits: list[Fit] = []

    def judge(self, worker: Worker) -> tuple[TrialState, str | None]:
        """Run fold after fold until all are judged or the trial ends early; returns its state and the reason."""
        done: list[float] = []
        for fold in range(len(self._setup.folds)):
            last = self._fold(worker, fold)
            if last.verdict is Verdict.FAILED:
                return TrialState.FAILED, last.reason
            score = float(np.mean([scores.fit_score(f, self._setup.chance) for f in self.fits if f.fold == fold]))
            done.append(score if math.isfinite(score) else self._setup.chance)
            self._trial.report(float(np.mean(done)), step=fold + 1)
            if last.verdict is Verdict.COLLAPSED:
                return TrialState.COLLAPSED, last.reason
            if last.verdict is Verdict.STOPPED:
                return TrialState.RACED, last.reason
            if self._trial.should_prune():
                return TrialState.RACED, pruning_reason(self._trial)
        return TrialState.COMPLETE, None

    def evidence(self) -> dict[str, float]:
        """The numbers behind the last fit's reason, with its fold (from 0) and epoch; empty if it has none."""
        last = self.fits[-1]
        return {"fold": last.fold, "epoch": last.epochs, **last.evidence} if last.reason else {}

    def _fold(self, worker: Worker, fold: int) -> Fit:
        split = self._setup.folds[fold]
        spec = FitSpec(
            trial=self._number,
            stage=SEARCH,
            configuration=self._configuration,
            train=split.train,
            val=split.val,
            fold=fold,
            bars=self._runner._finished.bars(self._configuration.family) if fold == 0 and not self._is_start else (),
        )
        evidence = self._runner._finished.too_slow(self._configuration) if fold == 0 else None
        if evidence is not None and not self._runner._fitter.is_recorded(spec):
            self._add(skipped := self._runner._fitter.record_skipped(spec, TOO_SLOW, evidence))
            return skipped
        if fold == self._deadly:
            self._add(lost := self._runner._fitter.record_failed(spec, PROCESS_LOST))
            return lost
        return self._runner._fitter.fold(worker, spec, self._protection, self._on_check(fold), self._add)[-1]

    def _add(self, fit: Fit) -> None:
        self.fits.append(fit)
        self._runner._listener.fit_finished(fit)

    def _on_check(self, fold: int) -> Callable[[Check], None]:
        epochs = self._setup.protocol.epochs
        return lambda check: self._runner._listener.check(self._number, fold, check, epochs)
