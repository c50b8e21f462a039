"""The figure of the way from the user's configuration to the recommended one."""

from __future__ import annotations

from typing import Final

import plotly.graph_objects as go

from reports.ablation import rows, signed
from reports.drawing import BLUE, GREEN, GREY, VERMILLION, layout, safe
from reports.wording import metric_name, number
from search.selection.results import Results

_ROW: Final = 40  # pixels


def stair(results: Results) -> go.Figure:
    """A stair from the score of the user's configuration to that of the recommended one, a bar for each change.

    Raises:
        ValueError: there is no way to draw.
    """
    way = rows(results)
    if not way or results.study.ablation is None:
        raise ValueError("the study has no ablation with steps")
    begin = results.study.ablation.start.score
    heights = [results.chance, begin, *(row.score for row in way)]
    low, high = min(heights), max(heights)
    air = max(0.02, 0.1 * (high - low))
    low -= air
    ends = [("yours", begin), ("recommended", way[-1].score)]
    places = {id(row): f"{place}. {_on_lines(safe(row.short))}" for place, row in enumerate(way, start=1)}

    figure = go.Figure()
    for name, colour, chosen in (
        ("gain", GREEN, [row for row in way if row.clear and row.gain >= 0]),
        ("loss", VERMILLION, [row for row in way if row.clear and row.gain < 0]),
        ("within the noise", GREY, [row for row in way if not row.clear]),
    ):
        if chosen:
            figure.add_bar(
                orientation="h",
                name=name,
                y=[places[id(row)] for row in chosen],
                base=[row.before for row in chosen],
                x=[row.gain for row in chosen],
                marker={"color": colour},
                text=[signed(row.gain) for row in chosen],
                textposition="outside",
                cliponaxis=False,
                customdata=[
                    [safe(row.change), row.score, safe(row.collapsed or "all folds learned")] for row in chosen
                ],
                hovertemplate="%{customdata[0]}<br><b>%{customdata[1]:.3f}</b>, %{customdata[2]}<extra></extra>",
            )
    figure.add_bar(
        orientation="h",
        name="score",
        y=[name for name, _ in ends],
        base=[low, low],
        x=[score - low for _, score in ends],
        marker={"color": BLUE},
        text=[number(score) for _, score in ends],
        textposition="outside",
        cliponaxis=False,
        showlegend=False,
        hoverinfo="skip",
    )
    figure.add_vline(x=results.chance, line={"color": GREY, "width": 1, "dash": "dash"})
    figure.update_layout(layout(height=150 + _ROW * (len(way) + 2)), bargap=0.3, barmode="overlay")
    figure.update_yaxes(categoryorder="array", categoryarray=["recommended", *reversed(places.values()), "yours"])
    figure.update_xaxes(title=metric_name(results.study.identity.metric), range=[low, high + 2.5 * air])
    return figure


def _on_lines(change: str) -> str:
    """The hyperparameter above its values, several changes one under the other: a phone is narrow."""
    return change.replace(", ", "<br>") if ", " in change else change.replace(" ", "<br>", 1)
