"""Racing as a pruner of Optuna's, for any study whose trials are judged by cross-validation."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from itertools import pairwise
from typing import Final

import numpy as np
import optuna
from optuna.pruners import BasePruner
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from search.selection import racing
from search.storage.trial_attributes import configuration_hash, place_of
from spaces.space import FAMILY

_DECIMALS: Final = 12  # of fold scores: what the running means' rounding leaves exact
_REREAD_SECONDS: Final = 1.0  # the study is read again for the next fold of the same trial


class RacingPruner(BasePruner):
    """Prunes a trial whose first folds are too far behind the best trial to be worth its remaining folds.

    After each fold, report the mean of the trial's fold scores so far, at a step that grows from fold to fold. Every
    trial must use the same folds in the same order. The fold scores are recovered from the means: the k-th one is
    k times the k-th mean less k - 1 times the one before it.

    A trial is pruned if the mean of its folds is worse than the worst fold of the best trial, or if it is behind the
    best trial on the same folds by more than chance explains (`search.selection.racing`; the second rule needs three
    complete trials). At three to five folds this saves about two thirds of the fits and keeps the winner, where
    Optuna's `WilcoxonPruner` can't prune before the fourth fold.

    Non-finite values never prune. Studies may be minimized or maximized.

    Example:
        >>> import optuna
        >>> from search.optimize.racing_pruner import RacingPruner
        >>> optuna.logging.set_verbosity(optuna.logging.WARNING)
        >>> def objective(trial: optuna.Trial) -> float:
        ...     x, scores = trial.suggest_float("x", 0.0, 1.0), []
        ...     for fold in range(5):
        ...         scores.append(1 - x * x + 0.01 * fold)  # here you train on this fold's other images
        ...         mean = sum(scores) / len(scores)
        ...         trial.report(mean, step=fold)
        ...         if trial.should_prune():
        ...             raise optuna.TrialPruned
        ...     return mean
        >>> sampler, pruner = optuna.samplers.RandomSampler(seed=0), RacingPruner()
        >>> study = optuna.create_study(direction="maximize", sampler=sampler, pruner=pruner)
        >>> study.optimize(objective, n_trials=4)
        >>> [(trial.state.name, len(trial.intermediate_values)) for trial in study.trials]
        [('COMPLETE', 5), ('PRUNED', 1), ('PRUNED', 1), ('COMPLETE', 5)]
        >>> pruner.reason(2)
        'mean of 1 fold 0.637 is below the worst fold 0.699 of the best trial'

    Args:
        number_of: returns a trial's number: of trials with equal values the one with the lowest is the best. None:
            Optuna's number.
        configuration_of: returns what trials of the same configuration have in common: they count as one. None: their
            parameters.
        family_of: returns the family of a trial, which competes with the trials of this family only. None: all trials
            compete.
    """

    def __init__(
        self,
        *,
        number_of: Callable[[FrozenTrial], int] | None = None,
        configuration_of: Callable[[FrozenTrial], Hashable] | None = None,
        family_of: Callable[[FrozenTrial], Hashable] | None = None,
    ) -> None:
        self._number_of, self._configuration_of = number_of or _number, configuration_of or _parameters
        self._family_of = family_of or _only
        self._lock = threading.Lock()
        self._begin("")

    def _begin(self, study: str) -> None:
        self._study = study
        self._read_for, self._read_at = -1, -math.inf  # Optuna's number of the trial, and when
        self._is_fed = False
        self._complete: set[int] = set()  # Optuna's numbers of the trials taken in
        # By family, and in it by configuration: the fold scores, higher is better.
        self._scores: dict[Hashable, dict[Hashable, list[float]]] = {}
        self._best: dict[Hashable, tuple[float, int, Hashable]] = {}  # value, number negated, configuration
        self._spread: dict[Hashable, float | None] = {}
        self._reasons: dict[int, str] = {}

    def __getstate__(self) -> dict[str, object]:
        """Pickled without its lock."""
        return {name: value for name, value in self.__dict__.items() if name != "_lock"}

    def __setstate__(self, state: dict[str, object]) -> None:
        """Restored with a lock of its own."""
        self.__dict__.update(state)
        self._lock = threading.Lock()

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        """Whether the trial is not worth its remaining folds.

        Args:
            study: of the trial.
            trial: with the running means of its fold scores so far.
        """
        is_minimized = study.direction is StudyDirection.MINIMIZE
        done = fold_scores(trial.intermediate_values)
        if not done:
            return False
        with self._lock:
            self._take_in(study, trial, -1.0 if is_minimized else 1.0)
            family = self._family_of(trial)
            if family not in self._best:
                return False
            incumbent = self._scores[family][self._best[family][2]]
            if is_minimized:
                done = [-score for score in done]
            rival = "the best trial" if family is None else "the best trial of its family"
            reason = racing.should_stop(done, incumbent, self._spread[family], negated=is_minimized, rival=rival)
            if reason is not None:
                self._reasons[trial.number] = reason
        return reason is not None

    def observe(self, study: optuna.Study, trial: FrozenTrial) -> None:
        """Learn from a trial that has ended.

        Optional: without it the study is read once for each trial. If it is called for one trial, it must be called for
        all that end from then on.

        Args:
            study: the study of the trial.
            trial: as `study.tell` returns it.
        """
        with self._lock:
            if study.study_name != self._study:
                return  # its trials are all read when a trial is judged for the first time
            self._is_fed = True
            if trial.state is TrialState.COMPLETE:
                self._learn([trial], -1.0 if study.direction is StudyDirection.MINIMIZE else 1.0)

    def reason(self, number: int) -> str | None:
        """The reason why the trial with Optuna's number `number` was pruned, in words; None if it was not."""
        with self._lock:
            return self._reasons.get(number)

    def _take_in(self, study: optuna.Study, trial: FrozenTrial, sign: float) -> None:
        """Learn from the trials that were completed since the last time."""
        if study.study_name != self._study:
            self._begin(study.study_name)
        now = time.monotonic()
        if self._is_fed:
            return
        if trial.number == self._read_for and now < self._read_at + _REREAD_SECONDS:
            return  # in a study of thousands, reading it costs more than anything else here
        self._read_for, self._read_at = trial.number, now
        self._learn(study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)), sign)

    def _learn(self, complete: Sequence[FrozenTrial], sign: float) -> None:
        new = [other for other in complete if other.number not in self._complete]
        for other in new:
            self._complete.add(other.number)
            scores = fold_scores(other.intermediate_values)
            if not scores or other.value is None:
                continue
            family, configuration = self._family_of(other), self._configuration_of(other)
            self._scores.setdefault(family, {})[configuration] = [sign * score for score in scores]
            rank = (sign * other.value, -self._number_of(other), configuration)
            if family not in self._best or rank[:2] > self._best[family][:2]:
                self._best[family] = rank
        for family in {self._family_of(other) for other in new} & set(self._best):
            folds = len(self._scores[family][self._best[family][2]])
            same = [scores for scores in self._scores[family].values() if len(scores) == folds]
            self._spread[family] = racing.residual_spread(np.array(same))


def fold_scores(running_means: Mapping[int, float]) -> list[float]:
    """The scores of a trial's folds, from the mean of the first k folds at the k-th step; empty if one is not finite.

    >>> fold_scores({1: 0.8, 2: 0.7, 3: 0.75})
    [0.8, 0.6, 0.85]
    """
    sums = [0.0, *(count * mean for count, (_, mean) in enumerate(sorted(running_means.items()), start=1))]
    if not all(map(math.isfinite, sums)):
        return []
    return [round(after - before, _DECIMALS) for before, after in pairwise(sums)]


def search_pruner() -> RacingPruner:
    """The pruner of a search's study, whose trials have places and configurations of their own."""
    return RacingPruner(number_of=place_of, configuration_of=configuration_hash, family_of=_family)


def pruning_reason(trial: optuna.Trial) -> str | None:
    """The reason why a trial of a study with a `RacingPruner` was pruned, in words; None if it was not."""
    pruner = trial.study.pruner
    return pruner.reason(trial.number) if isinstance(pruner, RacingPruner) else None


def _only(trial: FrozenTrial) -> Hashable:
    return None


def _family(trial: FrozenTrial) -> Hashable:
    return trial.params.get(FAMILY)


def _number(trial: FrozenTrial) -> int:
    return trial.number


def _parameters(trial: FrozenTrial) -> Hashable:
    return tuple(sorted(trial.params.items()))
