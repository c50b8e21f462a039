from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports.plots.axes import Axis
from search.selection.results import SafeRange


@given(st.lists(st.floats(1e-6, 0.5), min_size=2, max_size=30, unique_by=lambda value: f"{value:.3g}"))
def test_every_number_lies_in_exactly_one_cell(values: list[float]) -> None:
    for name in ("learning_rate", "dropout"):
        axis = Axis.over(name, values)
        assert axis is not None
        for value in values:
            assert sum(cell.contains(axis.place(value)) for cell in axis.cells()) == 1


@pytest.mark.parametrize("name", ["initializer", "horizontal_flip"])
def test_every_choice_has_its_own_cell(name: str) -> None:
    values = {"initializer": ["he_normal", "orthogonal", "he_normal"], "horizontal_flip": [True, False]}[name]
    axis = Axis.over(name, values)
    assert axis is not None
    assert [sum(cell.contains(axis.place(value)) for value in axis.choices) for cell in axis.cells()] == [1, 1]
    for number in range(50):
        assert abs(axis.spread(values[0], number) - axis.place(values[0])) < 0.3


def test_one_value_makes_no_axis() -> None:
    assert Axis.over("dropout", [0.5, 0.5]) is None


def test_choices_keep_their_own_order_and_only_what_was_tried() -> None:
    axis = Axis.over("optimizer", ["sgd", "adam"])
    assert axis is not None
    assert axis.choices == ("adam", "sgd")
    assert axis.settings()["ticktext"] == ["adam", "sgd"]
    assert axis.spans(SafeRange(low=None, high=None, choices=("sgd", "adamw"), configurations=2)) == [(0.55, 1.45)]


@pytest.mark.parametrize(
    ("name", "values", "ticks"),
    [
        ("learning_rate", [1e-5, 3e-2], ["10⁻⁵", "10⁻⁴", "10⁻³", "10⁻²"]),
        ("learning_rate", [3e-4, 2e-2], ["0.0005", "0.001", "0.002", "0.005", "0.01", "0.02"]),
        ("batch_size", [4, 128], ["4", "8", "16", "32", "64", "128"]),
    ],
)
def test_ticks_of_factors(name: str, values: list[float], ticks: list[str]) -> None:
    axis = Axis.over(name, values)
    assert axis is not None
    assert axis.settings()["type"] == "log"
    assert axis.settings()["ticktext"] == ticks
