from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports.scales import Scale

values = st.lists(st.floats(-40, 1), min_size=1, max_size=9)


@given(values)
def test_every_value_lies_inside_in_order(found: list[float]) -> None:
    scale = Scale.around(found)
    assert all(scale.low <= value <= scale.high + 1e-9 for value in found)
    places = [scale.place(value) for value in sorted(found)]
    assert places == sorted(places)
    assert all(0 <= place <= 100 for place in places)


@given(values)
def test_ticks_are_few_and_inside(found: list[float]) -> None:
    scale = Scale.around(found)
    ticks = scale.ticks()
    assert 0 < len(ticks) <= 9
    assert all(scale.low - 1e-6 <= tick <= scale.high + 1e-6 for tick in ticks)


@pytest.mark.parametrize(("value", "place"), [(0.5, 0), (0.75, 50), (1.0, 100), (0.2, 0), (3.0, 100)])
def test_places_are_percent_of_the_width(value: float, place: float) -> None:
    assert Scale(0.5, 1.0).place(value) == place
