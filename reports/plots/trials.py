"""The history of the search: score and time of every trial, in order."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from reports.figure_style import (
    BLUE,
    GREEN,
    GREY,
    VERMILLION,
    Figure,
    heading,
    layout,
    level,
    markers,
    title,
    trial_label,
)
from reports.wording import duration, metric_name
from search.records import Fit, Trial, TrialState
from search.selection.results import Results

KINDS: Final[Sequence[tuple[TrialState, str, Mapping[str, Any]]]] = (
    (TrialState.RACED, "stopped early", {"color": GREY, "symbol": "circle-open", "size": 7}),
    (TrialState.COLLAPSED, "collapsed (at chance)", {"color": VERMILLION, "symbol": "x", "size": 7}),
    (TrialState.COMPLETE, "scored on all folds", {"color": BLUE, "symbol": "circle", "size": 8}),
)
"""States that have a score, with name and marker, for all figures of trials."""


def shown_scores(results: Results) -> dict[int, float]:
    """Return scores by trial number: pooled, or the mean of the folds so far; collapsed trials are at chance."""
    pooled = {ranked.trial.number: ranked.pooled for ranked in results.ranking}
    scores: dict[int, float] = {}
    for trial in results.study.trials:
        score = pooled.get(trial.number)
        if trial.state is TrialState.COLLAPSED:
            score = results.chance
        if score is None:
            score = _running_mean(trial.fits)
        if score is not None and math.isfinite(score):
            scores[trial.number] = score
    return scores


def history(results: Results) -> Figure:
    """Draw the score by trial number with the best so far, collapsed trials at chance, and the times below."""
    scores, data = shown_scores(results), []
    for state, name, marker in KINDS:
        trials = [trial for trial in results.study.trials if trial.state is state and trial.number in scores]
        if trials:
            points = [(trial.number, round(scores[trial.number], 4), trial_label(trial)) for trial in trials]
            data.append(markers(points, name, marker, "%{text}<br><b>%{y:.3f}</b>", legendgroup=name))
            data.append(_times(trials, name, str(marker["color"])))
    if best := _best_so_far({ranked.trial.number: ranked.pooled for ranked in results.ranking}):
        numbers, values = zip(*best, strict=True)
        data.append(
            {
                "type": "scatter",
                "mode": "lines",
                "x": list(numbers),
                "y": [round(value, 4) for value in values],
                "name": "best so far",
                "line": {"color": GREEN, "width": 2, "shape": "hv"},
                "hovertemplate": "best so far: %{y:.3f}<extra></extra>",
            }
        )
    heights = [results.chance, *scores.values()]
    return {
        "data": data,
        "layout": layout(
            560,
            shapes=[level(results.chance)],
            annotations=[
                heading(metric_name(results.study.identity.metric), 1.0),
                heading("time of the trial", 0.27),
            ],
            xaxis={"anchor": "y", "matches": "x2", "showticklabels": False},
            yaxis={"domain": [0.38, 1.0], "range": [min(heights) - 0.04, max(heights) + 0.04]},
            xaxis2={"anchor": "y2", "title": title("trial")},
            yaxis2={"domain": [0.0, 0.26], "anchor": "x2", "rangemode": "tozero", "ticksuffix": " s"},
        ),
    }


def _times(trials: Sequence[Trial], name: str, colour: str) -> dict[str, Any]:
    return {
        "type": "bar",
        "x": [trial.number for trial in trials],
        "y": [round(trial.seconds, 1) for trial in trials],
        "text": [f"trial {trial.number}: {duration(trial.seconds)}" for trial in trials],
        "textposition": "none",
        "name": name,
        "legendgroup": name,
        "showlegend": False,
        "marker": {"color": colour},
        "hovertemplate": "%{text}<extra></extra>",
        "xaxis": "x2",
        "yaxis": "y2",
    }


def _running_mean(fits: Iterable[Fit]) -> float | None:
    scores = [fit.score for fit in fits if fit.score is not None and math.isfinite(fit.score)]
    return sum(scores) / len(scores) if scores else None


def _best_so_far(pooled: Mapping[int, float]) -> Sequence[tuple[int, float]]:
    best: list[tuple[int, float]] = []
    for trial, score in sorted(pooled.items()):
        best.append((trial, max(score, best[-1][1]) if best else score))
    return best
