"""What worse images cost: points lost under every corruption, mild and strong, by finalist."""

from __future__ import annotations

from typing import Final

import plotly.graph_objects as go

from reports.drawing import BLUE, GREY, VERMILLION, configuration_label, layout, safe
from reports.wording import plain_name
from search.selection.results import Finalist, Results

_ROW: Final = 46  # pixels for a corruption


def corruption_figure(results: Results, names: list[str]) -> go.Figure | None:
    """A row a corruption: the recommended configuration large, the other finalists faint; None without any.

    Args:
        results: of the study.
        names: the corruptions, from the top.
    """
    measured = [finalist for finalist in results.finalists if finalist.corruptions]
    if not measured or not names:
        return None
    own = results.recommended.ranked.trial.number if results.recommended else None
    figure = go.Figure()
    for strength, (word, symbol) in enumerate((("mild", "circle-open"), ("strong", "circle"))):
        for ours in (False, True):
            points = [
                (finalist, name)
                for finalist in measured
                for name in names
                if (finalist.trial.number == own) is ours and name in finalist.corruptions
            ]
            if not points:
                continue
            colour = (BLUE, VERMILLION)[strength] if ours else GREY
            figure.add_scatter(
                x=[round(finalist.corruptions[name][strength], 4) for finalist, name in points],
                y=[safe(plain_name(name)) for _, name in points],
                mode="markers",
                name=word if ours else f"{word}, other finalists",
                marker={"color": colour, "symbol": symbol, "size": 12 if ours else 7, "opacity": 1 if ours else 0.6},
                text=[_label(finalist, name, word) for finalist, name in points],
                hovertemplate="%{text}: <b>%{x:.3f}</b> lost<extra></extra>",
            )
    figure.add_vline(x=0, line={"color": GREY, "width": 1, "dash": "dash"})
    figure.update_layout(layout(height=130 + _ROW * len(names)))
    figure.update_xaxes(title="lost of the score")
    figure.update_yaxes(categoryorder="array", categoryarray=[safe(plain_name(name)) for name in reversed(names)])
    return figure


def _label(finalist: Finalist, name: str, word: str) -> str:
    said = f"trial {finalist.trial.number}, {safe(plain_name(name))}, {word}"
    return f"{said}<br>{configuration_label(finalist.trial.configuration)}<br>"
