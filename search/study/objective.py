"""One trial: fold by fold, each fit judged before the next begins and in the ledger before Optuna hears of it."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import optuna

from search import seeds
from search.collapse.audit import is_audited
from search.collapse.protection import Protection
from search.collapse.rules import Context
from search.data.folds import Fold
from search.events import Listener
from search.records import HARD_REASONS, Fit, FitKey, IntArray, Trial, TrialState, Verdict
from search.selection import racing, scores
from search.settings import Plan, Protocol
from search.study.ledger import Ledger
from search.study.pool import Pool, Stopped, Worker, WorkerFault
from search.study.queue import CONFIGURATION, INTERRUPTED, REASON, Queue
from search.study.worker import Job
from search.training.sampling import balance
from spaces.config import Configuration
from spaces.space import Space

STAGE: Final = "search"
_TRIES: Final = 2  # of a fit that fails by our or the machine's fault
_log = logging.getLogger(__name__)


class Interrupted(Exception):
    """The search was told to end in the middle of a trial."""


class TrialFailed(Exception):
    """A fit failed twice: not the configuration's fault, so the trial is not ranked."""


class TooManyFailures(Exception):
    """Trials fail one after the other: that is a bug or a broken machine, and no use going on."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Terms:
    """What all fits of the study share."""

    labels: IntArray
    folds: tuple[Fold, ...]
    fingerprint: str
    protocol: Protocol
    plan: Plan
    metric: str
    chance: float
    seed: int


class History:
    """The trials that are finished, in memory: what racing and protection look at. Safe between threads."""

    def __init__(self, terms: Terms, trials: Iterable[Trial] = ()) -> None:
        self._terms = terms
        self._lock = threading.Lock()
        self._trials: list[Trial] = []
        self._complete: dict[str, list[float]] = {}  # configuration -> fold scores
        self.pooled: dict[int, float] = {}  # trial -> pooled score
        self.best_so_far: list[float] = []
        for trial in trials:
            self.add(trial)

    def add(self, trial: Trial) -> float | None:
        """Take in a finished trial; returns its pooled score if it has all folds."""
        terms = self._terms
        pooled = None
        if trial.state is TrialState.COMPLETE:
            pooled = scores.pooled_score(trial, terms.labels, terms.metric, len(terms.folds))
        with self._lock:
            self._trials.append(trial)
            if pooled is not None:
                by_fold = scores.fold_scores(trial, terms.chance)
                self._complete[trial.configuration.hash] = [by_fold[fold] for fold in range(len(terms.folds))]
                self.pooled[trial.number] = pooled
            if self.pooled:
                self.best_so_far.append(max(self.pooled.values()))
        return pooled

    @property
    def best(self) -> float | None:
        """Highest pooled score."""
        with self._lock:
            return max(self.pooled.values(), default=None)

    def best_trial(self) -> Trial | None:
        """The trial with the highest pooled score, the first of equals."""
        with self._lock:
            ranked = [t for t in self._trials if t.number in self.pooled]
            return max(ranked, key=lambda t: (self.pooled[t.number], -t.number), default=None)

    def protection(self) -> Protection:
        """From all fits of the finished trials."""
        with self._lock:
            return Protection.of(fit for trial in self._trials for fit in trial.fits)

    def behind(self, done: Sequence[float]) -> str | None:
        """Why a trial with these fold scores is not worth going on, or None."""
        best = self.best_trial()
        if best is None:
            return None
        with self._lock:
            incumbent = self._complete[best.configuration.hash]
            matrix = np.array(list(self._complete.values()))
        return racing.should_stop(done, incumbent, racing.residual_spread(matrix))

    def fold_scores(self) -> list[list[float]]:
        """Fold scores of each complete configuration."""
        with self._lock:
            return list(self._complete.values())


class Objective:
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
    """

    def __init__(
        self,
        terms: Terms,
        space: Space,
        ledger: Ledger,
        pool: Pool,
        queue: Queue,
        history: History,
        listener: Listener,
        max_failures: int = 5,
    ) -> None:
        self._terms, self._space, self._ledger, self._pool = terms, space, ledger, pool
        self._queue, self._history, self._listener = queue, history, listener
        self._failures_left = self._max_failures = max_failures

    def __call__(self, trial: optuna.Trial) -> float:
        """Run the trial's fits.

        Raises:
            optuna.TrialPruned: it collapsed or is not worth going on; the reason stands in the user attributes.
            Interrupted: the search ends; the fits that are done stand in the ledger.
            TrialFailed: a fit failed twice.
        """
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
            trial.set_user_attr(REASON, INTERRUPTED)
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
        trial.set_user_attr("state", state.value)
        trial.set_user_attr("seconds", record.seconds)
        if reason is not None:
            trial.set_user_attr(REASON, reason)
        pooled = self._history.add(record)
        _log.info("trial %d %s, pooled %s, reason %s, %s", number, state, pooled, reason, configuration.canonical())
        self._listener.trial_finished(record, pooled, self._history.best)
        if state is TrialState.FAILED:
            self._failures_left -= 1
            if self._failures_left == 0:
                raise TooManyFailures(f"{self._max_failures} trials failed in a row, the last with: {reason}")
            raise TrialFailed(reason)
        self._failures_left = self._max_failures
        if pooled is None:
            raise optuna.TrialPruned(reason)
        return pooled if math.isfinite(pooled) else self._terms.chance


class _Run:
    """The fits of one trial."""

    def __init__(self, objective: Objective, trial: optuna.Trial, number: int, configuration: Configuration) -> None:
        self._objective, self._terms = objective, objective._terms
        self._trial, self._number, self._configuration = trial, number, configuration
        self._protection = objective._history.protection()
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

    def _fold(self, worker: Worker, fold: int) -> Fit:
        """The fold's fit; after a soft collapse a second one with a new seed."""
        first = self._fit(worker, fold, attempt=0)
        if first.verdict is Verdict.COLLAPSED and first.reason not in HARD_REASONS:
            return self._fit(worker, fold, attempt=1)
        return first

    def _fit(self, worker: Worker, fold: int, attempt: int) -> Fit:
        terms, objective, configuration = self._terms, self._objective, self._configuration
        seed = seeds.child(terms.seed, "fit", configuration.hash, STAGE, 0, fold, attempt)
        key = FitKey(
            configuration=configuration.hash,
            split=STAGE,
            repeat=0,
            fold=fold,
            seed=seed,
            fingerprint=terms.fingerprint,
            protocol=terms.protocol,
        ).text
        fit = objective._ledger.fit(key)
        if fit is None or fit.verdict is Verdict.FAILED:
            fit = self._train(worker, fold, attempt, seed, key)
            objective._ledger.write(fit)
        self.fits.append(fit)
        objective._listener.fit_finished(fit)
        return fit

    def _train(self, worker: Worker, fold: int, attempt: int, seed: int, key: str) -> Fit:
        terms, configuration, split = self._terms, self._configuration, self._terms.folds[fold]
        blank = Fit(
            key=key,
            trial=self._number,
            stage=STAGE,
            configuration=configuration.hash,
            repeat=0,
            fold=fold,
            attempt=attempt,
            seed=seed,
            verdict=Verdict.FAILED,
            epochs_planned=terms.protocol.epochs,
            rows=split.val,
        )
        job = Job(
            configuration=configuration,
            protocol=terms.protocol,
            train=split.train,
            val=split.val,
            seed=seed,
            context=context(configuration, terms, split.train, self._protection),
            audited=is_audited(terms.seed, configuration.hash, 0, fold),
            limit_seconds=terms.plan.fit_seconds,
        )
        fault = "failed"
        for _ in range(_TRIES):
            try:
                outcome = worker.run(job, self._tell(fold)).outcome
            except WorkerFault as error:
                fault = str(error)
                _log.warning("A fit of trial %d failed and is tried again: %s", self._number, fault)
                continue
            return replace(
                blank,
                verdict=outcome.verdict,
                reason=outcome.reason,
                evidence={"epoch": outcome.epochs, **outcome.evidence} if outcome.reason else {},
                epochs=outcome.epochs,
                seconds=outcome.seconds,
                score=outcome.score,
                loss=outcome.loss,
                skill=outcome.skill,
                audit=outcome.audit,
                checks=outcome.checks,
                probabilities=outcome.probabilities,
            )
        return replace(blank, reason=fault.strip().splitlines()[-1][:64])

    def _tell(self, fold: int) -> Callable[..., None]:
        epochs = self._terms.protocol.epochs
        return lambda check: self._objective._listener.check(self._number, fold, check, epochs)


def context(configuration: Configuration, terms: Terms, train: IntArray, protection: Protection) -> Context:
    """What the collapse rules need to know of a fit on these training rows."""
    counts = np.bincount(terms.labels[train], minlength=terms.protocol.classes)
    prior = balance(counts, configuration.oversampling, configuration.class_weighting).prior
    return Context(
        epochs=terms.protocol.epochs,
        updates_per_epoch=len(train) // configuration.batch_size,
        imbalance=float(counts.max() / counts.min()),
        batchnorm=configuration.normalization == "batch",
        prior_entropy=float(-(prior * np.log(prior)).sum()),
        protected=protection,
    )
