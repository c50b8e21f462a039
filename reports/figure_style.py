"""What all figures share: colours, layout, words of their labels, and how they come into the page.

Colours are of the set of Okabe and Ito, which colour-blind people tell apart; no meaning rests on a colour alone. All
texts are escaped, as plotly reads a part of HTML in labels. The page gives ground and ink.
"""

from __future__ import annotations

import html
import math
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from jinja2.utils import htmlsafe_json_dumps
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


Figure = dict[str, Any]
"""What plotly.js draws: `data`, the traces, and `layout`. Plain values: plotly's own classes take seconds to build."""


@dataclass(frozen=True, slots=True)
class Drawing:
    """A figure as the page holds it."""

    json: Markup  # safe inside a `<script>` element
    height: int  # pixels, kept free before it is drawn
    label: str  # for those who can't see it


def drawing(figure: Figure, label: str) -> Drawing:
    """Return the figure as strict JSON that is safe inside a `<script>` element: no `<`, `>` or `&` is left in it.

    Raises:
        ValueError: a number in the figure is not finite.
    """
    json = htmlsafe_json_dumps(figure, allow_nan=False, separators=(",", ":"))
    return Drawing(json, figure["layout"]["height"], label)


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
    return [None if value is None or not math.isfinite(value) else round(value, digits) for value in values]


def layout(height: int, **more: Any) -> dict[str, Any]:
    """Settings that all figures share, and more of the figure's own."""
    return {
        "template": "none",
        "height": height,
        "margin": {"l": 56, "r": 12, "t": 28, "b": 48},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": "system-ui, -apple-system, Segoe UI, Roboto, sans-serif", "size": 13},
        "legend": {"orientation": "h", "yanchor": "bottom", "y": 1.06, "x": 0},
        "hovermode": "closest",
        **more,
    }


def title(text: str) -> dict[str, str]:
    """An axis' title."""
    return {"text": text}


def heading(text: str, x: float, y: float) -> dict[str, Any]:
    """The title of a part of a figure, at a place of the whole, 0 .. 1."""
    place = {"x": x, "y": y, "xref": "paper", "yref": "paper", "xanchor": "center", "yanchor": "bottom"}
    return {"text": text, "showarrow": False, "font": {"size": 13}, **place}


def level(y: float, colour: str = GREY, *, width: float = 1, dash: str = "dash", panel: str = "") -> dict[str, Any]:
    """A horizontal line through a panel; `panel` is the number of its axes, none for the first."""
    ends = {"xref": f"x{panel} domain", "x0": 0, "x1": 1, "yref": f"y{panel}", "y0": y, "y1": y}
    return {"type": "line", "line": {"color": colour, "width": width, "dash": dash}, **ends}


def upright(x: float, colour: str = GREY, *, width: float = 1, dash: str = "solid") -> dict[str, Any]:
    """A vertical line through the figure."""
    ends = {"yref": "y domain", "y0": 0, "y1": 1, "xref": "x", "x0": x, "x1": x}
    return {"type": "line", "line": {"color": colour, "width": width, "dash": dash}, **ends}


def ground(
    colour: str, opacity: float, across: tuple[float, float], up: tuple[float, float] | None = None
) -> dict[str, Any]:
    """A coloured stretch behind the points; over the whole height without `up`."""
    y0, y1 = up or (0, 1)
    ends = {"x0": across[0], "x1": across[1], "y0": y0, "y1": y1, "yref": "y" if up else "y domain", "xref": "x"}
    return {"type": "rect", "fillcolor": colour, "opacity": opacity, "line": {"width": 0}, "layer": "below", **ends}


def markers(
    points: Sequence[tuple[float | str, float | str, str]],
    name: str,
    marker: Mapping[str, Any],
    hover: str,
    **more: Any,
) -> dict[str, Any]:
    """A trace of points.

    Args:
        points: where they lie, and their hover label.
        name: in the legend.
        marker: as plotly takes it.
        hover: what is shown, with `%{text}` for the label.
        more: of the trace.
    """
    x, y, text = zip(*points, strict=True) if points else ((), (), ())
    return {
        "type": "scatter",
        "mode": "markers",
        "x": list(x),
        "y": list(y),
        "text": list(text),
        "name": name,
        "marker": dict(marker),
        "hovertemplate": f"{hover}<extra></extra>",
        **more,
    }
