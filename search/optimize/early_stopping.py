"""Early ends of fits, of trials and of the search, decided from the finished trials. Racing: `racing_pruner`."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from typing import Final

from search.collapse.protection import Achievements, Protection
from search.fits.runner import StudySetup
from search.records import TOO_SLOW, Fit, Trial, TrialState, Verdict
from search.selection import scores, successive_halving
from search.selection.standard_error import pooled_deviation, standard_error
from search.training.lr_schedule import fit_seconds
from spaces.backbones import BACKBONES, NO_BACKBONE, TRAINABLE
from spaces.config import Configuration

_MIN_TRIALS: Final = 40  # before the search may end for want of progress
_LAST_SHARE: Final = 1 / 3  # of the trials, the last ones, which must have improved the best score
_LEAST_GAIN: Final = 0.2  # standard errors: an improvement below that is luck
_LARGER_BATCH: Final = 1.5  # times as fast as a smaller one a network on a backbone may be at most


class FinishedTrials:
    """The finished trials of a study, summed up for what ends early; safe to use from several threads.

    Args:
        setup: what all fits of the study share.
        trials: finished in earlier sessions.
    """

    def __init__(self, setup: StudySetup, trials: Iterable[Trial] = ()) -> None:
        self._setup = setup
        self._lock = threading.Lock()
        self._achievements, self._slow = Achievements(), SlowConfigurations()
        self._best: Trial | None = None
        # By family, what each trial's first fit reached at the rungs.
        self._first_fits: dict[str, list[successive_halving.Reached]] = {}
        self._fold_scores: dict[str, list[float]] = {}  # by configuration, of complete trials
        self.pooled_scores: dict[int, float] = {}  # by trial
        self.best_scores: list[float] = []  # after each trial since the first complete one
        self.numbers: set[int] = set()  # of the trials taken in
        for trial in trials:
            self.add(trial)

    def add(self, trial: Trial) -> float | None:
        """Take in a finished trial; returns its pooled score if all its folds were judged."""
        setup = self._setup
        pooled = None
        if trial.state is TrialState.COMPLETE:
            pooled = scores.pooled_score(trial, setup.labels, setup.metric, len(setup.folds))
        with self._lock:
            if trial.number in self.numbers:
                return pooled
            self.numbers.add(trial.number)
            for fit in trial.fits:
                self._achievements.add(fit)
            self._slow.add(trial.configuration, trial.fits)
            trained = [fit for fit in trial.fits[:1] if fit.verdict is not Verdict.FAILED and fit.epochs]
            self._first_fits.setdefault(trial.configuration.family, []).extend(
                successive_halving.reached(successive_halving.curve_of(fit), setup.protocol.epochs) for fit in trained
            )
            if pooled is not None:
                by_fold = scores.fold_scores(trial, setup.chance)
                self._fold_scores[trial.configuration.hash] = [by_fold[fold] for fold in range(len(setup.folds))]
                self.pooled_scores[trial.number] = pooled
                if self._best is None or self._rank(trial) > self._rank(self._best):
                    self._best = trial
            if self._best is not None:
                self.best_scores.append(self.pooled_scores[self._best.number])
        return pooled

    @property
    def best_score(self) -> float | None:
        """The highest pooled score; None before the first complete trial."""
        with self._lock:
            return self.best_scores[-1] if self.best_scores else None

    def best_trial(self) -> Trial | None:
        """The trial with the highest pooled score, the lowest number on a tie; None before the first complete trial."""
        with self._lock:
            return self._best

    def protection(self) -> Protection:
        """The table of what good fits looked like early on, which protects similar fits from collapse rules."""
        with self._lock:
            return self._achievements.protection()

    def bars(self, family: str) -> successive_halving.Bars:
        """The least skill, by epoch, with which the first fit of the next trial of a family goes on."""
        with self._lock:
            return successive_halving.bars(self._first_fits.get(family, []), self._setup.protocol.epochs)

    def too_slow(self, configuration: Configuration) -> dict[str, float] | None:
        """Seconds an epoch that a configuration takes at least, and the limit, if a fit exceeds that; else None."""
        with self._lock:
            return self._slow.too_slow(configuration, self._setup.protocol.epochs, self._setup.plan.fit_seconds)

    def no_more_progress(self) -> bool:
        """Whether further trials are not worth their time, as `no_more_progress` judges."""
        with self._lock:
            fold_scores, best_scores = list(self._fold_scores.values()), list(self.best_scores)
        deviation, folds = pooled_deviation(fold_scores), len(self._setup.folds)
        return no_more_progress(best_scores, None if deviation is None else standard_error(deviation, folds, folds))

    def _rank(self, trial: Trial) -> tuple[float, int]:
        return self.pooled_scores[trial.number], -trial.number


def no_more_progress(best_scores: Sequence[float], standard_error: float | None) -> bool:
    """Whether the last third of the trials improved the best score by less than a fifth of its standard error.

    Args:
        best_scores: best pooled score after each finished trial, in order; trials before the first score left out.
        standard_error: of the best trial's score; None if it is not known.
    """
    if standard_error is None or len(best_scores) < _MIN_TRIALS:
        return False
    before = best_scores[-1 - round(_LAST_SHARE * len(best_scores))]
    return best_scores[-1] - before < _LEAST_GAIN * standard_error


class SlowConfigurations:
    """Configurations whose fits took too long: what costs no less than one of them is not trained.

    Only those are compared whose backbone runs in each epoch: it is most of what an epoch costs. Among networks from
    scratch, what costs more can't be told from the configuration so simply.
    """

    def __init__(self) -> None:
        self._slow: list[tuple[Configuration, float]] = []

    def add(self, configuration: Configuration, fits: Iterable[Fit]) -> None:
        """Learn from a trial's fits that were stopped because they took too long."""
        if not _runs_backbone(configuration):
            return
        slow = [fit.evidence["epoch_seconds"] for fit in fits if fit.reason == TOO_SLOW and fit.seconds]
        self._slow += [(configuration, seconds) for seconds in slow]

    def too_slow(self, configuration: Configuration, epochs: int, limit: float | None) -> dict[str, float] | None:
        """Evidence that a fit takes longer than allowed.

        Args:
            configuration: of the fit.
            epochs: of the fit.
            limit: seconds that a fit may take; None without a limit.

        Returns:
            The least seconds an epoch takes, and the limit; None if nothing says that it is exceeded.
        """
        if limit is None or not _runs_backbone(configuration):
            return None
        least = max((_least_seconds(configuration, *slow) for slow in self._slow), default=0.0)
        return {"epoch_seconds": least, "limit_seconds": limit} if fit_seconds(least, epochs) > limit else None


def _runs_backbone(configuration: Configuration) -> bool:
    return configuration.backbone != NO_BACKBONE and not configuration.embeds


def _least_seconds(configuration: Configuration, slow: Configuration, seconds: float) -> float:
    """Least seconds an epoch takes where the slow configuration takes `seconds`; 0 if it may cost less."""
    order = list(BACKBONES)
    smaller = order.index(configuration.backbone) < order.index(slow.backbone)
    if smaller or TRAINABLE.index(configuration.trainable) < TRAINABLE.index(slow.trainable):
        return 0.0
    sides = configuration.resolution, slow.resolution
    if sides[0] < sides[1] or (0 in sides and any(sides)):  # 0: the study's images, of whatever size
        return 0.0
    return seconds / _LARGER_BATCH if configuration.batch_size > slow.batch_size else seconds
