"""Score by hyperparameter, one small figure each, with what holds shaded."""

from __future__ import annotations

import plotly.graph_objects as go

from reports.drawing import BLUE, GREEN, GREY, configuration_label, layout, safe
from reports.plots.axes import Axis, tried, value_of
from reports.plots.trials import KINDS, shown_scores
from reports.wording import compact
from search.records import Trial
from search.selection.results import Results
from spaces.config import Value


def slice_of(results: Results, name: str) -> go.Figure | None:
    """Score by this hyperparameter; None where less than two values of it were tried."""
    scores = shown_scores(results)
    trials = [trial for trial in results.study.trials if trial.number in scores]
    axis = Axis.over(name, tried([trial.configuration for trial in trials], name))
    if axis is None:
        return None
    figure = go.Figure()
    for state, title, marker in KINDS:
        of_state = [trial for trial in trials if trial.state is state]
        points = [(trial, v) for trial in of_state if (v := value_of(trial.configuration, name)) is not None]
        if points:
            figure.add_scatter(
                x=[axis.spread(v, trial.number) for trial, v in points],
                y=[round(scores[trial.number], 4) for trial, _ in points],
                mode="markers",
                name=title,
                marker={**marker, "size": 6, "opacity": 0.75},
                text=[_label(trial, name, v) for trial, v in points],
                hovertemplate="%{text}<br><b>%{y:.3f}</b><extra></extra>",
            )
    if (safe_range := results.safe_ranges.get(name)) is not None:
        for low, high in axis.spans(safe_range):
            figure.add_vrect(x0=low, x1=high, fillcolor=GREEN, opacity=0.18, line_width=0, layer="below")
    recommended = results.recommended
    if recommended and (own := value_of(recommended.ranked.trial.configuration, name)) is not None:
        figure.add_vline(x=axis.place(own), line={"color": BLUE, "width": 2})
    figure.add_hline(y=results.chance, line={"color": GREY, "width": 1, "dash": "dash"})
    figure.update_layout({**layout(height=230), "showlegend": False, "margin": {"l": 40, "r": 8, "t": 8, "b": 36}})
    figure.update_layout(font={"size": 12})
    figure.update_xaxes(**axis.settings())
    heights = [results.chance, *(scores[trial.number] for trial in trials)]
    figure.update_yaxes(range=[min(heights) - 0.03, max(heights) + 0.03], nticks=5)
    return figure


def _label(trial: Trial, name: str, value: Value) -> str:
    return f"trial {trial.number}: {safe(name)} {safe(compact(value))}<br>{configuration_label(trial.configuration)}"
