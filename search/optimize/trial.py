"""One trial: fold by fold, each fit judged before the next begins and in the ledger before Optuna hears of it."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable
from typing import Final

import numpy as np
import optuna

from search.events import Listener
from search.fit_checks import Check
from search.fits.runner import FAULTS, PROCESS_LOST, FitRunner, FitSpec, StudySetup
from search.optimize.early_stopping import History
from search.optimize.enqueue import SurplusTrial, TrialQueue
from search.records import SEARCH, TOO_SLOW, Fit, Trial, TrialState, Verdict
from search.selection import scores
from search.storage.ledger import Ledger
from search.storage.trial_attributes import CONFIGURATION, EVIDENCE, REASON, SECONDS, START, STATE, deadly_fold
from search.workers.client import Worker
from search.workers.errors import Stopped
from search.workers.pool import WorkerPool
from spaces.config import Configuration
from spaces.space import Space

_log = logging.getLogger(__name__)


class Interrupted(Exception):
    """The search was told to end in the middle of a trial."""


class TrialFailed(Exception):
    """A fit failed twice: not the configuration's fault, so the trial is not ranked."""


ENDS: Final = (Interrupted, TrialFailed, SurplusTrial)
"""How a trial may end without a value, and the search go on."""


_FAULTS: Final = frozenset({*FAULTS.values(), PROCESS_LOST})
"""Reasons of failures in which both the configuration and the machine may have a part: something died or hung."""

_FAULT: Final = 0.25
"""Of a failure: what one of those counts."""


class TooManyFailures(Exception):
    """Trials fail one after the other: that is a bug or a broken machine, and no use going on."""


class TrialRunner:
    """Optuna's objective: `study.optimize(Objective(...), n_jobs=len(pool))`.

    Args:
        terms: what all fits share.
        space: where configurations come from.
        ledger: where fits are kept.
        pool: who trains them.
        queue: gives each trial its place.
        history: finished trials.
        listener: told of everything.
        max_failures: trials that may fail in a row.
        catch_up: called before each trial: what other hosts have finished.
    """

    def __init__(
        self,
        terms: StudySetup,
        space: Space,
        ledger: Ledger,
        pool: WorkerPool,
        queue: TrialQueue,
        history: History,
        listener: Listener,
        max_failures: int = 5,
        catch_up: Callable[[], None] = lambda: None,
    ) -> None:
        self._catch_up = catch_up
        self._terms, self._space, self._pool = terms, space, pool
        self._fitter = FitRunner(terms, ledger)
        self._queue, self._history, self._listener = queue, history, listener
        self._max_failures = max_failures
        self._failures_left = float(max_failures)
        self._lock = threading.Lock()
        self.error: BaseException | None = None

    def __call__(self, trial: optuna.Trial) -> float:
        """Run the trial's fits; of what nobody expected, the first stays in `error`.

        With several workers Optuna does not pass on every exception, and would start further trials after one.

        Raises:
            optuna.TrialPruned: it collapsed or is not worth going on; the reason stands in the user attributes.
            Interrupted: the search ends; the fits that are done stand in the ledger.
            TrialFailed: a fit failed twice.
            Surplus: another host's trial stands for this one, or there are enough.
        """
        try:
            return self._run(trial)
        except (optuna.TrialPruned, *ENDS):
            raise
        except optuna.exceptions.UpdateFinishedTrialError:
            _log.warning("Trial %d was taken over by another host, which took this one for lost.", trial.number)
            raise SurplusTrial from None
        except BaseException as error:
            with self._lock:
                self.error = self.error or error
            trial.study.stop()
            raise

    def _run(self, trial: optuna.Trial) -> float:
        self._catch_up()
        configuration = self._space.sample(trial)
        trial.set_user_attr(CONFIGURATION, configuration.as_dict())  # before the place: who has one, has both
        number = self._queue.place(trial)
        self._listener.trial_started(number, configuration, len(self._terms.folds))
        started = time.monotonic()
        run = _Run(self, trial, number, configuration)
        try:
            with self._pool.worker() as worker:
                state, reason = run.judge(worker)
        except (Stopped, KeyboardInterrupt) as end:
            if isinstance(end, KeyboardInterrupt):  # a second Ctrl-C, which ends everything
                raise
            trial.study.stop()
            raise Interrupted from None
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
        trial.set_user_attr(STATE, state.value)  # last: who has it, has all
        pooled = self._history.add(record)
        _log.info("trial %d %s, pooled %s, reason %s, %s", number, state, pooled, reason, configuration.canonical())
        self._listener.trial_finished(record, pooled, self._history.best)
        if state is TrialState.FAILED:
            with self._lock:
                self._failures_left -= _FAULT if reason in _FAULTS else 1
                too_many = self._failures_left <= 0
            if too_many:
                raise TooManyFailures(f"{self._max_failures} trials failed in a row, the last with: {reason}")
            if reason in _FAULTS:  # the sampler must learn to keep away; it does not see what is told as FAIL
                raise optuna.TrialPruned(reason)
            raise TrialFailed(reason)
        with self._lock:
            self._failures_left = float(self._max_failures)
        if pooled is None:
            raise optuna.TrialPruned(reason)
        return pooled if math.isfinite(pooled) else self._terms.chance


class _Run:
    """The fits of one trial."""

    def __init__(self, objective: TrialRunner, trial: optuna.Trial, number: int, configuration: Configuration) -> None:
        self._objective, self._terms = objective, objective._terms
        self._trial, self._number, self._configuration = trial, number, configuration
        self._protection = objective._history.protection()
        self._is_start = START in trial.user_attrs  # known-good ones and the user's own are trained to their end
        self._deadly = deadly_fold(trial)
        self.fits: list[Fit] = []

    def judge(self, worker: Worker) -> tuple[TrialState, str | None]:
        """Fold after fold until all are judged or the trial is lost."""
        done: list[float] = []
        for fold in range(len(self._terms.folds)):
            last = self._fold(worker, fold)
            if last.verdict is Verdict.FAILED:
                return TrialState.FAILED, last.reason
            score = float(np.mean([scores.fit_score(f, self._terms.chance) for f in self.fits if f.fold == fold]))
            done.append(score if math.isfinite(score) else self._terms.chance)
            self._trial.report(float(np.mean(done)), step=fold + 1)
            if last.verdict is Verdict.COLLAPSED:
                return TrialState.COLLAPSED, last.reason
            if last.verdict is Verdict.STOPPED:
                return TrialState.RACED, last.reason
            if (reason := self._objective._history.behind(done)) is not None:
                return TrialState.RACED, reason
        return TrialState.COMPLETE, None

    def evidence(self) -> dict[str, float]:
        """The numbers behind the last fit's reason, with its fold (from 0) and epoch; empty if it has none."""
        last = self.fits[-1]
        return {"fold": last.fold, "epoch": last.epochs, **last.evidence} if last.reason else {}

    def _fold(self, worker: Worker, fold: int) -> Fit:
        split = self._terms.folds[fold]
        spec = FitSpec(
            trial=self._number,
            stage=SEARCH,
            configuration=self._configuration,
            train=split.train,
            val=split.val,
            fold=fold,
            bars=self._objective._history.bars() if fold == 0 and not self._is_start else (),
        )
        evidence = self._objective._history.too_slow(self._configuration) if fold == 0 else None
        if evidence is not None and not self._objective._fitter.knows(spec):
            self._note(passed := self._objective._fitter.pass_over(spec, TOO_SLOW, evidence))
            return passed
        if fold == self._deadly:
            self._note(lost := self._objective._fitter.give_up(spec, PROCESS_LOST))
            return lost
        return self._objective._fitter.fold(worker, spec, self._protection, self._tell(fold), self._note)[-1]

    def _note(self, fit: Fit) -> None:
        self.fits.append(fit)
        self._objective._listener.fit_finished(fit)

    def _tell(self, fold: int) -> Callable[[Check], None]:
        epochs = self._terms.protocol.epochs
        return lambda check: self._objective._listener.check(self._number, fold, check, epochs)
