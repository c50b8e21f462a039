"""The fits of the finalists as points, with the promise."""

from __future__ import annotations

from itertools import compress
from typing import Any, Final

from reports.figure_style import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    SKY,
    VERMILLION,
    Figure,
    configuration_label,
    ground,
    layout,
    markers,
    safe,
    title,
    upright,
)
from reports.wording import metric_name, number
from search.records import Fit, Verdict
from search.selection.results import Finalist, Results

_ROW: Final = 66  # pixels per finalist
_BREADTH: Final = 0.56  # share of the row height over which the splits are spread
_SPLITS: Final = ((BLUE, "circle"), (ORANGE, "square"), (GREEN, "diamond"), (PURPLE, "triangle-up"), (SKY, "pentagon"))
"""Colour and marker of the fits of each fresh split."""


def finalist_fits(results: Results) -> Figure:
    """Draw a row for each finalist, the best at the top: a point per fit, and mean and standard error below.

    Raises:
        ValueError: the study has no finalists.
    """
    if not results.finalists:
        raise ValueError("the study has no finalists")
    fits = [fit for finalist in results.finalists for fit in finalist.fits]
    repeats = sorted({fit.repeat for fit in fits})
    data = []
    for place, repeat in enumerate(repeats):
        colour, symbol = _SPLITS[place % len(_SPLITS)]
        marker = {"color": colour, "symbol": symbol, "size": 7, "opacity": 0.85}
        learned = [fit.repeat == repeat and fit.verdict is not Verdict.COLLAPSED for fit in fits]
        data.append(_fits(results, repeats, f"split {place + 1}", marker, learned))
    collapsed = {"color": VERMILLION, "symbol": "x", "size": 9}
    data.append(_fits(results, repeats, "collapsed", collapsed, [fit.verdict is Verdict.COLLAPSED for fit in fits]))
    data.append(_means(results))
    heights = [results.chance, *(score for finalist in results.finalists for score in finalist.scores)]
    shapes = [upright(results.chance, VERMILLION, width=1.5, dash="dash")]
    if results.recommended:
        promise = results.recommended.promise
        heights += [promise.low, promise.high]
        shapes += [ground(BLUE, 0.13, (promise.low, promise.high)), upright(promise.value, BLUE, width=2)]
    if results.study.test:
        heights.append(results.study.test.score)
        shapes.append(upright(results.study.test.score, GREEN, width=2, dash="dot"))
    rows = range(len(results.finalists))
    names = [f"trial {finalist.trial.number}" for finalist in results.finalists]
    settings = layout(
        120 + _ROW * len(results.finalists),
        shapes=shapes,
        xaxis={
            "title": title(metric_name(results.study.identity.metric)),
            "range": [min(heights) - 0.02, max(heights) + 0.02],
        },
        yaxis={"tickvals": list(rows), "ticktext": names, "range": [len(rows) - 0.4, -0.6]},
    )
    settings["margin"]["l"], settings["legend"]["y"] = 72, 1.01
    return {"data": [trace for trace in data if trace["x"]], "layout": settings}


def _fits(
    results: Results, repeats: list[int], name: str, marker: dict[str, Any], chosen: list[bool]
) -> dict[str, Any]:
    """Return a trace of the chosen fits; `chosen` has one value per fit, in the order of the finalists."""
    points = [
        (round(score, 4), _height(row, repeats.index(fit.repeat), len(repeats)), _label(finalist, fit, score))
        for row, finalist in enumerate(results.finalists)
        for fit, score in zip(finalist.fits, finalist.scores, strict=True)
    ]
    return markers(list(compress(points, chosen)), name, marker, "%{text}")


def _means(results: Results) -> dict[str, Any]:
    scored = [(row, finalist) for row, finalist in enumerate(results.finalists) if finalist.scores]
    points = [
        (
            round(finalist.mean, 4),
            row + 0.36,
            f"trial {finalist.trial.number}: mean {number(finalist.mean)} ± {number(finalist.se)}<br>"
            + configuration_label(finalist.trial.configuration),
        )
        for row, finalist in scored
    ]
    whisker = {
        "type": "data",
        "array": [round(finalist.se, 4) for _, finalist in scored],
        "thickness": 2,
        "width": 5,
        "color": GREY,
    }
    marker = {"color": GREY, "symbol": "line-ns-open", "size": 13, "line": {"width": 3}}
    return markers(points, "mean ± SE", marker, "%{text}", error_x=whisker)


def _height(row: int, place: int, of: int) -> float:
    """Return the height of a split within the row of its finalist."""
    return round(row - 0.3 + _BREADTH * (place / (of - 1) if of > 1 else 0.5), 3)


def _label(finalist: Finalist, fit: Fit, score: float) -> str:
    ended = f" ({safe(fit.reason or 'collapsed')})" if fit.verdict is Verdict.COLLAPSED else ""
    return (
        f"trial {finalist.trial.number}, split {fit.repeat + 1}, fold {fit.fold + 1}, seed {fit.seed}<br>"
        f"<b>{number(score)}</b>{ended}<br>{configuration_label(finalist.trial.configuration)}"
    )
