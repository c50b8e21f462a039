from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports.views import class_rows, folds_scale, headline_scale, map_view, marks, reason_rows
from tests.reports import made

finite = st.floats(-40, 1)


@given(value=finite, chance=finite, baseline=finite)
def test_every_mark_lies_inside_the_scale(value: float, chance: float, baseline: float) -> None:
    results = RESULTS
    assert results.recommended is not None
    promise = replace(results.recommended.promise, value=value, low=value - 0.1, high=min(1.0, value + 0.1))
    results = replace(
        results,
        chance=chance,
        recommended=replace(results.recommended, promise=promise),
        study=replace(results.study, baselines={"knn": baseline}),
    )
    shown = marks(results)
    scale = headline_scale(results, shown)
    for inside in (*(mark.value for mark in shown), promise.low, promise.high):
        assert scale.low <= inside <= scale.high + 1e-9
    places = [scale.place(mark.value) for mark in sorted(shown, key=lambda mark: mark.value)]
    assert places == sorted(places)
    assert len(scale.ticks()) <= 9


RESULTS = made.results(made.trials(12))


def test_a_baseline_without_a_value_is_not_shown() -> None:
    study = replace(RESULTS.study, baselines={"knn": float("nan"), "logistic": 0.6, "constant": 0.5})
    assert [mark.name for mark in marks(replace(RESULTS, study=study))] == [
        "promise",
        "search score",
        "chance",
        "logistic regression",
    ]


def test_fold_dots_share_one_scale_with_chance() -> None:
    scale = folds_scale(RESULTS.ranking, RESULTS.chance)
    assert scale.low < RESULTS.chance
    assert scale.high >= max(score for ranked in RESULTS.ranking for score in ranked.folds)


def test_reasons_come_with_bars_and_the_median_epoch() -> None:
    trials = [made.trial(n, [], "dead-layer" if n < 4 else "non-finite") for n in range(5)]
    first, second = reason_rows(made.results(trials))
    assert (first.code, first.fits, first.share) == ("dead-layer", 4, 100.0)
    assert (second.code, second.fits, second.share) == ("non-finite", 1, 25.0)
    assert second.median_epoch == trials[4].fits[0].epochs
    assert "infinite" in second.sentence


def test_classes_keep_their_order_and_take_their_recalls() -> None:
    rows = class_rows(made.results(made.trials(12), classes={"b": 10, "a": 40}))
    assert [(row.name, row.share) for row in rows] == [("b", 25.0), ("a", 100.0)]
    assert all(row.recall for row in rows)


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
