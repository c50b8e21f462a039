"""The figure of the ablation: from the user's configuration to the recommended one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from reports.ablation import rows, signed
from reports.figure_style import BLUE, GREEN, GREY, VERMILLION, Figure, layout, safe, title, upright
from reports.wording import metric_name, number
from search.selection.results import Results

_ROW: Final = 40  # pixels


def waterfall(results: Results) -> Figure:
    """Draw a waterfall chart from the score of the user's configuration to the recommended one, one bar per change.

    Raises:
        ValueError: the study has no ablation with steps.
    """
    steps = rows(results)
    if not steps or results.study.ablation is None:
        raise ValueError("the study has no ablation with steps")
    start = results.study.ablation.start.score
    scores = [results.chance, start, *(row.score for row in steps)]
    low, high = min(scores), max(scores)
    margin = max(0.02, 0.1 * (high - low))
    low -= margin
    ends = [("yours", start), ("recommended", steps[-1].score)]
    places = {id(row): f"{place}. {_on_lines(safe(row.short))}" for place, row in enumerate(steps, start=1)}

    data = []
    for name, colour, chosen in (
        ("gain", GREEN, [row for row in steps if row.clear and row.gain >= 0]),
        ("loss", VERMILLION, [row for row in steps if row.clear and row.gain < 0]),
        ("may be noise", GREY, [row for row in steps if not row.clear]),
    ):
        if chosen:
            bars = [(places[id(row)], row.before, row.gain, signed(row.gain)) for row in chosen]
            details = [[safe(row.change), row.score, safe(row.collapsed or "all folds learned")] for row in chosen]
            hover = "%{customdata[0]}<br><b>%{customdata[1]:.3f}</b>, %{customdata[2]}<extra></extra>"
            data.append(_bars(name, colour, bars, customdata=details, hovertemplate=hover))
    end_bars = [(name, low, score - low, number(score)) for name, score in ends]
    data.append(_bars("score", BLUE, end_bars, showlegend=False, hoverinfo="skip"))
    return {
        "data": data,
        "layout": layout(
            150 + _ROW * (len(steps) + 2),
            bargap=0.3,
            barmode="overlay",
            shapes=[upright(results.chance, dash="dash")],
            xaxis={
                "title": title(metric_name(results.study.identity.metric)),
                "range": [low, high + 2.5 * margin],
            },
            yaxis={"categoryorder": "array", "categoryarray": ["recommended", *reversed(places.values()), "yours"]},
        ),
    }


def _bars(name: str, colour: str, bars: Sequence[tuple[str, float, float, str]], **more: Any) -> dict[str, Any]:
    """Return horizontal bars as a trace; each bar is its row, base, length and label."""
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
    """Break the text into lines, the hyperparameter above its values, for narrow screens."""
    return change.replace(", ", "<br>") if ", " in change else change.replace(" ", "<br>", 1)
