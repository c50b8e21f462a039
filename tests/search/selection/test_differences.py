"""The changes between two configurations, by eye and as properties of any two."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from search.selection.differences import changes, difference, moves
from spaces.config import CHOICES, Configuration, ConfigurationError
from tests.factories import configuration


@pytest.mark.parametrize(
    ("start", "goal", "names"),
    [
        ({}, {}, ()),
        ({"dropout": 0.1}, {"dropout": 0.5}, ("dropout",)),
        ({"dense_ratio": 0.3}, {"dense_ratio": 0.35}, ()),  # one dense layer of three, both
        ({"depth": 4, "dense_ratio": 0.3}, {"depth": 8, "dense_ratio": 0.25}, ("depth",)),  # the ratio means the same
        ({"weight_decay": 0.1}, {"weight_decay": 0.2}, ()),  # not with adam
        ({"optimizer": "adam"}, {"optimizer": "sgd", "weight_decay": 0.1}, ("optimizer",)),
        ({"optimizer": "sgd", "weight_decay": 0.1}, {"optimizer": "adam"}, ("optimizer",)),
        ({"optimizer": "sgd", "weight_decay": 0.1}, {"optimizer": "adamw"}, ("optimizer", "weight_decay")),
        (
            {"dense_ratio": 0.0, "head": "average"},
            {"dense_ratio": 0.7, "head": "max", "dense_units": 16},
            ("dense_ratio", "head"),
        ),
        ({"dense_ratio": 1.0}, {"dense_ratio": 0.3, "width": 8, "kernel_size": 5, "head": "max"}, ("dense_ratio",)),
    ],
)
def test_what_means_nothing_is_no_difference(
    start: dict[str, Any], goal: dict[str, Any], names: tuple[str, ...]
) -> None:
    assert difference(configuration(**start), configuration(**goal)).names == names


def test_a_companion_goes_along_with_the_change_that_gives_it_a_meaning() -> None:
    start = configuration(dense_ratio=0.0, head="average", dense_units=128)
    ahead = difference(start, configuration(dense_ratio=0.3, head="average", dense_units=16))
    (move,) = moves(ahead)
    assert move.names == ("dense_ratio",)
    assert changes(start, move.configuration, ()) == {"dense_ratio": (0.0, 0.3), "dense_units": (None, 16)}


@pytest.mark.parametrize(
    ("start", "goal", "first"),
    [
        # batch normalization wants a batch of four
        (
            {"batch_size": 2, "normalization": "none"},
            {"batch_size": 16, "normalization": "batch"},
            [("batch_size",)],
        ),
        (
            {"batch_size": 16, "normalization": "batch"},
            {"batch_size": 2, "normalization": "none"},
            [("normalization",)],
        ),
        # 'flatten' wants a dense layer
        ({"head": "flatten"}, {"head": "average", "dense_ratio": 0.0}, [("head",)]),
        ({"head": "average", "dense_ratio": 0.0}, {"head": "flatten"}, [("dense_ratio",)]),
    ],
)
def test_only_configurations_that_can_be_are_passed(
    start: dict[str, Any], goal: dict[str, Any], first: list[tuple[str, ...]]
) -> None:
    found = moves(difference(configuration(**start), configuration(**goal)))
    assert [move.names for move in found] == first


def test_where_no_single_change_is_open_two_are_made_at_once() -> None:
    start, goal = configuration(), configuration(dropout=0.5, batch_size=32, learning_rate=0.1)
    ahead = difference(start, goal)
    barred = {move.configuration.hash for move in moves(ahead)}
    pairs = [("dropout", "batch_size"), ("dropout", "learning_rate"), ("batch_size", "learning_rate")]
    assert [move.names for move in moves(ahead, barred)] == pairs
    barred |= {move.configuration.hash for move in moves(ahead, barred)}
    (last,) = moves(ahead, barred)
    assert last.configuration.hash == goal.hash


def drawn(draw: st.DrawFn) -> Configuration:
    values: dict[str, Any] = {
        "depth": draw(st.integers(1, 12)),
        "dense_ratio": draw(st.sampled_from([0.0, 0.1, 0.25, 0.4, 0.5, 0.8, 1.0])),
        "dropout": draw(st.sampled_from([0.0, 0.3])),
        "batch_size": draw(st.sampled_from([1, 2, 4, 32])),
        "learning_rate": draw(st.sampled_from([1e-4, 1e-2])),
        "weight_decay": draw(st.sampled_from([0.0, 1e-3])),
        "width": draw(st.sampled_from([8, 16])),
        "dense_units": draw(st.sampled_from([16, 64])),
        "kernel_size": draw(st.sampled_from([3, 5])),
        "horizontal_flip": draw(st.booleans()),
        "backbone_rate": draw(st.sampled_from([0.1, 1.0])),
        **{name: draw(st.sampled_from(choices[:3])) for name, choices in CHOICES.items()},
    }
    try:
        made = Configuration(**values)
    except ConfigurationError:
        made = Configuration(**{**values, "normalization": "none", "head": "average", "statistics": "kept"})
    # batch normalization forbids small batches even where no layer has it
    idle = made.normalization == "batch" and not made.n_conv + made.n_dense
    return replace(made, normalization="none") if idle else made


configurations = st.composite(drawn)()


@example(  # two dense layers, on a backbone and without
    configuration(depth=3, dense_ratio=0.5, backbone="mobilenet_025", head="average"),
    configuration(depth=2, dense_ratio=0.8, head="flatten", shift=0.1),
)
@example(  # two dense layers, on a backbone both
    configuration(depth=4, dense_ratio=0.5, backbone="mobilenet_025", head="average"),
    configuration(depth=2, dense_ratio=0.8, backbone="mobilenet_025", head="average", dropout=0.1),
)
@example(  # none and two
    configuration(depth=2, dense_ratio=0.25, backbone="mobilenet_025", head="average"),
    configuration(depth=6, dense_ratio=0.8, head="flatten"),
)
@example(
    configuration(depth=2, dense_ratio=0.4, backbone="mobilenet_025", head="average"),
    configuration(depth=4, dense_ratio=0.25, head="flatten"),
)
@given(configurations, configurations)
@settings(max_examples=100, deadline=None)
def test_any_order_of_moves_leads_from_network_to_network_and_tells_every_difference_once(
    start: Configuration, goal: Configuration
) -> None:
    here = difference(start, goal)
    assert (here.start.hash, here.goal.hash) == (start.hash, goal.hash)
    told: dict[str, Any] = {}
    seen = {start.hash}
    while here.names:
        move = moves(here)[0]
        here = difference(move.configuration, here.goal)
        assert here.goal.hash == goal.hash
        assert here.start.hash not in seen  # every step is another network
        seen.add(here.start.hash)
        new = changes(start, here.start, told)
        assert set(move.names) <= set(new)
        told |= new
    assert here.start.hash == goal.hash
    rest = meaningful(goal)
    for name, (_, value) in told.items():
        assert rest.get(name, value) == value
    own = meaningful(start)
    different = {name for name, value in rest.items() if own.get(name) != value}
    left = {"normalization"} & (own.keys() - rest.keys())  # by batches: has to go before the batch may be small
    layers = {"depth", "dense_ratio"} if different & {"n_conv", "n_dense", "backbone"} else set()
    assert set(told) <= different | layers | left
    assert {name for name in different - {"n_conv", "n_dense"} if getattr(start, name) != rest[name]} <= set(told)


def meaningful(one: Configuration) -> dict[str, Any]:
    """What the network depends on, with what hashes leave out where it is as it always was."""
    return {
        **one.canonical(),
        **{name: getattr(one, name) for name in ("resolution", "classifier") if name in one.active},
    }


def test_the_ends_of_a_way_to_oneself_are_equal() -> None:
    one = configuration()
    assert difference(one, replace(one)).names == ()
    assert moves(difference(one, one)) == []
