"""The figure of the way from the user's configuration to the recommended one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from reports.ablation import rows, signed
from reports.figure_style import BLUE, GREEN, GREY, VERMILLION, Figure, layout, safe, title, upright
from reports.wording import metric_name, number
from search.selection.results import Results

_ROW: Final = 40  # pixels


def stair(results: Results) -> Figure:
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

    data = []
    for name, colour, chosen in (
        ("gain", GREEN, [row for row in way if row.clear and row.gain >= 0]),
        ("loss", VERMILLION, [row for row in way if row.clear and row.gain < 0]),
        ("within the noise", GREY, [row for row in way if not row.clear]),
    ):
        if chosen:
            bars = [(places[id(row)], row.before, row.gain, signed(row.gain)) for row in chosen]
            said = [[safe(row.change), row.score, safe(row.collapsed or "all folds learned")] for row in chosen]
            hover = "%{customdata[0]}<br><b>%{customdata[1]:.3f}</b>, %{customdata[2]}<extra></extra>"
            data.append(_bars(name, colour, bars, customdata=said, hovertemplate=hover))
    scores = [(name, low, score - low, number(score)) for name, score in ends]
    data.append(_bars("score", BLUE, scores, showlegend=False, hoverinfo="skip"))
    return {
        "data": data,
        "layout": layout(
            150 + _ROW * (len(way) + 2),
            bargap=0.3,
            barmode="overlay",
            shapes=[upright(results.chance, dash="dash")],
            xaxis={
                "title": title(metric_name(results.study.identity.metric)),
                "range": [low, high + 2.5 * air],
            },
            yaxis={"categoryorder": "array", "categoryarray": ["recommended", *reversed(places.values()), "yours"]},
        ),
    }


def _bars(name: str, colour: str, bars: Sequence[tuple[str, float, float, str]], **more: Any) -> dict[str, Any]:
    """Bars that lie, from a base on, with their text behind them."""
    y, base, x, text = zip(*bars, strict=True)
    return {
        "type": "bar",
        "orientation": "h",
        "name": name,
        "y": list(y),
        "base": list(base),
        "x": list(x),
        "marker": {"color": colour},
        "text": list(text),
        "textposition": "outside",
        "cliponaxis": False,
        **more,
    }


def _on_lines(change: str) -> str:
    """The hyperparameter above its values, several changes one under the other: a phone is narrow."""
    return change.replace(", ", "<br>") if ", " in change else change.replace(" ", "<br>", 1)
