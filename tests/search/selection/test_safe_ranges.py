"""Safe ranges, by eye."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search.selection.results import Neighbour, Neighbourhood, SafeRange
from search.selection.safe_ranges import safe_ranges
from spaces.config import Value
from tests.factories import configuration

CENTRE = configuration()


def around(*tried: tuple[str, Value, bool]) -> Neighbourhood:
    """Neighbours by hyperparameter, its value, and whether it is a cliff."""
    neighbours = tuple(
        Neighbour(
            changes={name: (getattr(CENTRE, name), value)},
            score=0.8,
            difference=0.0,
            collapsed=cliff,
            cliff=cliff,
        )
        for name, value, cliff in tried
    )
    return Neighbourhood(neighbours=neighbours, centre=0.8, se=0.01, drop=0.0, cliff=False)


def numbers(low: Value, high: Value, configurations: int) -> SafeRange:
    return SafeRange(low=low, high=high, choices=(), configurations=configurations)


def choices(*values: Value, configurations: int) -> SafeRange:
    return SafeRange(low=None, high=None, choices=values, configurations=configurations)


@pytest.mark.parametrize(
    ("tried", "equal", "expected"),
    [
        ([("dropout", 0.135, False), ("dropout", 0.065, False)], [], numbers(0.065, 0.135, 3)),
        ([("dropout", 0.135, True), ("dropout", 0.065, False)], [], numbers(0.065, 0.1, 2)),
        ([("dropout", 0.135, True)], [], numbers(0.1, 0.1, 1)),
        ([("dropout", 0.135, False)], [{"dropout": 0.5}, {"dropout": 0.1, "depth": 5}], numbers(0.1, 0.5, 4)),
        # what lies behind a cliff is another region
        ([("dropout", 0.135, True)], [{"dropout": 0.5}, {"dropout": 0.0}], numbers(0.0, 0.1, 2)),
        ([("dropout", 0.065, True)], [{"dropout": 0.5}, {"dropout": 0.0}], numbers(0.1, 0.5, 2)),
    ],
)
def test_range(tried: list[tuple[str, Value, bool]], equal: list[dict[str, Any]], expected: SafeRange) -> None:
    found = safe_ranges(CENTRE, around(*tried), [configuration(**changes) for changes in equal])
    assert found["dropout"] == expected


def test_choices_come_from_equal_configurations_in_the_order_of_the_space() -> None:
    equal = [CENTRE, configuration(initializer="orthogonal"), configuration(initializer="glorot_uniform", depth=4)]
    found = safe_ranges(CENTRE, None, equal)
    assert found["initializer"] == choices("glorot_uniform", "he_normal", "orthogonal", configurations=3)
    assert found["horizontal_flip"] == choices(False, configurations=3)
    assert found["depth"] == numbers(3, 4, 3)
    assert (type(found["depth"].high), found["learning_rate"]) == (int, numbers(1e-3, 1e-3, 3))


def test_what_means_nothing_says_nothing() -> None:
    plain = configuration(dense_ratio=0.0, head="average", dense_units=256)
    assert "weight_decay" not in safe_ranges(CENTRE, None, [plain])  # adam
    assert safe_ranges(CENTRE, None, [plain, configuration(depth=4)])["dense_units"] == numbers(64, 64, 2)


def test_without_any_evidence_there_are_no_ranges() -> None:
    assert safe_ranges(CENTRE, None, [CENTRE]) == {}
    assert list(safe_ranges(CENTRE, around(("dropout", 0.2, False)), [])) == ["dropout"]


VALUES = st.floats(0.0, 0.9)


@settings(max_examples=100)
@given(st.lists(st.tuples(VALUES, st.booleans()), max_size=4), st.lists(VALUES, max_size=4))
def test_a_range_holds_the_centre_and_no_cliff(tried: list[tuple[float, bool]], equal: list[float]) -> None:
    neighbours = around(*(("dropout", value, cliff) for value, cliff in tried if value != CENTRE.dropout))
    others = [configuration(dropout=value) for value in equal]
    found: Mapping[str, SafeRange] = safe_ranges(CENTRE, neighbours, others)
    if "dropout" in found:
        one = found["dropout"]
        assert one.low <= CENTRE.dropout <= one.high
        assert not any(cliff and value != CENTRE.dropout and one.low <= value <= one.high for value, cliff in tried)
        assert {one.low, one.high} <= {CENTRE.dropout, *equal, *(value for value, _ in tried)}
