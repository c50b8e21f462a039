"""What a proposal is made from is bounded, and up to that bound it is TPE's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import optuna
import pytest
from optuna.testing.pytest_samplers import (
    BasicSamplerTestCase,
    MultiObjectiveSamplerTestCase,
    RelativeSamplerTestCase,
)
from optuna.trial import FrozenTrial, TrialState

from search.optimize.sampler import SteadySampler, _StudyView, thinned
from search.storage.trial_attributes import PLACE

optuna.logging.set_verbosity(optuna.logging.ERROR)
SPACE = {
    "rate": optuna.distributions.FloatDistribution(1e-4, 1e-1, log=True),
    "depth": optuna.distributions.IntDistribution(1, 8),
    "kind": optuna.distributions.CategoricalDistribution(("a", "b", "c")),
}


def trial(number: int, value: float | None = None, state: TrialState = TrialState.PRUNED) -> FrozenTrial:
    return FrozenTrial(
        number=number, trial_id=number, state=state if value is None else TrialState.COMPLETE, value=value, values=None,
        datetime_start=None, datetime_complete=None, params={}, distributions={}, user_attrs={}, system_attrs={},
        intermediate_values={},
    )  # fmt: skip


def many(count: int) -> list[FrozenTrial]:
    """Values 0 .. 1 in some order, each seventh pruned."""
    return [trial(n, None if n % 7 == 0 else (n * 7919 % count) / count) for n in range(count)]


def test_few_trials_are_all_seen_but_for_those_that_say_nothing() -> None:
    trials = [trial(0, 0.5), trial(1), trial(2, state=TrialState.FAIL), trial(3, state=TrialState.RUNNING)]
    assert [one.number for one in thinned(trials, 30, 0)] == [0, 1]


def test_of_many_the_best_stay_and_the_rest_is_a_fair_sample() -> None:
    trials = many(1000)
    seen = thinned(trials, 300, 0)
    numbers = [one.number for one in seen]
    assert len(seen) == 300
    assert numbers == sorted(numbers)
    best = sorted((one for one in trials if one.value is not None), key=lambda one: -one.value)[:25]
    assert {one.number for one in best} <= set(numbers)
    others = [one for one in seen if one not in best]
    assert sum(one.number < 500 for one in others) == pytest.approx(len(others) / 2, abs=35)
    assert sum(one.value is None for one in others) == pytest.approx(len(others) / 7, abs=20)


def test_who_was_left_out_stays_out_and_who_is_in_leaves_one_at_a_time() -> None:
    trials = many(1000)
    before, after = ({one.number for one in thinned(trials[:count], 300, 0)} for count in (900, 901))
    assert len(before - after) <= 2
    assert after - before <= {900} | {one.number for one in trials if one.value is not None and one.value > 0.9}


def test_interruptions_change_nothing_of_who_is_seen() -> None:
    trials = many(1000)
    shifted = [trial(n + n // 10, one.value) for n, one in enumerate(trials)]
    for place, one in enumerate(shifted):
        one.user_attrs[PLACE] = place
    seen, again = thinned(trials, 300, 0), thinned(shifted, 300, 0)
    assert [one.number for one in seen] == [one.user_attrs[PLACE] for one in again]


def proposals(sampler: Any, count: int) -> list[dict[str, Any]]:
    study = optuna.create_study(direction="maximize", sampler=sampler)
    for number in range(60):
        given = {"rate": 10 ** -(1 + number % 3), "depth": 1 + number % 8, "kind": "abc"[number % 3]}
        study.add_trial(
            optuna.trial.create_trial(params=given, distributions=SPACE, value=given["depth"] - number / 60)
        )
    found = []
    for _ in range(count):
        asked = study.ask(SPACE)
        found.append(dict(asked.params))
        study.tell(asked, 0.0)
    return found


class Plain(SteadySampler):
    """Hands TPE the study itself."""

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, Any]:
        return self._proposal(study, trial).tpe.infer_relative_search_space(study, trial)

    def _view(self, study: optuna.Study, proposal: Any) -> Any:
        return study


def test_up_to_the_bound_nothing_is_another_than_tpe_would_propose() -> None:
    assert proposals(SteadySampler(0), 5) == proposals(Plain(0), 5)
    assert proposals(SteadySampler(0, seen=30), 5) != proposals(Plain(0), 5)


def test_tpe_asks_for_trials_by_the_name_that_is_answered() -> None:
    """By another one, it would see all trials of the study."""
    study = optuna.create_study(direction="maximize", sampler=SteadySampler(0, seen=30))
    shown: list[int] = []
    view = _StudyView.get_trials

    def get_trials(self: _StudyView, *arguments: Any, **options: Any) -> list[FrozenTrial]:
        trials = view(self, *arguments, **options)
        shown.append(len(trials))
        return trials

    for number in range(60):
        params = {"rate": 1e-2, "depth": 1 + number % 8, "kind": "a"}
        study.add_trial(optuna.trial.create_trial(params=params, distributions=SPACE, value=number / 60))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_StudyView, "_get_trials", get_trials)
        study.ask(SPACE)
    assert shown[0] > 60  # to find what all trials have in common
    assert set(shown[1:]) == {30}


class TestBasicsAndSeveralObjectives(BasicSamplerTestCase, MultiObjectiveSamplerTestCase):
    """Optuna's own suite for samplers."""

    @pytest.fixture
    def sampler(self) -> Callable[[], SteadySampler]:
        return lambda: SteadySampler(0)


class TestRelative(RelativeSamplerTestCase):
    """The suite's part that expects proposals from the second trial on."""

    @pytest.fixture
    def sampler(self) -> Callable[[], SteadySampler]:
        return lambda: SteadySampler(0, startup=0)
