"""The walk: which change comes when, how many configurations that costs, and what is told of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search.records import Ablation, AblationStep, TrialState, Waypoint
from search.selection.ablation import SPARE, USUAL_ORDER, AblationPath, gain_error, gains
from search.selection.differences import difference
from search.selection.surrogate_model import Surrogate, encoded, observed_scores
from search.storage.load import restored_ablation
from spaces.config import FIELDS, Configuration
from tests.factories import configuration
from tests.search.selection.conftest import trial

pytestmark = pytest.mark.slow

START = configuration()
GOAL = configuration(dropout=0.5, batch_size=32, learning_rate=0.1, initializer="orthogonal")
NAMES = ("initializer", "dropout", "batch_size", "learning_rate")

Score = Callable[[Configuration], float | None]


def changed(one: Configuration, start: Configuration = START) -> frozenset[str]:
    return frozenset(name for name in FIELDS if getattr(one, name) != getattr(start, name))


def point(one: Configuration, score: float | None) -> Waypoint:
    return Waypoint(configuration=one.hash, scores=() if score is None else (score, score))


class Bench:
    """Measures by a formula, and counts. `most` is how many fit into the time."""

    def __init__(self, score: Score, most: int = 1000) -> None:
        self.score, self.most = score, most
        self.seen: list[Configuration] = []

    def __call__(self, one: Configuration) -> Waypoint | None:
        if len(self.seen) == self.most:
            return None
        self.seen.append(one)
        return point(one, self.score(one))


class Oracle(Surrogate):
    """Predicts by a formula."""

    def __init__(self, score: Callable[[Configuration], float]) -> None:
        super().__init__([], 0)
        self.score = score

    def predict(self, configurations: Any) -> list[float]:
        return [self.score(one) for one in configurations]


def by(weights: Mapping[str, float]) -> Callable[[Configuration], float]:
    return lambda one: 0.5 + sum(weights[name] for name in changed(one))


def walk(
    measured: Score,
    predicted: Callable[[Configuration], float] | None,
    most: int = 1000,
    start: Configuration = START,
    goal: Configuration = GOAL,
) -> tuple[list[AblationStep], Bench, bool]:
    bench = Bench(measured, most)
    ends = point(start, measured(start)), point(goal, measured(goal))
    one = AblationPath(start, goal, ends, bench, None if predicted is None else Oracle(predicted))
    reached = one.run()
    return one.steps, bench, reached


def order(steps: list[AblationStep]) -> list[tuple[str, ...]]:
    return [tuple(step.changes) for step in steps]


def test_the_change_with_the_highest_predicted_gain_comes_first() -> None:
    score = by({"dropout": 0.05, "batch_size": 0.2, "learning_rate": 0.1, "initializer": 0.01})
    steps, bench, reached = walk(score, score)
    assert order(steps) == [("batch_size",), ("learning_rate",), ("dropout",), ("initializer",)]
    assert [step.predicted for step in steps] == pytest.approx([0.2, 0.1, 0.05, 0.01])
    assert [step.reached.score for step in steps] == pytest.approx([0.7, 0.8, 0.85, 0.86])
    assert steps[0].changes == {"batch_size": (16, 32)}
    assert len(bench.seen) == 3  # the goal is known
    assert reached
    assert not any(step.instead for step in steps)


def test_without_a_surrogate_the_usual_order_is_taken() -> None:
    steps, _, _ = walk(by({"dropout": 0.05, "batch_size": 0.2, "learning_rate": 0.1, "initializer": 0.01}), None)
    assert order(steps) == [("learning_rate",), ("initializer",), ("batch_size",), ("dropout",)]
    assert {step.predicted for step in steps} == {None}


def test_the_usual_order_names_every_hyperparameter_once() -> None:
    assert sorted(USUAL_ORDER) == sorted(FIELDS)


def test_where_the_expected_gain_does_not_come_the_next_best_is_tried_and_the_better_taken() -> None:
    predicted = by({"dropout": 0.3, "batch_size": 0.2, "learning_rate": 0.1, "initializer": 0.0})
    truth = by({"dropout": -0.1, "batch_size": 0.2, "learning_rate": 0.1, "initializer": 0.1})
    steps, bench, _ = walk(truth, predicted)
    assert order(steps)[0] == ("batch_size",)
    instead = steps[0].instead
    assert instead is not None
    assert (instead.changes, instead.predicted) == ({"dropout": (0.1, 0.5)}, pytest.approx(0.3))
    assert instead.reached.score == pytest.approx(0.4)
    assert set().union(*order(steps)) == set(NAMES)
    # it is proposed again at the next places, each time in vain, and comes last
    assert order(steps)[-1] == ("dropout",)
    assert len(bench.seen) == 3 + sum(step.instead is not None for step in steps)


def test_a_gain_that_was_not_expected_either_costs_no_spare_one() -> None:
    predicted = by({"dropout": -0.1, "batch_size": -0.2, "learning_rate": -0.3, "initializer": -0.4})
    steps, bench, _ = walk(predicted, predicted)
    assert order(steps) == [("dropout",), ("batch_size",), ("learning_rate",), ("initializer",)]
    assert len(bench.seen) == 3


def test_on_a_plateau_of_collapse_a_second_change_is_tried() -> None:
    """Only both changes together make the network learn."""

    def score(one: Configuration) -> float:
        return 0.9 if {"dropout", "batch_size"} <= changed(one) else 0.5

    steps, bench, _ = walk(score, None)
    assert [step.reached.score for step in steps][-1] == 0.9
    assert len(bench.seen) <= 3 + SPARE


def test_what_can_not_be_fitted_is_walked_around() -> None:
    def score(one: Configuration) -> float | None:
        return None if changed(one) == {"dropout"} else 0.5 + 0.1 * len(changed(one))

    predicted = by({"dropout": 0.4, "batch_size": 0.2, "learning_rate": 0.1, "initializer": 0.05})
    steps, bench, reached = walk(score, predicted)
    assert order(steps) == [("batch_size",), ("dropout",), ("learning_rate",), ("initializer",)]
    assert reached
    assert len(bench.seen) == 4


def test_where_no_single_change_can_be_fitted_two_are_made() -> None:
    def score(one: Configuration) -> float | None:
        return None if len(changed(one)) == 1 else 0.5 + 0.1 * len(changed(one))

    steps, _, reached = walk(score, None, goal=configuration(dropout=0.5, batch_size=32, learning_rate=0.1))
    assert [set(names) for names in order(steps)] == [{"learning_rate", "batch_size"}, {"dropout"}]
    assert reached


def test_when_nothing_on_the_way_can_be_fitted_the_rest_is_one_step() -> None:
    steps, bench, reached = walk(lambda one: 0.9 if one in (START, GOAL) else None, None)
    assert [set(names) for names in order(steps)] == [set(NAMES)]
    assert not reached
    assert len(bench.seen) <= 3 + SPARE


@pytest.mark.parametrize("most", [0, 1, 2])
def test_when_the_time_is_over_the_last_step_takes_the_rest(most: int) -> None:
    score = by({"dropout": 0.05, "batch_size": 0.2, "learning_rate": 0.1, "initializer": 0.01})
    steps, _, reached = walk(score, score, most)
    assert not reached
    assert len(steps) == most + 1
    assert order(steps)[:most] == [("batch_size",), ("learning_rate",)][:most]
    assert steps[-1].reached.configuration == GOAL.hash
    assert sum(len(names) for names in order(steps)) == len(NAMES)


def test_an_end_of_time_at_an_alternative_keeps_the_proposed_change() -> None:
    truth = by({"dropout": -0.1, "batch_size": 0.2, "learning_rate": 0.1, "initializer": 0.1})
    steps, _, _ = walk(truth, by({"dropout": 0.3, "batch_size": 0.2, "learning_rate": 0.1, "initializer": 0.0}), 1)
    assert order(steps)[0] == ("dropout",)
    assert steps[0].instead is None


def landscape(seed: int) -> dict[frozenset[str], float | None]:
    """A score for every set of changes, every seventh configuration not to be fitted."""
    rng = np.random.default_rng(seed)
    sets = [frozenset(part) for size in range(5) for part in combinations(NAMES, size)]
    return {part: None if rng.random() < 1 / 7 else float(rng.random()) for part in sets}


landscapes = st.integers(0, 10**6).map(landscape)


@given(landscapes, landscapes)
@settings(max_examples=30, deadline=None)
def test_on_any_landscape_the_way_is_one_of_all_ways_and_costs_no_more_than_allowed(
    truth: dict[frozenset[str], float | None], belief: dict[frozenset[str], float | None]
) -> None:
    truth = {**truth, frozenset(): 0.5, frozenset(NAMES): 0.9}
    steps, bench, _ = walk(lambda one: truth[changed(one)], lambda one: belief[changed(one)] or 0.0)
    assert len(bench.seen) <= len(NAMES) - 1 + SPARE
    names = [name for step in steps for name in step.changes]
    assert sorted(names) == sorted(NAMES)
    done: set[str] = set()
    for step in steps:
        done |= set(step.changes)
        assert step.reached.score == truth[frozenset(done)]
        if step.instead is not None:
            assert step.instead.reached.score <= step.reached.score


@given(landscapes)
@settings(max_examples=30, deadline=None)
def test_with_a_true_surrogate_and_gains_everywhere_it_is_the_greedy_way(
    truth: dict[frozenset[str], float | None],
) -> None:
    """Against a loop over all changes at each step."""
    rise = {done: len(done) + (score or 0.0) / 2 for done, score in truth.items()}
    steps, _, _ = walk(lambda one: rise[changed(one)], lambda one: rise[changed(one)])
    done: frozenset[str] = frozenset()
    for step in steps:
        best = max(rise[done | {name}] for name in set(NAMES) - done)
        assert step.reached.score == best
        done |= set(step.changes)


def test_a_surrogate_learns_where_networks_collapse_and_puts_the_decisive_change_first() -> None:
    rng = np.random.default_rng(0)
    known = []
    for _ in range(60):
        rate, dropout = float(10 ** rng.uniform(-5, -0.5)), float(rng.uniform(0, 0.7))
        one = configuration(
            learning_rate=rate, dropout=dropout, initializer=str(rng.choice(["orthogonal", "lecun_normal"]))
        )
        known.append((one, 0.5 if rate > 0.02 else 0.8 - 0.1 * dropout))
    surrogate = Surrogate(known, seed=1)
    start, goal = (
        configuration(learning_rate=0.2, dropout=0.6, initializer="lecun_normal"),
        configuration(learning_rate=0.001, dropout=0.1, initializer="orthogonal"),
    )
    path = difference(start, goal)
    bench = Bench(lambda one: 0.5 if one.learning_rate > 0.02 else 0.8)
    ablation = AblationPath(start, goal, (point(start, 0.5), point(goal, 0.8)), bench, surrogate)
    ablation.run()
    assert order(ablation.steps)[0] == ("learning_rate",)
    assert ablation.steps[0].predicted == pytest.approx(0.25, abs=0.08)
    assert len(path.names) == len(ablation.steps) == 3


def test_what_is_learned_on_the_way_is_believed() -> None:
    surrogate = Surrogate([(configuration(dropout=d), 0.5) for d in np.linspace(0, 0.9, 10)], seed=0)
    before = surrogate.predict([configuration(width=64)])[0]
    for _ in range(5):
        surrogate.learn(configuration(width=64), 1.0)
    assert surrogate.predict([configuration(width=64)])[0] > before + 0.2


def test_known_scores_hold_each_judged_configuration_once_and_collapsed_ones_at_chance(labels: np.ndarray) -> None:
    trials = [
        trial(labels, 0, quality=5.0),
        trial(labels, 1, quality=5.0, collapsed=(2,)),
        trial(labels, 2, state=TrialState.FAILED),
        trial(labels, 3, quality=5.0, run=1, state=TrialState.RACED),
        trial(labels, 0, quality=5.0),
    ]
    found = observed_scores(trials, chance=1 / 3)
    assert [one.hash for one, _ in found] == [trials[n].configuration.hash for n in (0, 1, 3)]
    assert found[1][1] == pytest.approx(1 / 3)
    assert found[0][1] > 0.8 < found[2][1]


def test_equal_networks_are_equal_to_the_forest() -> None:
    assert encoded(configuration(dense_ratio=0.3)) == encoded(configuration(dense_ratio=0.35, weight_decay=0.1))
    assert encoded(configuration(dense_ratio=0.3)) != encoded(configuration(dense_ratio=0.7))


def ablation(*scores: tuple[float, ...]) -> Ablation:
    points = [Waypoint(configuration=f"{place}", scores=each) for place, each in enumerate(scores)]
    steps = tuple(
        AblationStep(changes={"dropout": (0.1, 0.2), "dense_units": (None, 16)}, reached=reached, predicted=0.1)
        for reached in points[1:]
    )
    return Ablation(start=points[0], steps=steps, goal="g", folds=len(scores[0]), trials=20, trained=9, seconds=1.0)


def test_gains_and_their_error() -> None:
    one = ablation((0.5, 0.5), (0.5, 0.5), (0.7, 0.9), (0.8, 0.8))
    assert gains(one) == pytest.approx([0.0, 0.3, 0.0])
    # differences .2 .4 and .1 -.1: squares .02 + .02 over 2 degrees of freedom; two fits of five folds
    assert gain_error(one, folds=5) == pytest.approx(np.sqrt(0.02) * np.sqrt(1 / 2 + 1 / 4))


@pytest.mark.parametrize("scores", [[(0.5,), (0.7,)], [(0.5, 0.5), (0.5, 0.5)], [(0.5, 0.5)]])
def test_no_error_is_told_where_there_is_none_to_be_had(scores: list[tuple[float, ...]]) -> None:
    assert gain_error(ablation(*scores), folds=5) is None


def test_the_way_comes_back_from_json_as_it_was() -> None:
    steps, _, _ = walk(by(dict.fromkeys(NAMES, -0.1)), by(dict.fromkeys(NAMES, 0.1)))
    assert any(step.instead for step in steps)
    one = Ablation(
        start=Waypoint(configuration="s", scores=(0.5, 0.5), reasons=("dead-layer",)),
        steps=tuple(steps),
        goal=GOAL.hash,
        folds=2,
        trials=20,
        trained=9,
        seconds=1.5,
        note="n",
    )
    assert restored_ablation(json.loads(json.dumps(asdict(one)))) == one
