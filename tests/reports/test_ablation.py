"""The ablation from the user's configuration in page, Markdown, summary and terminal."""

from __future__ import annotations

import json
from dataclasses import replace

import plotly.graph_objects as go
import pytest

from reports.ablation import AblationRow, change, cost, noise, rows, sentence, signed
from reports.figure_style import drawing
from reports.markdown import markdown
from reports.page import page
from reports.plots.ablation import waterfall
from reports.summary import summary_text
from reports.terminal_summary import closing_lines
from search.records import Ablation, AblationStep, Waypoint
from search.selection.results import Results
from spaces.config import Value
from tests.reports import fake_results as fake

BASE = fake.results(fake.trials(20))


def way(*scores: float, spread: float = 0.0, reasons: tuple[str, ...] = ("dead-layer",), **changes: object) -> Results:
    """A way through these scores on two folds; the start collapses."""
    names = ("learning_rate", "dropout", "initializer", "width")
    points = [
        Waypoint(configuration=str(place), scores=(score - spread * (place % 2), score + spread * (place % 2)))
        for place, score in enumerate(scores)
    ]
    points[0] = replace(points[0], reasons=reasons)
    steps = [
        AblationStep(changes={name: (0.1, 0.001)}, reached=point, predicted=0.05)
        for name, point in zip(names, points[1:], strict=False)
    ]
    assert BASE.recommended is not None
    ablation = Ablation(
        start=points[0],
        steps=tuple(steps),
        goal=BASE.recommended.ranked.trial.configuration.hash,
        folds=2,
        trials=30,
        trained=9,
        seconds=75.0,
    )
    return replace(BASE, study=replace(BASE.study, ablation=replace(ablation, **changes)))


WAY = way(0.5, 0.5, 0.8, 0.75, 0.79)


def test_rows_tell_every_step_with_its_gain() -> None:
    assert [(row.change, row.before, row.score) for row in rows(WAY)] == [
        ("learning_rate 0.1 → 0.001", 0.5, 0.5),
        ("dropout 0.1 → 0.001", 0.5, 0.8),
        ("initializer 0.1 → 0.001", 0.8, 0.75),
        ("width 0.1 → 0.001", 0.75, 0.79),
    ]
    assert [row.gain for row in rows(WAY)] == pytest.approx([0, 0.3, -0.05, 0.04])
    assert rows(BASE) == []


def test_a_change_with_its_companions() -> None:
    step = AblationStep(
        changes={"dense_ratio": (0.0, 0.5), "dense_units": (None, 64), "horizontal_flip": (False, True)},
        reached=Waypoint(configuration="x", scores=(0.5,)),
        predicted=None,
    )
    assert change(step) == "dense_ratio 0 → 0.5, dense_units 64, horizontal_flip no → yes"


def test_many_changes_at_once_are_summed_up_and_a_backbone_is_named() -> None:
    many: dict[str, tuple[Value | None, Value]] = dict.fromkeys(("dropout", "zoom", "shift"), (0.1, 0.2))
    backbone: dict[str, tuple[Value | None, Value]] = {"backbone": ("none", "efficientnet_lite0"), **many}
    results = way(0.5, 0.6, 0.8)
    assert results.study.ablation is not None
    first, second = results.study.ablation.steps
    steps = (replace(first, changes={**many, "width": (16, 32)}), replace(second, changes=backbone))
    changed = replace(results, study=replace(results.study, ablation=replace(results.study.ablation, steps=steps)))
    assert [row.short for row in rows(changed)] == [
        "4 changes at once",
        "efficientnet_lite0 in place of layers from scratch",
    ]
    assert "efficientnet_lite0 in place of layers from scratch mattered most (+0.200)" in sentence(changed)


@pytest.mark.parametrize(
    ("results", "words"),
    [
        (BASE, ""),
        (WAY, "0.500 → 0.790 on 2 folds of the search: dropout 0.1 → 0.001 mattered most (+0.300)."),
        (way(0.5, 0.6, 0.9), "dropout 0.1 → 0.001 mattered most (+0.300). The collapses end with learning_rate 0.1"),
        (way(0.7, 0.72, 0.74, spread=0.1), "had the largest gain (+0.020), but it may be noise."),
        (way(0.7, 0.6), "no single change raises the score."),
        (way(0.5, note="There was no time."), "There was no time."),
    ],
)
def test_the_sentence_says_what_mattered_and_no_more(results: Results, words: str) -> None:
    assert words in sentence(results)
    assert bool(words) == bool(sentence(results))


def test_only_what_is_beyond_noise_is_called_clear() -> None:
    # differences of .1 +- .1 and .3 -+ .1 by fold: s = sqrt(.02 + .02 over 2), times sqrt(1/2 + 1/4)
    results = way(0.5, 0.6, 0.9, spread=0.1)
    assert [row.clear for row in rows(results)] == [False, True]
    assert "standard error of 0.122" in noise(results)
    assert noise(way(0.5, 0.5)) == ""


def test_the_cost_says_where_the_order_comes_from() -> None:
    assert WAY.study.ablation is not None
    assert cost(WAY.study.ablation) == (
        "The order of the changes comes from a random forest fitted to the search's 30 configurations. "
        "This comparison step by step (ablation) took 9 further fits and 1 min 15 s."
    )
    assert "the default one" in cost(replace(WAY.study.ablation, trials=0))


def test_every_report_shows_the_ablation() -> None:
    html, text = page(WAY), markdown(WAY)
    for told in (html, text):
        assert "From your configuration to the recommended one" in told
        assert "+0.300" in told
    assert "learning\\_rate 0.1 → 0.001" in text
    assert 'id="ablation-figure"' in html
    assert sentence(WAY) in closing_lines(WAY)
    steps = json.loads(summary_text(WAY))["ablation"]["steps"]
    assert steps[1] == {
        "changes": {"dropout": [0.1, 0.001]},
        "score": 0.8,
        "gain": pytest.approx(0.3),
        "predicted": 0.05,
        "collapsed": [],
    }


def test_a_way_without_steps_is_a_sentence() -> None:
    results = way(0.5, note="There was no time left.")
    assert "There was no time left." in page(results)
    assert 'id="ablation-figure"' not in page(results)
    assert markdown(results).count("There was no time left.") == 1


def test_without_a_way_nothing_is_said() -> None:
    assert 'id="ablation"' not in page(BASE)
    assert "From your configuration" not in markdown(BASE)
    assert "ablation" not in json.loads(summary_text(BASE))
    assert not any("From your configuration" in line for line in closing_lines(BASE))


def test_a_way_that_was_cut_short_says_so() -> None:
    results = way(0.5, 0.8, note="The last step holds all that were left.", cut_short=True)
    for told in (page(results), markdown(results)):
        assert "The last step holds all that were left." in told


def test_the_waterfall_leads_from_one_end_to_the_other() -> None:
    figure = go.Figure(waterfall(WAY))
    bars = {trace.name: trace for trace in figure.data}
    assert set(bars) == {"gain", "loss", "score"}
    assert list(bars["gain"].base) == [0.5, 0.5, 0.75]
    assert list(bars["gain"].x) == pytest.approx([0, 0.3, 0.04])
    assert list(bars["loss"].x) == pytest.approx([-0.05])
    order = list(figure.layout.yaxis.categoryarray)
    assert (order[0], order[-1], len(order)) == ("recommended", "yours", 6)
    low, high = figure.layout.xaxis.range
    assert low < 0.5 < 0.8 < high


def test_the_waterfall_is_strict_json() -> None:
    assert not set("<>&") & set(drawing(waterfall(WAY), "").json)
    with pytest.raises(ValueError, match="no ablation with steps"):
        waterfall(BASE)


def test_many_changes_at_once_are_counted_where_space_is_short() -> None:
    names = ("depth", "dropout", "width", "shift")
    step = AblationStep(
        changes=dict.fromkeys(names, (1, 2)), reached=Waypoint(configuration="x", scores=(0.8, 0.8)), predicted=None
    )
    (row,) = rows(way(0.5, steps=(step,)))
    assert row.short == "4 changes at once"
    assert all(name in row.change for name in names)
    assert isinstance(row, AblationRow)


def test_signs() -> None:
    assert [signed(value) for value in (0.1, -0.1, 0.0)] == ["+0.100", "−0.100", "+0.000"]
