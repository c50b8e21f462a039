"""Score by hyperparameter, one small figure each, with the safe range shaded."""

from __future__ import annotations

from reports.figure_style import BLUE, GREEN, Figure, configuration_label, ground, layout, level, markers, safe, upright
from reports.plots.axes import Axis, tried, value_of
from reports.plots.trials import KINDS, shown_scores
from reports.wording import compact
from search.records import Trial
from search.selection.results import Results
from spaces.config import Value


def slice_of(results: Results, name: str) -> Figure | None:
    """Draw the score by one hyperparameter; None if fewer than two values of it were tried."""
    scores = shown_scores(results)
    trials = [trial for trial in results.study.trials if trial.number in scores]
    axis = Axis.over(name, tried([trial.configuration for trial in trials], name))
    if axis is None:
        return None
    data = []
    for state, title, marker in KINDS:
        points = [
            (axis.spread(v, trial.number), round(scores[trial.number], 4), _label(trial, name, v))
            for trial in trials
            if trial.state is state and (v := value_of(trial.configuration, name)) is not None
        ]
        if points:
            look = {**marker, "size": 6, "opacity": 0.75}
            data.append(markers(points, title, look, "%{text}<br><b>%{y:.3f}</b>"))
    shapes = [level(results.chance)]
    if (safe_range := results.safe_ranges.get(name)) is not None:
        shapes += [ground(GREEN, 0.18, span) for span in axis.spans(safe_range)]
    recommended = results.recommended
    if recommended and (own := value_of(recommended.ranked.trial.configuration, name)) is not None:
        shapes.append(upright(axis.place(own), BLUE, width=2))
    heights = [results.chance, *(scores[trial.number] for trial in trials)]
    settings = layout(
        230,
        shapes=shapes,
        showlegend=False,
        margin={"l": 40, "r": 8, "t": 8, "b": 36},
        xaxis=axis.settings(),
        yaxis={"range": [min(heights) - 0.03, max(heights) + 0.03], "nticks": 5},
    )
    settings["font"]["size"] = 12
    return {"data": data, "layout": settings}


def _label(trial: Trial, name: str, value: Value) -> str:
    return f"trial {trial.number}: {safe(name)} {safe(compact(value))}<br>{configuration_label(trial.configuration)}"
