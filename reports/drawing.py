"""What all figures share: colours, layout, words of their labels, and how they come into the page.

Colours are of the set of Okabe and Ito, which colour-blind people tell apart; no meaning rests on a colour alone. All
texts are escaped, as plotly reads a part of HTML in labels. The page gives ground and ink.
"""

from __future__ import annotations

import html
import textwrap
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import plotly.graph_objects as go
from markupsafe import Markup

from reports.wording import STATE_WORDS, reason, short, shown
from search.records import Trial
from spaces.config import Configuration

BLUE: Final = "#0072B2"
VERMILLION: Final = "#D55E00"
GREEN: Final = "#009E73"
ORANGE: Final = "#E69F00"
SKY: Final = "#56B4E9"
PURPLE: Final = "#CC79A7"
GREY: Final = "#8A8F98"

_HOVER_WIDTH: Final = 48  # signs on a line of a hover label: a phone is narrow


@dataclass(frozen=True, slots=True)
class Drawing:
    """A figure as the page holds it."""

    json: Markup  # safe inside a `<script>` element
    height: int  # pixels, kept free before it is drawn
    label: str  # for those who can't see it


def drawing(figure: go.Figure, label: str) -> Drawing:
    """The figure as the page holds it."""
    return Drawing(Markup(figure_json(figure)), int(figure.layout.height), label)


def figure_json(figure: go.Figure) -> str:
    """The figure as strict JSON that can stand inside a `<script>` element: no `<`, `>` or `&` is left in it."""
    text = str(figure.to_json(validate=False))
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text


def safe(text: str) -> str:
    """Text from outside as plotly may read it."""
    return html.escape(shown(text))


def on_lines(text: str) -> str:
    """`safe`, on lines short enough for a phone."""
    return "<br>".join(safe(line) for line in textwrap.wrap(text, _HOVER_WIDTH)) or safe(text)


def configuration_label(configuration: Configuration) -> str:
    """A configuration in a hover label."""
    return on_lines(short(configuration))


def trial_label(trial: Trial) -> str:
    """A trial in a hover label: number, how it ended, configuration and reason."""
    why = f"<br>{on_lines(reason(trial.reason))}" if trial.reason else ""
    return f"trial {trial.number}: {STATE_WORDS[trial.state]}<br>{configuration_label(trial.configuration)}{why}"


def rounded(values: Iterable[float | None], digits: int = 4) -> list[float | None]:
    """Few digits are enough for a picture, and keep the page small; what is not finite is left out."""
    return [None if value is None or not abs(value) < float("inf") else round(value, digits) for value in values]


def layout(height: int) -> dict[str, Any]:
    """Settings that all figures share: the page gives ground and ink."""
    return {
        "template": "none",
        "height": height,
        "margin": {"l": 56, "r": 12, "t": 28, "b": 48},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": "system-ui, -apple-system, Segoe UI, Roboto, sans-serif", "size": 13},
        "legend": {"orientation": "h", "yanchor": "bottom", "y": 1.06, "x": 0},
        "hovermode": "closest",
    }
