"""TPE that proposes the same after any interruption, and as fast in a large study as in a small one."""

from __future__ import annotations

import heapq
import threading
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass
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
from spaces.space import FAMILY

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
        startup: judged trials before which proposals are random.
        family_of: chooses the family of the next trial from all trials; see `family_shares.next_family`. None: the
            study has no families. A proposal is made from the trials of its own family.
    """

    def __init__(
        self,
        root_seed: int,
        seen: int = SEEN,
        startup: int = 10,
        family_of: Callable[[Sequence[FrozenTrial]], str] | None = None,
    ) -> None:
        self._root_seed, self._seen, self._startup, self._family_of = root_seed, seen, startup, family_of
        self._search_spaces: dict[str | None, IntersectionSearchSpace] = {}
        self._lock = threading.Lock()
        self._local = threading.local()

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled without the proposals of its threads."""
        return type(self), (self._root_seed, self._seen, self._startup, self._family_of)

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Make the trial's own sampler."""
        self._local.proposal = proposal = self._make_proposal(study, trial)
        proposal.tpe.before_trial(study, trial)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """The parameters that all judged trials have in common, as TPE finds them; only new trials are looked at.

        Without the family, which the shares of the families decide.
        """
        proposal = self._proposal(study, trial)
        with self._lock:
            view: Any = _StudyView(study, proposal.trials)
            space = self._search_spaces.setdefault(proposal.family, IntersectionSearchSpace(include_pruned=True))
            common = space.calculate(view)
        return {
            name: distribution
            for name, distribution in common.items()
            if not distribution.single() and not (name == FAMILY and proposal.family is not None)
        }

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """TPE's proposal for the parameters that all judged trials have in common."""
        proposal = self._proposal(study, trial)
        return proposal.tpe.sample_relative(self._view(study, proposal), trial, search_space)

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """TPE's proposal for another parameter."""
        proposal = self._proposal(study, trial)
        if param_name == FAMILY and proposal.family is not None:
            return proposal.family
        return proposal.tpe.sample_independent(self._view(study, proposal), trial, param_name, param_distribution)

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        """Let TPE do what it does at the end of a trial."""
        self._proposal(study, trial).tpe.after_trial(study, trial, state, values)

    def _proposal(self, study: Study, trial: FrozenTrial) -> _Proposal:
        """This thread's proposal, made now if `before_trial` was not called for the trial."""
        proposal: _Proposal | None = getattr(self._local, "proposal", None)
        if proposal is None or (proposal.study, proposal.number) != (study.study_name, trial.number):
            self._local.proposal = proposal = self._make_proposal(study, trial)
        return proposal

    def _make_proposal(self, study: Study, trial: FrozenTrial) -> _Proposal:
        trials = study.get_trials(deepcopy=False)  # once: with a database, this is what a proposal costs
        alone = all(other.number == trial.number for other in trials if other.state == TrialState.RUNNING)
        done = sum(map(is_done, trials))
        seed = seeds.child(self._root_seed, "sampler", done, -1 if alone else trial.number)
        family = None if self._family_of is None else self._family_of(trials)
        if family is not None:
            trials = [other for other in trials if other.params.get(FAMILY) == family]
        return _Proposal(
            study=study.study_name,
            number=trial.number,
            family=family,
            tpe=TPESampler(seed=seed, n_startup_trials=self._startup),
            trials=trials,
            seen=thinned(trials, self._seen, self._root_seed),
        )

    def _view(self, study: Study, proposal: _Proposal) -> Any:
        return _StudyView(study, proposal.seen)


@dataclass(frozen=True, slots=True)
class _Proposal:
    """What a trial's parameters are proposed by."""

    study: str  # its name
    number: int  # of the trial
    family: str | None  # of the trial, unless it was enqueued with another one; None without families
    tpe: TPESampler
    trials: Sequence[FrozenTrial]  # all, of the family
    seen: Sequence[FrozenTrial]  # those that TPE is shown


class _StudyView:
    """A study that holds these trials and no others, as far as TPE looks at it."""

    def __init__(self, study: Study, trials: Sequence[FrozenTrial]) -> None:
        self._study, self._trials = study, trials

    def __getattr__(self, name: str) -> Any:
        return getattr(self._study, name)

    def get_trials(
        self, deepcopy: bool = False, states: Container[TrialState] | None = None, use_cache: bool = False
    ) -> list[FrozenTrial]:
        """The trials with one of the states, or all."""
        return [trial for trial in self._trials if states is None or trial.state in states]

    _get_trials = get_trials  # the private name by which TPE asks


def thinned(trials: Sequence[FrozenTrial], most: int, seed: int) -> list[FrozenTrial]:
    """The judged trials in their order, at most `most` of them: the best ones, and some of the others at random.

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
