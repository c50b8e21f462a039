from __future__ import annotations

from dataclasses import replace

import pytest

from reports.sections.matters import map_view, matters, neighbours_sentence, rows, safe_text, sentence
from search.selection.results import SafeRange
from tests.reports import made
from tests.reports import made_robust as robust

FULL = robust.everything(40)


def test_the_sentence_names_the_three_that_explain_most() -> None:
    assert sentence(FULL).endswith("learning rate (34 %), initializer (14 %) and convolutions (11 %).")
    assert "too few trials" in sentence(replace(FULL, importances=None)).replace("so few", "too few")


def test_rows_hold_importance_recommended_value_and_safe_range() -> None:
    assert FULL.recommended is not None
    found = {row.name: row for row in rows(FULL)}
    assert [row.name for row in rows(FULL)][:2] == ["learning_rate", "initializer"]
    assert found["learning_rate"].bar == 100.0
    assert found["learning_rate"].recommended == f"{FULL.recommended.ranked.trial.configuration.learning_rate:.3g}"
    assert found["horizontal_flip"].safe == "yes"
    assert found["horizontal_flip"].score is None
    assert found["normalization"].safe == "–"


@pytest.mark.parametrize(
    ("held", "text"),
    [
        (SafeRange(low=0.001, high=0.01, choices=(), seen=3), "0.001 to 0.01"),
        (SafeRange(low=16, high=16, choices=(), seen=1), "16"),
        (SafeRange(low=None, high=None, choices=("relu", "elu"), seen=2), "relu, elu"),
        (SafeRange(low=None, high=None, choices=(False,), seen=2), "no"),
        (SafeRange(low=None, high=None, choices=(), seen=0), "–"),
    ],
)
def test_safe_ranges_in_words(held: SafeRange, text: str) -> None:
    assert safe_text(held) == text


def test_slices_are_of_the_most_important_first() -> None:
    titles = [one.title for one in matters(FULL).slices]
    assert titles[:3] == ["learning rate", "initializer", "convolutions"]
    assert len(titles) == 6
    assert matters(made.results()).slices == ()


def test_neighbours_bars_begin_at_zero_and_stay_inside() -> None:
    found = matters(FULL)
    assert found.noise[0] < found.zero < found.noise[1]
    for row in found.neighbours:
        assert -0.01 <= row.start
        assert row.start + row.width <= 100.01
        edge = row.start + row.width if row.worse else row.start
        assert edge == pytest.approx(found.zero, abs=0.02)
    assert found.neighbours[0].cliff == "collapsed"


def test_the_neighbourhood_in_a_sentence() -> None:
    assert neighbours_sentence(FULL).startswith("Near a cliff: of 8 slightly changed copies, 1 fell off;")
    assert neighbours_sentence(robust.surrounded(made.results(made.trials(12)), cliff=False)).startswith(
        "On firm ground"
    )
    assert "was not tried" in neighbours_sentence(made.results(made.trials(12)))
    assert "nothing to change" in neighbours_sentence(made.results())


def test_the_map_is_a_table_with_gaps() -> None:
    view = map_view(made.results([made.trial(0, [0.9] * 5), made.trial(1, [], "dead-layer")]))
    assert view.columns[0] == "0–20 %"
    assert [depth for depth, _ in view.rows] == ["1–2", "3–4", "5–8"]
    cells = [cell for _, row in view.rows for cell in row if cell]
    assert sum(cell.trials for cell in cells) == 2
    assert max(cell.strength for cell in cells) == 1.0
    assert any(cell is None for _, row in view.rows for cell in row)


@pytest.mark.parametrize("chance", [0.0, 0.5, 0.99])
def test_a_map_at_chance_has_no_strength(chance: float) -> None:
    results = replace(made.results([made.trial(0, [], "dead-layer")]), chance=chance)
    cells = [replace(cell, score=chance if cell.trials else None) for cell in results.depth_map]
    view = map_view(replace(results, depth_map=tuple(cells)))
    assert {cell.strength for _, row in view.rows for cell in row if cell} == {0.0}
