"""Every fit of every finalist as a point, against the promise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import plotly.graph_objects as go

from reports.drawing import BLUE, GREEN, GREY, ORANGE, PURPLE, SKY, VERMILLION, configuration_label, layout, safe
from reports.wording import metric_name, number
from search.records import Fit, Verdict
from search.selection.results import Finalist, Results

_ROW: Final = 66  # pixels for a finalist
_BREADTH: Final = 0.56  # of a row that its repeats are spread over
_SPLITS: Final = ((BLUE, "circle"), (ORANGE, "square"), (GREEN, "diamond"), (PURPLE, "triangle-up"), (SKY, "pentagon"))
"""Colour and form of the fits of each fresh split."""


def finalist_fits(results: Results) -> go.Figure:
    """A row a finalist, best at the top; a point a fit, by split; mean and standard error below them.

    Raises:
        ValueError: there are no finalists.
    """
    if not results.finalists:
        raise ValueError("the study has no finalists")
    figure = go.Figure()
    repeats = sorted({fit.repeat for finalist in results.finalists for fit in finalist.fits})
    for place, repeat in enumerate(repeats):
        _add_split(figure, results, repeat, place, len(repeats))
    _add_collapsed(figure, results, repeats)
    _add_means(figure, results)
    heights = [results.chance, *(score for finalist in results.finalists for score in finalist.scores)]
    if results.recommended:
        promise = results.recommended.promise
        heights += [promise.low, promise.high]
        figure.add_vrect(x0=promise.low, x1=promise.high, fillcolor=BLUE, opacity=0.13, line_width=0, layer="below")
        figure.add_vline(x=promise.value, line={"color": BLUE, "width": 2})
    figure.add_vline(x=results.chance, line={"color": VERMILLION, "width": 1.5, "dash": "dash"})
    if results.study.test:
        heights.append(results.study.test.score)
        figure.add_vline(x=results.study.test.score, line={"color": GREEN, "width": 2, "dash": "dot"})
    settings = layout(height=120 + _ROW * len(results.finalists))
    figure.update_layout(
        {**settings, "margin": {**settings["margin"], "l": 72}, "legend": {**settings["legend"], "y": 1.01}}
    )
    figure.update_xaxes(
        title=metric_name(results.study.identity.metric), range=[min(heights) - 0.02, max(heights) + 0.02]
    )
    figure.update_yaxes(
        tickvals=list(range(len(results.finalists))),
        ticktext=[f"trial {finalist.trial.number}" for finalist in results.finalists],
        range=[len(results.finalists) - 0.4, -0.6],
    )
    return figure


def _add_split(figure: go.Figure, results: Results, repeat: int, place: int, of: int) -> None:
    colour, symbol = _SPLITS[place % len(_SPLITS)]
    points = [
        (score, _height(row, place, of), _label(finalist, fit, score))
        for row, finalist in enumerate(results.finalists)
        for fit, score in zip(finalist.fits, finalist.scores, strict=True)
        if fit.repeat == repeat and fit.verdict is not Verdict.COLLAPSED
    ]
    _add_points(figure, points, f"split {place + 1}", {"color": colour, "symbol": symbol, "size": 7, "opacity": 0.85})


def _add_collapsed(figure: go.Figure, results: Results, repeats: Sequence[int]) -> None:
    points = [
        (score, _height(row, repeats.index(fit.repeat), len(repeats)), _label(finalist, fit, score))
        for row, finalist in enumerate(results.finalists)
        for fit, score in zip(finalist.fits, finalist.scores, strict=True)
        if fit.verdict is Verdict.COLLAPSED
    ]
    _add_points(figure, points, "collapsed", {"color": VERMILLION, "symbol": "x", "size": 9})


def _add_points(
    figure: go.Figure, points: Sequence[tuple[float, float, str]], name: str, marker: dict[str, Any]
) -> None:
    if points:
        scores, heights, labels = zip(*points, strict=True)
        figure.add_scatter(
            x=[round(score, 4) for score in scores],
            y=[round(height, 3) for height in heights],
            mode="markers",
            name=name,
            marker=marker,
            text=labels,
            hovertemplate="%{text}<extra></extra>",
        )


def _add_means(figure: go.Figure, results: Results) -> None:
    known = [(row, finalist) for row, finalist in enumerate(results.finalists) if finalist.scores]
    figure.add_scatter(
        x=[round(finalist.mean, 4) for _, finalist in known],
        y=[row + 0.36 for row, _ in known],
        error_x={"type": "data", "array": [round(finalist.se, 4) for _, finalist in known], "thickness": 2, "width": 5},
        mode="markers",
        name="mean ± SE",
        marker={"color": GREY, "symbol": "line-ns-open", "size": 13, "line": {"width": 3}},
        text=[
            f"trial {finalist.trial.number}: mean {number(finalist.mean)} ± {number(finalist.se)}<br>"
            + configuration_label(finalist.trial.configuration)
            for _, finalist in known
        ],
        hovertemplate="%{text}<extra></extra>",
    )


def _height(row: int, place: int, of: int) -> float:
    """Where the fits of a split lie within the finalist's row."""
    return row - 0.3 + _BREADTH * (place / (of - 1) if of > 1 else 0.5)


def _label(finalist: Finalist, fit: Fit, score: float) -> str:
    ended = f" ({safe(fit.reason or 'collapsed')})" if fit.verdict is Verdict.COLLAPSED else ""
    return (
        f"trial {finalist.trial.number}, split {fit.repeat + 1}, fold {fit.fold + 1}, seed {fit.seed}<br>"
        f"<b>{number(score)}</b>{ended}<br>{configuration_label(finalist.trial.configuration)}"
    )
