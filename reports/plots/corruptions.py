"""The loss of score under corruptions of the images, mild and strong, for each finalist."""

from __future__ import annotations

from typing import Final

from reports.figure_style import (
    BLUE,
    GREY,
    VERMILLION,
    Figure,
    configuration_label,
    layout,
    markers,
    safe,
    title,
    upright,
)
from reports.wording import plain_name
from search.selection.results import Finalist, Results

_ROW: Final = 46  # pixels per corruption


def corruption_figure(results: Results, names: list[str]) -> Figure | None:
    """Draw a row for each corruption, with the recommended configuration large and the other finalists faint.

    Args:
        results: the results of the study.
        names: the corruptions, from top to bottom.

    Returns:
        None if no corruption was measured.
    """
    measured = [finalist for finalist in results.finalists if finalist.corruptions]
    if not measured or not names:
        return None
    own = results.recommended.ranked.trial.number if results.recommended else None
    data = []
    for ours in (False, True):
        for strength, (word, symbol) in enumerate((("mild", "circle-open"), ("strong", "circle"))):
            points = [
                (
                    round(finalist.corruptions[name][strength], 4),
                    safe(plain_name(name)),
                    _label(finalist, name, word),
                )
                for finalist in measured
                for name in names
                if (finalist.trial.number == own) is ours and name in finalist.corruptions
            ]
            if points:
                colour = (BLUE, VERMILLION)[strength] if ours else GREY
                look = {"color": colour, "symbol": symbol, "size": 12 if ours else 7, "opacity": 1 if ours else 0.6}
                legend = word if ours else f"{word}, other finalists"
                data.append(markers(points, legend, look, "%{text}<b>%{x:.3f}</b> lost"))
    return {
        "data": data,
        "layout": layout(
            130 + _ROW * len(names),
            shapes=[upright(0.0, dash="dash")],
            xaxis={"title": title("loss of score")},
            yaxis={"categoryorder": "array", "categoryarray": [safe(plain_name(name)) for name in reversed(names)]},
        ),
    }


def _label(finalist: Finalist, name: str, word: str) -> str:
    head = f"trial {finalist.trial.number}, {safe(plain_name(name))}, {word}"
    return f"{head}<br>{configuration_label(finalist.trial.configuration)}<br>"
