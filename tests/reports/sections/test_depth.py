from __future__ import annotations

from dataclasses import replace

import pytest

from reports.sections.depth import map_view
from tests.reports import fake_results as fake


def test_the_map_is_a_table_with_gaps() -> None:
    view = map_view(fake.results([fake.trial(0, [0.9] * 5), fake.trial(1, [], "dead-layer")]))
    assert view.columns[0] == "0–20 %"
    assert [depth for depth, _ in view.rows] == ["1–2", "3–4", "5–8"]
    cells = [cell for _, row in view.rows for cell in row if cell]
    assert sum(cell.trials for cell in cells) == 2
    assert max(cell.strength for cell in cells) == 1.0
    assert any(cell is None for _, row in view.rows for cell in row)


def test_a_map_of_nothing_is_no_table() -> None:
    results = fake.results([fake.trial(0, [0.9] * 5)])
    empty = tuple(replace(cell, trials=0, collapsed=0, score=None) for cell in results.depth_map)
    assert not map_view(replace(results, depth_map=empty)).rows


@pytest.mark.parametrize("chance", [0.0, 0.5, 0.99])
def test_a_map_at_chance_has_no_strength(chance: float) -> None:
    results = replace(fake.results([fake.trial(0, [], "dead-layer")]), chance=chance)
    cells = [replace(cell, score=chance if cell.trials else None) for cell in results.depth_map]
    view = map_view(replace(results, depth_map=tuple(cells)))
    assert {cell.strength for _, row in view.rows for cell in row if cell} == {0.0}
