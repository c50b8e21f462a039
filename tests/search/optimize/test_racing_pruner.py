"""Racing by Optuna's own interface decides as the plain functions do."""

from __future__ import annotations

import doctest
import math
import pickle
from collections.abc import Iterable
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState

from search.optimize import racing_pruner
from search.optimize.racing_pruner import RacingPruner, fold_scores
from search.selection.racing import residual_spread, should_stop

optuna.logging.set_verbosity(optuna.logging.ERROR)


def test_the_examples_in_the_docstrings_run() -> None:
    done = doctest.testmod(racing_pruner)
    assert done.attempted > 5
    assert done.failed == 0


def study(direction: str = "maximize", **options: Any) -> optuna.Study:
    return optuna.create_study(direction=direction, pruner=RacingPruner(**options))


def run(study: optuna.Study, scores: Iterable[float], **params: float) -> optuna.trial.FrozenTrial:
    """A trial with these fold scores: it ends where it is pruned, else with their mean."""
    if params:
        study.enqueue_trial(params)
    trial, seen = study.ask(), []
    for name in params:
        trial.suggest_float(name, -1e9, 1e9)
    for step, score in enumerate(scores, start=1):
        seen.append(score)
        trial.report(float(np.mean(seen)), step)
        if trial.should_prune():
            return study.tell(trial, state=TrialState.PRUNED)
    return study.tell(trial, float(np.mean(seen)))


@pytest.mark.parametrize("direction", ["maximize", "minimize"])
@pytest.mark.parametrize("seed", range(6))
def test_decisions_are_those_of_the_plain_functions(seed: int, direction: str) -> None:
    rng, folds, sign = np.random.default_rng(seed), 3 + seed % 3, 1 if direction == "maximize" else -1
    racing = study(direction)
    complete: list[list[float]] = []
    for number, quality in enumerate(rng.normal(0.7, 0.015, 60)):
        scores = np.round(quality + rng.normal(0, 0.02, folds), rng.integers(1, 6)).tolist()
        incumbent = max(complete, key=lambda done: float(np.mean(done)), default=[])
        spread = residual_spread(np.array(complete)) if complete else None
        stops = [should_stop(scores[:count], incumbent, spread) for count in range(1, folds + 1)]
        reason = next(filter(None, stops), None)
        ended = run(racing, [sign * score for score in scores], x=number)
        told = racing.pruner.reason(ended.number)  # type: ignore[attr-defined]
        assert (ended.state is TrialState.PRUNED) == (reason is not None) == (told is not None)
        if reason is None:
            complete.append(scores)
        else:
            assert len(ended.intermediate_values) == stops.index(reason) + 1
            assert told == reason if sign == 1 else told is not None
    assert 3 <= len(complete) <= 57


def test_reasons_name_losses_where_the_study_is_minimized() -> None:
    racing = study("minimize")
    run(racing, [0.3, 0.4, 0.2])
    run(racing, [0.5, 0.4, 0.2])
    assert racing.pruner.reason(1) == "mean of 1 fold 0.500 is above the worst fold 0.400 of the best trial"  # type: ignore[attr-defined]


def test_a_family_races_by_itself_and_the_reason_says_so() -> None:
    racing = study(family_of=lambda trial: trial.params["x"] > 5)
    run(racing, [0.9, 0.9, 0.9], x=9)
    assert run(racing, [0.5, 0.6, 0.5], x=1).state is TrialState.COMPLETE
    run(racing, [0.4, 0.6, 0.5], x=2)
    words = "mean of 1 fold 0.400 is below the worst fold 0.500 of the best trial of its family"
    assert racing.pruner.reason(2) == words  # type: ignore[attr-defined]


def test_a_pruner_that_is_told_of_the_ends_reads_the_study_once_and_decides_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = np.random.default_rng(3)
    rows = np.clip(rng.normal(0.7, 0.1, (40, 1)) + rng.normal(0, 0.03, (40, 5)), 0, 1)
    read, fed = study(), study()
    reads = 0
    real = optuna.Study.get_trials

    def count(self: optuna.Study, *arguments: Any, **options: Any) -> Any:
        nonlocal reads
        reads += self is fed
        return real(self, *arguments, **options)

    monkeypatch.setattr(optuna.Study, "get_trials", count)
    for row in rows:
        first, second = run(read, row), run(fed, row)
        fed.pruner.observe(fed, second)  # type: ignore[attr-defined]
        assert (first.state, first.intermediate_values) == (second.state, second.intermediate_values)
        assert read.pruner.reason(first.number) == fed.pruner.reason(second.number)  # type: ignore[attr-defined]
    assert reads == 1


def test_fold_scores_are_exact() -> None:
    scores = [0.8125, 0.6875, 0.1, 2 / 3, 0.7]
    means = {step: float(np.mean(scores[:step])) for step in range(1, 6)}
    assert fold_scores(means) == [0.8125, 0.6875, 0.1, pytest.approx(2 / 3, abs=1e-12), 0.7]
    assert fold_scores({0: 0.5, 1: 0.75}) == [0.5, 1.0]  # steps may begin at 0
    assert fold_scores({}) == []


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_value_that_is_not_finite_prunes_nothing(value: float) -> None:
    racing = study()
    run(racing, [0.9, 0.9, 0.9])
    trial = racing.ask()
    trial.report(value, 1)
    assert not trial.should_prune()
    trial = racing.ask()
    trial.report(0.1, 1)
    assert trial.should_prune()


def test_nothing_is_pruned_without_reports_without_a_complete_trial_and_on_the_last_fold() -> None:
    racing = study()
    assert not racing.ask().should_prune()
    assert run(racing, [0.1, 0.9, 0.1]).state is TrialState.COMPLETE
    racing.add_trial(optuna.trial.create_trial(value=5.0))  # was not judged fold by fold
    assert run(racing, [0.9, 0.9, 0.9]).state is TrialState.COMPLETE
    assert run(racing, [0.9, 0.9, 0.1]).state is TrialState.COMPLETE


def test_of_equals_the_lowest_number_is_the_best() -> None:
    """By whatever the caller counts trials."""
    first, second = [0.6, 0.8], [0.8, 0.6]
    for number_of, worst_at_first in ((lambda trial: trial.number, True), (lambda trial: -trial.number, False)):
        racing = study(number_of=number_of)
        run(racing, first, x=1)
        run(racing, second, x=2)
        run(racing, [0.2, 0.2], x=3)
        pruner = racing.pruner
        assert isinstance(pruner, RacingPruner)
        assert (pruner._scores[None][pruner._best[None][2]] == first) is worst_at_first


def test_trials_of_one_configuration_count_once() -> None:
    racing = study()
    for x, scores in ((1, [0.80, 0.70, 0.75]), (1, [0.80, 0.70, 0.75]), (2, [0.78, 0.72, 0.76])):
        run(racing, scores, x=x)
    trial = racing.ask()
    trial.report(0.73, 1)
    assert not trial.should_prune()  # two configurations say nothing of the spread


def test_a_pruner_may_be_pickled_and_may_serve_another_study() -> None:
    racing = study()
    run(racing, [0.9, 0.9, 0.9])
    pruner = pickle.loads(pickle.dumps(RacingPruner()))
    other = optuna.create_study(direction="maximize", pruner=racing.pruner)
    assert run(other, [0.1, 0.1, 0.1]).state is TrialState.COMPLETE  # the other study's trials are no measure
    again = optuna.create_study(direction="maximize", pruner=pruner)
    run(again, [0.9, 0.9, 0.9])
    assert run(again, [0.1, 0.1, 0.1]).state is TrialState.PRUNED
