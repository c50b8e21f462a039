"""TPE that proposes the same after any interruption, and as fast in a large study as in a small one."""

from __future__ import annotations

import heapq
import threading
from collections.abc import Container, Sequence
from functools import lru_cache
from typing import Any, Final

import numpy as np
from optuna import Study
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, TPESampler
from optuna.search_space import IntersectionSearchSpace
from optuna.trial import FrozenTrial, TrialState

from search import seeds
from search.storage.trial_attributes import is_done, place_of

SEEN: Final = 500
"""Judged trials that a proposal is made from at most: what it costs grows with them."""

_GOOD: Final = 25
"""Of them the best, which TPE models by themselves: it takes a tenth, and never more than these."""


class SteadySampler(BaseSampler):
    """A new TPE sampler for each trial, seeded by the root seed and what the study holds at that moment.

    Optuna does not store a sampler's random state: a resumed study would go another way than an undisturbed one.
    Here the proposal depends on the finished trials only (interrupted ones do not count, failed ones do: what failed
    is not proposed again and again), with one worker exactly; with several, on the trial's own number too, so that
    they do not all propose the same.

    Args:
        root_seed: the study's.
        seen: judged trials that a proposal is made from at most.
    """

    def __init__(self, root_seed: int, seen: int = SEEN) -> None:
        self._root_seed, self._seen = root_seed, seen
        self._local = threading.local()
        self._common, self._lock = IntersectionSearchSpace(include_pruned=True), threading.Lock()

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Make the trial's own sampler."""
        trials = study.get_trials(deepcopy=False)  # once: with a database, this is what a proposal costs
        alone = all(other.number == trial.number for other in trials if other.state == TrialState.RUNNING)
        done = sum(map(is_done, trials))
        seed = seeds.child(self._root_seed, "sampler", done, -1 if alone else trial.number)
        self._local.tpe = TPESampler(seed=seed)
        self._local.trials, self._local.seen = trials, thinned(trials, self._seen, self._root_seed)
        self._local.tpe.before_trial(study, trial)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """As TPE does: what all judged trials have in common. What the older ones have is known."""
        with self._lock:
            common = self._common.calculate(_View(study, self._local.trials))  # type: ignore[arg-type]
        return {name: distribution for name, distribution in common.items() if not distribution.single()}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """As TPE does."""
        return self._tpe.sample_relative(self._view(study), trial, search_space)

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """As TPE does."""
        return self._tpe.sample_independent(self._view(study), trial, param_name, param_distribution)

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        """As TPE does."""
        self._tpe.after_trial(study, trial, state, values)

    def _view(self, study: Study) -> Any:
        return _View(study, self._local.seen)

    @property
    def _tpe(self) -> TPESampler:
        return self._local.tpe  # type: ignore[no-any-return]


class _View:
    """A study, as far as TPE asks, that holds these trials and no others."""

    def __init__(self, study: Study, trials: Sequence[FrozenTrial]) -> None:
        self._study, self._trials = study, trials

    def __getattr__(self, name: str) -> Any:
        return getattr(self._study, name)

    def get_trials(
        self, deepcopy: bool = False, states: Container[TrialState] | None = None, use_cache: bool = False
    ) -> list[FrozenTrial]:
        """As Optuna's."""
        return [trial for trial in self._trials if states is None or trial.state in states]

    _get_trials = get_trials  # by this name TPE asks


def thinned(trials: Sequence[FrozenTrial], most: int, seed: int) -> list[FrozenTrial]:
    """Of the judged trials at most so many, in their order: the best ones, and of the others some at random.

    TPE compares the density of the good ones with that of the others. The first stays what it is; the second is that
    of a fair sample, in which a trial stays or stays out for as long as the study grows. Places decide, not Optuna's
    numbers, which count interrupted trials too.

    Args:
        trials: of a study that is maximized.
        most: wanted, more than 25.
        seed: decides who is in the sample.
    """
    judged = [trial for trial in trials if trial.state in (TrialState.COMPLETE, TrialState.PRUNED)]
    if len(judged) <= most:
        return judged
    complete = [trial for trial in judged if trial.state is TrialState.COMPLETE]
    good = {trial.number for trial in heapq.nlargest(_GOOD, complete, key=lambda trial: trial.value or 0.0)}
    lots = np.array([-1.0 if trial.number in good else _lot(seed, place_of(trial)) for trial in judged])
    return [judged[row] for row in np.sort(np.argpartition(lots, most - 1)[:most])]


@lru_cache(maxsize=100_000)
def _lot(seed: int, place: int) -> float:
    return seeds.share(seed, "seen", place)
