from __future__ import annotations

import pytest

from reports.sections.sensitivity import neighbours, neighbours_sentence
from tests.reports import fake_results as fake
from tests.reports import fake_robustness as robust

FULL = robust.everything(40)


def test_neighbours_bars_begin_at_zero_and_stay_inside() -> None:
    found = neighbours(FULL.neighbourhood)
    assert found is not None
    assert found.noise[0] < found.zero < found.noise[1]
    for row in found.rows:
        assert -0.01 <= row.start
        assert row.start + row.width <= 100.01
        edge = row.start + row.width if row.difference.startswith("−") else row.start
        assert edge == pytest.approx(found.zero, abs=0.02)
    assert found.rows[0].cliff == "collapsed"


def test_the_neighbourhood_in_a_sentence() -> None:
    assert neighbours_sentence(FULL).startswith(
        "Near a cliff: 1 of 8 variants of the recommended configuration lost much of the score;"
    )
    assert neighbours_sentence(robust.surrounded(fake.results(fake.trials(12)), cliff=False)).startswith(
        "No cliff: none of"
    )
    assert "was not measured" in neighbours_sentence(fake.results(fake.trials(12)))
    assert "no recommended configuration" in neighbours_sentence(fake.results())


def test_without_copies_there_are_no_rows() -> None:
    assert neighbours(None) is None
