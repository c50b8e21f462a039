"""What racing, protection and the end of the search need of the finished trials: numbers, not their fits."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence

import numpy as np

from search.collapse.protection import Achievements, Protection
from search.fits.runner import StudySetup
from search.optimize.pace import SlowConfigurations
from search.records import Trial, TrialState, Verdict
from search.selection import racing, scores, successive_halving
from spaces.config import Configuration


class History:
    """Safe between threads."""

    def __init__(self, terms: StudySetup, trials: Iterable[Trial] = ()) -> None:
        self._terms = terms
        self._lock = threading.Lock()
        self._achieved, self._pace = Achievements(), SlowConfigurations()
        self._best: Trial | None = None
        self._first_reached: list[successive_halving.Reached] = []
        self._complete: dict[str, list[float]] = {}  # configuration -> fold scores
        self._spread: float | None = None  # of the fold scores so far
        self._is_spread_old = False
        self.pooled: dict[int, float] = {}  # trial -> pooled score
        self.best_so_far: list[float] = []
        self.known: set[int] = set()  # places of the trials taken in
        for trial in trials:
            self.add(trial)

    def add(self, trial: Trial) -> float | None:
        """Take in a finished trial; returns its pooled score if it has all folds."""
        terms = self._terms
        pooled = None
        if trial.state is TrialState.COMPLETE:
            pooled = scores.pooled_score(trial, terms.labels, terms.metric, len(terms.folds))
        with self._lock:
            if trial.number in self.known:
                return pooled
            self.known.add(trial.number)
            for fit in trial.fits:
                self._achieved.add(fit)
            self._pace.learn(trial.configuration, trial.fits)
            tried = [fit for fit in trial.fits[:1] if fit.verdict is not Verdict.FAILED and fit.epochs]
            self._first_reached += [
                successive_halving.reached(successive_halving.curve_of(fit), terms.protocol.epochs) for fit in tried
            ]
            if pooled is not None:
                by_fold = scores.fold_scores(trial, terms.chance)
                self._complete[trial.configuration.hash] = [by_fold[fold] for fold in range(len(terms.folds))]
                self._is_spread_old = True
                self.pooled[trial.number] = pooled
                if self._best is None or self._rank(trial) > self._rank(self._best):
                    self._best = trial
            if self._best is not None:
                self.best_so_far.append(self.pooled[self._best.number])
        return pooled

    @property
    def best(self) -> float | None:
        """Highest pooled score."""
        with self._lock:
            return self.best_so_far[-1] if self.best_so_far else None

    def best_trial(self) -> Trial | None:
        """The trial with the highest pooled score, the first of equals."""
        with self._lock:
            return self._best

    def protection(self) -> Protection:
        """From all fits of the finished trials."""
        with self._lock:
            return self._achieved.protection()

    def bars(self) -> successive_halving.Bars:
        """What the next trial's first fit has to reach."""
        with self._lock:
            return successive_halving.bars(self._first_reached, self._terms.protocol.epochs)

    def too_slow(self, configuration: Configuration) -> dict[str, float] | None:
        """The numbers by which a configuration takes longer than the plan allows, or None."""
        with self._lock:
            return self._pace.too_slow(configuration, self._terms.protocol.epochs, self._terms.plan.fit_seconds)

    def behind(self, done: Sequence[float]) -> str | None:
        """Why a trial with these fold scores is not worth going on, or None."""
        best = self.best_trial()
        if best is None:
            return None
        with self._lock:
            incumbent = self._complete[best.configuration.hash]
            if self._is_spread_old:
                self._spread = racing.residual_spread(np.array(list(self._complete.values())))
                self._is_spread_old = False
            spread = self._spread
        return racing.should_stop(done, incumbent, spread)

    def fold_scores(self) -> list[list[float]]:
        """Fold scores of each complete configuration."""
        with self._lock:
            return list(self._complete.values())

    def _rank(self, trial: Trial) -> tuple[float, int]:
        return self.pooled[trial.number], -trial.number
