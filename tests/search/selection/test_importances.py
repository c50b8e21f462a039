"""Importances of made-up studies of which the truth is known."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search import seeds
from search.records import Fit, Trial, TrialState, Verdict
from search.selection import importances as module
from search.selection.importances import MIN_OF_EACH, MIN_TRIALS, explained, importances
from search.selection.results import Importances
from spaces.config import Configuration
from spaces.presets import CORE, DEFAULT
from spaces.space import Space
from tests.factories import configuration, drawn

pytestmark = pytest.mark.slow

Score = Callable[[Configuration], float]

EXACT = {**configuration().as_dict(), "backbone": "efficientnet_lite0", "head": "average", "classifier": "logistic"}


@pytest.fixture(autouse=True, scope="module")
def fewer_trees() -> Iterator[None]:
    """Quicker, and good enough for what is clear."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_TREES", 50)
        patch.setattr(module, "_PERMUTATIONS", 5)
        yield


def rate(one: Configuration) -> float:
    return float(np.log10(one.learning_rate))


def made(score: Score, count: int, space: Space = CORE, noise: float = 0.02, seed: int = 0) -> list[Trial]:
    """Trials of three folds; where the score is NaN the first fold collapsed."""
    rng = seeds.generator(seed, "made")
    return [trial(one, number, score(one), rng, noise) for number, one in enumerate(drawn(space, seed, count))]


def trial(one: Configuration, number: int, value: float, rng: np.random.Generator, noise: float = 0.02) -> Trial:
    dead = np.isnan(value)
    scores = [0.5] if dead else value + rng.normal(0, noise, 3)
    fits = tuple(
        Fit(
            key=f"{number} {fold}",
            trial=number,
            stage="search",
            configuration=one.hash,
            repeat=0,
            fold=fold,
            attempt=0,
            seed=0,
            verdict=Verdict.COLLAPSED if dead else Verdict.LEARNED,
            score=float(score),
        )
        for fold, score in enumerate(scores)
    )
    return Trial(
        number=number, state=TrialState.COLLAPSED if dead else TrialState.COMPLETE, configuration=one, fits=fits
    )


def found(trials: Sequence[Trial]) -> Importances:
    known = importances(trials, 0.5)
    assert known is not None
    return known


def dies_of_its_rate(one: Configuration) -> float:
    """A high rate kills; among the living the rate says little and dropout much."""
    return float("nan") if rate(one) > -2 else 0.8 - 0.4 * one.dropout


def test_what_decides_on_the_score_and_what_on_collapse_are_told_apart() -> None:
    known = found(made(dies_of_its_rate, 80))
    assert next(iter(known.score)) == "dropout"
    assert next(iter(known.collapse)) == "learning_rate"
    assert known.score["dropout"] > 0.4 > 0.1 > known.score["learning_rate"]
    assert known.collapse["learning_rate"] > 0.4 > 0.1 > known.collapse["dropout"]
    assert known.trials + known.collapsed == 80


def test_pure_noise_explains_almost_nothing() -> None:
    known = found(made(lambda one: 0.7, 100, DEFAULT))
    assert sum(known.score.values()) < 0.15
    assert known.collapse == {}


@pytest.mark.parametrize("count", [40, 120])
def test_one_choice_that_is_bad_is_found_among_twenty_hyperparameters(count: int) -> None:
    known = found(made(lambda one: 0.8 - 0.2 * (one.head == "max") - 0.1 * (one.activation == "tanh"), count, DEFAULT))
    assert next(iter(known.score)) == "head"


def test_an_effect_twice_as_large_explains_four_times_the_variance() -> None:
    trials = made(lambda one: 0.5 + 0.2 * one.vertical_flip + 0.1 * one.horizontal_flip, 300, DEFAULT, noise=0.0)
    known = found(trials).score
    assert known["vertical_flip"] == pytest.approx(0.8, abs=0.06)
    assert known["horizontal_flip"] == pytest.approx(0.2, abs=0.06)


def test_a_hyperparameter_that_means_nothing_in_most_trials_is_judged_by_the_others() -> None:
    """Weight decay counts with two optimizers of three only."""
    known = found(made(lambda o: 0.8 - 0.1 * (o.optimizer != "adam" and o.weight_decay > 1e-4), 150, DEFAULT))
    assert next(iter(known.score)) == "weight_decay"
    only = explained([configuration(dense_ratio=0.0, head="max", dense_units=n + 1) for n in range(30)], range(30), 0)
    assert only == {}


@settings(max_examples=5, deadline=None)
@given(st.sampled_from([CORE, DEFAULT]), st.integers(20, 50), st.integers(0, 1000))
def test_shares_are_ordered_not_negative_and_add_up_to_one_at_most(space: Space, count: int, seed: int) -> None:
    """Also where hyperparameters only count together, and some trials were raced out."""
    trials = made(lambda one: rate(one) * (one.dropout > 0.3) * (one.depth > 5) + 5, count, space, 0.0, seed)
    known = found([replace(one, fits=one.fits[: 1 + one.number % 3]) for one in trials])
    values = list(known.score.values())
    assert values == sorted(values, reverse=True)
    assert min(values) >= 0
    assert sum(values) <= 1 + 1e-9
    assert set(known.score) <= {name for one in trials for name in one.configuration.active}


def test_order_repeated_configurations_and_trials_that_failed_or_were_interrupted_change_nothing() -> None:
    trials = made(dies_of_its_rate, 40)
    again = trial(trials[0].configuration, 99, 0.1, np.random.default_rng(0))
    lost = [
        Trial(number=100 + n, state=state, configuration=configuration(dropout=n / 50), fits=trials[0].fits)
        for n, state in enumerate(10 * [TrialState.FAILED, TrialState.INTERRUPTED])
    ]
    assert importances([*lost, *trials[::-1], again], 0.5) == importances(trials, 0.5)


def test_raced_trials_are_not_judged_by_how_easy_the_first_fold_is() -> None:
    plain = made(lambda one: 0.8 - 0.4 * one.dropout, 60, noise=0.0)
    plain = [replace(t, fits=t.fits[:1], state=TrialState.RACED) if t.number % 3 else t for t in plain]
    easy = {0: 0.2, 1: 0.0, 2: -0.2}
    shifted = [
        replace(t, fits=tuple(replace(fit, score=(fit.score or 0.0) + easy[fit.fold]) for fit in t.fits)) for t in plain
    ]
    known, wanted = found(shifted), found(plain)
    assert known.score["dropout"] == pytest.approx(wanted.score["dropout"], rel=0.05)
    assert known.score["dropout"] > 0.6


@pytest.mark.parametrize(
    ("alive", "dead", "score", "collapse"),
    [
        (MIN_TRIALS, 0, True, False),
        (MIN_TRIALS, MIN_OF_EACH - 1, True, False),
        (MIN_TRIALS, MIN_OF_EACH, True, True),
        (MIN_OF_EACH, MIN_TRIALS, False, True),
        (0, MIN_TRIALS, False, False),
    ],
)
def test_each_part_needs_its_trials(alive: int, dead: int, score: bool, collapse: bool) -> None:
    rng = np.random.default_rng(0)
    values: list[Any] = [*alive * [0.8], *dead * [float("nan")]]
    trials = [
        trial(one, n, value, rng)
        for n, (one, value) in enumerate(zip(drawn(CORE, 0, len(values)), values, strict=True))
    ]
    known = found(trials)
    assert (bool(known.score), bool(known.collapse)) == (score, collapse)
    assert (known.trials, known.collapsed) == (alive, dead)


def test_too_few_trials_give_none() -> None:
    assert importances(made(dies_of_its_rate, MIN_TRIALS - 1), 0.5) is None
    assert importances([], 0.5) is None


def test_scores_that_are_all_the_same_give_zeros() -> None:
    assert set(explained(drawn(CORE, 0, 30), 30 * [0.8], 0).values()) == {0.0}


def test_what_matters_within_a_family_is_not_hidden_by_the_difference_between_families() -> None:
    """Pretrained networks are far ahead; among those from scratch the rate decides, among the others the classifier."""
    pretrained = Configuration(**{**EXACT, "resolution": 224})
    both = made(rate, 40)
    rng = seeds.generator(1, "exact")
    for number in range(40, 70):
        one = replace(pretrained, classifier=("logistic", "ridge")[number % 2], resolution=160 + number)
        both.append(trial(one, number, 8.0 + (number % 2), rng))
    found = importances(both, 0.5)
    assert found is not None
    assert set(list(found.score)[:2]) == {"learning_rate", "classifier"}
    assert found.score["learning_rate"] > 0.1
    assert found.score["classifier"] > 0.1
    assert found.score.get("backbone", 0.0) < 0.05


def test_classifiers_that_cannot_collapse_say_nothing_of_collapses() -> None:
    trained = made(dies_of_its_rate, 60)
    rng = seeds.generator(2, "exact")
    exact = [
        trial(Configuration(**{**EXACT, "resolution": 100 + number}), number, 0.9, rng) for number in range(60, 90)
    ]
    alone, beside = importances(trained, 0.5), importances([*trained, *exact], 0.5)
    assert alone is not None
    assert beside is not None
    assert beside.collapse == alone.collapse
