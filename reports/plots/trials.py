"""How the search went: score and time of every trial, in order."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from reports.drawing import BLUE, GREEN, GREY, VERMILLION, layout, trial_label
from reports.wording import duration, metric_name
from search.records import Fit, Trial, TrialState
from search.selection.results import Results

KINDS: Final[Sequence[tuple[TrialState, str, Mapping[str, Any]]]] = (
    (TrialState.RACED, "stopped early, behind", {"color": GREY, "symbol": "circle-open", "size": 7}),
    (TrialState.COLLAPSED, "collapsed (at chance)", {"color": VERMILLION, "symbol": "x", "size": 7}),
    (TrialState.COMPLETE, "judged on all folds", {"color": BLUE, "symbol": "circle", "size": 8}),
)
"""The states that have a score, with name and marker: the same in every figure of trials."""


def shown_scores(results: Results) -> dict[int, float]:
    """Score by trial, where there is one: pooled, or the mean of the folds so far; collapsed ones at chance."""
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


def history(results: Results) -> go.Figure:
    """Score by trial number, collapsed ones on the line of chance, with the best so far; below it the time of each."""
    scores = shown_scores(results)
    figure = make_subplots(
        rows=2,
        cols=1,
        shared_xaxes=True,
        vertical_spacing=0.09,
        row_heights=[0.7, 0.3],
        subplot_titles=(metric_name(results.study.identity.metric), "time of the trial"),
    )
    for state, name, marker in KINDS:
        trials = [trial for trial in results.study.trials if trial.state is state and trial.number in scores]
        if trials:
            _add_trials(figure, trials, scores, name, marker)
    pooled = {ranked.trial.number: ranked.pooled for ranked in results.ranking}
    if best := _best_so_far(pooled):
        steps, values = zip(*best, strict=True)
        figure.add_scatter(
            x=steps,
            y=values,
            mode="lines",
            name="best so far",
            line={"color": GREEN, "width": 2, "shape": "hv"},
            hovertemplate="best so far: %{y:.3f}<extra></extra>",
            row=1,
            col=1,
        )
    figure.add_hline(y=results.chance, line={"color": GREY, "width": 1, "dash": "dash"}, row=1, col=1)
    figure.update_layout(layout(height=560))
    figure.update_xaxes(title="trial", row=2, col=1)
    heights = [results.chance, *scores.values()]
    figure.update_yaxes(range=[min(heights) - 0.04, max(heights) + 0.04], row=1, col=1)
    figure.update_yaxes(rangemode="tozero", ticksuffix=" s", row=2, col=1)
    return figure


def _add_trials(
    figure: go.Figure, trials: Sequence[Trial], scores: Mapping[int, float], name: str, marker: Mapping[str, Any]
) -> None:
    numbers = [trial.number for trial in trials]
    figure.add_scatter(
        x=numbers,
        y=[round(scores[number], 4) for number in numbers],
        mode="markers",
        name=name,
        legendgroup=name,
        marker=dict(marker),
        text=[trial_label(trial) for trial in trials],
        hovertemplate="%{text}<br><b>%{y:.3f}</b><extra></extra>",
        row=1,
        col=1,
    )
    figure.add_bar(
        x=numbers,
        y=[round(trial.seconds, 1) for trial in trials],
        name=name,
        legendgroup=name,
        showlegend=False,
        marker={"color": marker["color"]},
        text=[f"trial {trial.number}: {duration(trial.seconds)}" for trial in trials],
        textposition="none",
        hovertemplate="%{text}<extra></extra>",
        row=2,
        col=1,
    )


def _running_mean(fits: Iterable[Fit]) -> float | None:
    scores = [fit.score for fit in fits if fit.score is not None and math.isfinite(fit.score)]
    return sum(scores) / len(scores) if scores else None


def _best_so_far(pooled: Mapping[int, float]) -> Sequence[tuple[int, float]]:
    best: list[tuple[int, float]] = []
    for trial, score in sorted(pooled.items()):
        best.append((trial, max(score, best[-1][1]) if best else score))
    return best
