"""What holds for every figure of the report, and what each of them shows."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import plotly.graph_objects as go
import pytest

from reports.figure_style import Figure, drawing
from reports.plots.collapse_map import CollapseMap
from reports.plots.corruptions import corruption_figure
from reports.plots.curves import collapsed_examples, curves
from reports.plots.finalists import finalist_fits
from reports.plots.layers import layer_curves
from reports.plots.slices import slice_of
from reports.plots.trials import history, shown_scores
from search.selection.results import Results
from tests.reports import fake_results as fake
from tests.reports import fake_robustness as robust

EVIL = "</script><script>alert(1)</script>"


def collapse_map(results: Results) -> Figure | None:
    found = CollapseMap.over(results, "initializer", "learning_rate")
    return found.figure() if found else None


FIGURES: dict[str, Callable[[Results], Figure | None]] = {
    "history": history,
    "finalists": finalist_fits,
    "curves": curves,
    "layers": lambda results: layer_curves(results)[1].panels[1][1],
    "numbers": lambda results: slice_of(results, "learning_rate"),
    "whole numbers": lambda results: slice_of(results, "batch_size"),
    "choices": lambda results: slice_of(results, "initializer"),
    "switches": lambda results: slice_of(results, "horizontal_flip"),
    "convolutions": lambda results: slice_of(results, "n_conv"),
    "collapse map": collapse_map,
    "corruptions": lambda results: corruption_figure(results, list(robust.CORRUPTIONS)),
}


def study() -> Results:
    results = robust.everything(40)
    evil = [fake.trial(40, [], "non-finite"), replace(fake.trial(41, [], EVIL), reason=EVIL)]
    return replace(results, study=replace(results.study, trials=(*results.study.trials, *evil)))


FULL = study()


@pytest.mark.parametrize("name", FIGURES)
def test_plotly_knows_every_word_of_a_figure(name: str) -> None:
    figure = FIGURES[name](FULL)
    assert figure is not None
    assert go.Figure(figure).data  # raises for what plotly does not know
    assert figure["layout"]["height"] >= 200


@pytest.mark.parametrize("name", FIGURES)
def test_figures_are_strict_json_without_markup(name: str) -> None:
    figure = FIGURES[name](FULL)
    assert figure is not None
    text = drawing(figure, "").json
    assert not set("<>&") & set(text)
    parsed = json.loads(text, parse_constant=lambda word: pytest.fail(f"{word} is not JSON"))
    assert parsed == figure
    assert EVIL not in json.dumps(parsed)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_figure_with_a_number_that_is_not_finite_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        drawing({"data": [{"y": [0.5, value]}], "layout": {"height": 200}}, "")


@pytest.mark.parametrize("name", [name for name in FIGURES if name not in {"layers", "curves"}])
def test_every_point_tells_what_it_is(name: str) -> None:
    figure = FIGURES[name](FULL)
    assert figure is not None
    points = [trace for trace in figure["data"] if trace.get("mode") == "markers"]
    assert points
    for trace in points:
        assert len(trace["text"]) == len(trace["x"]) == len(trace["y"]) > 0
        assert all(label.startswith("trial ") and "<br>" in label for label in trace["text"])


def test_every_curve_tells_its_trial_fold_and_configuration() -> None:
    for one in curves(FULL)["data"]:
        assert re.match(r".*trial \d+.*, fold \d<br>.*batch(?: |<br>)\d+", one["hovertemplate"])


def trace(figure: Figure, name: str) -> dict[str, Any]:
    [found] = [one for one in figure["data"] if one["name"].startswith(name) and one["type"] == "scatter"]
    return found


def test_collapsed_trials_lie_on_the_line_of_chance() -> None:
    results = fake.results([fake.trial(0, [0.9] * 5), fake.trial(1, [0.8], "dead-layer")])
    collapsed = trace(history(results), "collapsed")
    assert (collapsed["x"], collapsed["y"]) == ([1], [results.chance])


def test_the_best_so_far_never_falls() -> None:
    results = fake.results([fake.trial(n, [score] * 5) for n, score in enumerate([0.7, 0.6, 0.8, 0.75])])
    assert trace(history(results), "best so far")["y"] == pytest.approx([0.7, 0.7, 0.8, 0.8])


def test_one_example_a_reason_the_longest_and_frequent_ones_first() -> None:
    trials = [fake.trial(n, [], "no-gradient" if n == 4 else "dead-layer") for n in range(8)]
    examples = collapsed_examples(fake.results(trials))
    assert list(examples) == ["dead-layer", "no-gradient"]
    assert len(examples["dead-layer"].checks) == max(len(t.fits[0].checks) for t in trials if t.reason == "dead-layer")


def test_every_fresh_training_is_a_point_at_its_score() -> None:
    figure = finalist_fits(FULL)
    points = [one for one in figure["data"] if one["name"].startswith(("split", "collapsed"))]
    shown = sorted(x for one in points for x in one["x"])
    assert shown == sorted(round(score, 4) for finalist in FULL.finalists for score in finalist.scores)
    assert sum(len(one["x"]) for one in points if one["name"] == "collapsed") == 4


def test_the_band_is_the_promise() -> None:
    assert FULL.recommended is not None
    promise = FULL.recommended.promise
    [band] = [shape for shape in finalist_fits(FULL)["layout"]["shapes"] if shape["type"] == "rect"]
    assert (band["x0"], band["x1"]) == (promise.low, promise.high)


def test_without_finalists_there_is_nothing_to_draw() -> None:
    with pytest.raises(ValueError, match="no finalists"):
        finalist_fits(fake.results())


@pytest.mark.parametrize(("name", "spans"), [("learning_rate", 1), ("initializer", 2), ("normalization", 0)])
def test_slices_shade_the_safe_range(name: str, spans: int) -> None:
    figure = slice_of(FULL, name)
    assert figure is not None
    assert sum(shape["type"] == "rect" for shape in figure["layout"]["shapes"]) == spans


def test_a_slice_of_one_value_is_not_drawn() -> None:
    trials = [replace(fake.trial(n, [0.8] * 5), configuration=fake.configuration(0)) for n in range(3)]
    assert slice_of(fake.results(trials), "learning_rate") is None
    assert slice_of(FULL, "no such hyperparameter") is None


def test_inactive_hyperparameters_have_no_points() -> None:
    trials = list(fake.trials(40))
    for place, trial in enumerate(trials):
        optimizer = "adam" if place % 2 else "adamw"  # adam has no weight decay
        changed = replace(trial.configuration, optimizer=optimizer, weight_decay=10.0 ** -(place % 4))
        trials[place] = replace(trial, configuration=changed)
    results = fake.results(trials)
    figure = slice_of(results, "weight_decay")
    assert figure is not None
    active = [trial.number for trial in trials[::2] if trial.number in shown_scores(results)]
    assert len(active) > 10
    labels = [label for one in figure["data"] for label in one["text"]]
    assert sorted(int(label.split(":")[0].removeprefix("trial ")) for label in labels) == active
