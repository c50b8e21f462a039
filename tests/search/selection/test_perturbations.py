"""Slightly changed copies, by eye and as properties of any configuration of a space."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search import seeds
from search.records import Variant
from search.selection.perturbations import COUNT, FACTOR, perturbed
from spaces.config import CHOICES, FIELDS, Configuration
from spaces.definitions import Choices, Definition, Fixed, Range
from spaces.presets import CORE, DEFAULT
from spaces.space import Space
from tests.factories import configuration, drawn


def values(copies: tuple[Variant, ...], name: str) -> list[Any]:
    """What this hyperparameter becomes, ascending."""
    return sorted(copy.changes[name][1] for copy in copies if name in copy.changes)


def around(one: Configuration, space: Space = DEFAULT, count: int = 100) -> tuple[Variant, ...]:
    return perturbed(one, space, count, np.random.default_rng(0))


@pytest.mark.parametrize(
    ("changes", "name", "expected"),
    [
        ({"learning_rate": 1e-3}, "learning_rate", [0.0007937, 0.00126]),
        ({"depth": 5}, "depth", [4, 6]),
        ({"depth": 1, "dense_ratio": 0.0, "head": "max"}, "depth", [2]),
        ({"batch_size": 16}, "batch_size", [13, 20]),
        ({"batch_size": 2}, "batch_size", [3]),  # the space begins there
        ({"batch_size": 256}, "batch_size", [203]),
        ({"batch_size": 4, "normalization": "batch"}, "batch_size", [5]),
        ({"dropout": 0.1}, "dropout", [0.065, 0.135]),
        ({"dropout": 0.0}, "dropout", [0.035]),
        ({"dropout": 0.02}, "dropout", [0.0, 0.055]),
        ({"dense_ratio": 0.3}, "dense_ratio", [2 / 3]),  # flatten needs a dense layer
        ({"dense_ratio": 0.3, "head": "max"}, "dense_ratio", [0.0, 2 / 3]),
        ({"depth": 12, "dense_ratio": 0.5}, "dense_ratio", [0.45, 0.55]),
        ({"width": 16}, "width", [13, 20]),
        ({"dense_units": 1}, "dense_units", [2]),
        ({"weight_decay": 1e-4}, "weight_decay", []),  # not with adam
        ({"weight_decay": 1e-4, "optimizer": "sgd"}, "weight_decay", [7.937e-5, 1.26e-4]),
        ({"dense_ratio": 1.0}, "width", []),
        ({"dense_ratio": 0.0, "head": "max"}, "dense_units", []),
        ({"kernel_size": 3}, "kernel_size", [5]),
        ({"kernel_size": 5}, "kernel_size", [3]),
        ({"shift": 0.0}, "shift", [0.01]),
        ({"rotation": 15.0}, "rotation", [14.25, 15.75]),
    ],
)
def test_each_hyperparameter_moves_by_a_small_step(changes: dict[str, Any], name: str, expected: list[float]) -> None:
    assert values(around(configuration(**changes)), name) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(
    ("definition", "expected"),
    [
        (Fixed(0.1), []),
        (Range(0.0, 0.2), [0.09, 0.11]),
        (Range(0.05, 0.8, log=True), [0.1 / FACTOR, 0.1 * FACTOR]),
        (Choices((0.1, 0.2, 0.4)), [0.1 / FACTOR, 0.1 * FACTOR]),
    ],
)
def test_the_step_is_the_spaces_and_what_it_fixes_stays(definition: Definition, expected: list[float]) -> None:
    space = CORE.changed({"dropout": definition})
    assert values(around(configuration(), space), "dropout") == pytest.approx(expected, abs=1e-4)


def test_the_learning_rate_goes_both_ways_and_the_rest_is_spread_over_as_many_as_possible() -> None:
    copies = around(configuration(optimizer="sgd", weight_decay=1e-4), count=COUNT)
    names = [name for copy in copies for name in copy.changes]
    assert names[:2] == ["learning_rate", "learning_rate"]
    assert len(names) == COUNT == len(set(names)) + 1


def test_the_core_space_gives_ten_copies() -> None:
    copies = around(configuration(depth=6, dense_ratio=0.5), CORE, COUNT)
    names = ["batch_size", "dense_ratio", "depth", "dropout", "learning_rate"]
    assert sorted(name for copy in copies for name in copy.changes) == sorted(2 * names)


def test_a_space_without_freedom_has_no_copies() -> None:
    one = configuration()
    space = Space("fixed", {name: Fixed(getattr(one, name)) for name in FIELDS})
    assert around(one, space) == ()


@settings(max_examples=60, deadline=None)
@given(st.sampled_from([CORE, DEFAULT]), st.integers(0, 10_000), st.integers(0, 14))
def test_copies_differ_from_the_centre_and_from_each_other_in_one_number(space: Space, seed: int, count: int) -> None:
    (centre,) = drawn(space, seed)
    copies = perturbed(centre, space, count, seeds.generator(seed, "copies"))
    assert copies == perturbed(centre, space, count, seeds.generator(seed, "copies"))
    hashes = [copy.configuration.hash for copy in copies]
    assert len({*hashes, centre.hash}) == len(copies) + 1
    assert len(copies) <= count
    for copy in copies:
        ((name, (old, new)),) = copy.changes.items()
        assert name not in CHOICES
        assert FIELDS[name] != "bool"
        assert old == getattr(centre, name) != new
        assert copy.configuration == replace(centre, **{name: new})
        assert name in centre.active


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000))
def test_eight_to_twelve_copies_of_what_the_default_space_samples(seed: int) -> None:
    (centre,) = drawn(DEFAULT, seed)
    assert 8 <= len(perturbed(centre, DEFAULT, COUNT, seeds.generator(seed, "copies"))) <= 12
