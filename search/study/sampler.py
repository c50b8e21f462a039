"""TPE that proposes the same after any interruption."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

from optuna import Study
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState

from search import seeds
from search.study.queue import is_done


class SteadySampler(BaseSampler):
    """A new TPE sampler for each trial, seeded by the root seed and what the study holds at that moment.

    Optuna does not store a sampler's random state: a resumed study would go another way than an undisturbed one.
    Here the proposal depends on the finished trials only (interrupted ones do not count, failed ones do: what failed
    is not proposed again and again), with one worker exactly; with several, on the trial's own number too, so that
    they do not all propose the same.

    Args:
        root_seed: the study's.
    """

    def __init__(self, root_seed: int) -> None:
        self._root_seed = root_seed
        self._local = threading.local()

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Make the trial's own sampler."""
        trials = study.get_trials(deepcopy=False)  # once: with a database, this is what a proposal costs
        alone = all(other.number == trial.number for other in trials if other.state == TrialState.RUNNING)
        done = sum(map(is_done, trials))
        seed = seeds.child(self._root_seed, "sampler", done, -1 if alone else trial.number)
        self._local.tpe = TPESampler(seed=seed)
        self._local.tpe.before_trial(study, trial)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """As TPE does."""
        return self._tpe.infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """As TPE does."""
        return self._tpe.sample_relative(study, trial, search_space)

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """As TPE does."""
        return self._tpe.sample_independent(study, trial, param_name, param_distribution)

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        """As TPE does."""
        self._tpe.after_trial(study, trial, state, values)

    @property
    def _tpe(self) -> TPESampler:
        return self._local.tpe  # type: ignore[no-any-return]
