"""Colours, layout and labels that all figures share, and their JSON for the page.

The colours are from the set of Okabe and Ito, which is safe for colour-blind readers, and nothing is shown by colour
alone. All texts are escaped, since plotly renders some HTML in labels. Background and text colour come from the page.
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

from reports.configurations import short
from reports.wording import STATE_WORDS, reason, shown
from search.records import Trial
from spaces.config import Configuration

BLUE: Final = "#0072B2"
VERMILLION: Final = "#D55E00"
GREEN: Final = "#009E73"
ORANGE: Final = "#E69F00"
SKY: Final = "#56B4E9"
PURPLE: Final = "#CC79A7"
GREY: Final = "#8A8F98"

_HOVER_WIDTH: Final = 48  # characters per line of a hover label, for narrow screens


Figure = dict[str, Any]
"""A figure for plotly.js with `data` (the traces) and `layout`, as plain values: plotly's classes take seconds."""


@dataclass(frozen=True, slots=True)
class Drawing:
    """A figure as it is embedded in the page."""

    json: Markup  # safe inside a `<script>` element
    height: int  # pixels, reserved before the figure is drawn
    label: str  # for screen readers


def drawing(figure: Figure, label: str) -> Drawing:
    """Return the figure as strict JSON that is safe inside a `<script>` element: no `<`, `>` or `&` is left in it.

    Raises:
        ValueError: a number in the figure is not finite.
    """
    json = htmlsafe_json_dumps(figure, allow_nan=False, separators=(",", ":"))
    return Drawing(json, figure["layout"]["height"], label)


def safe(text: str) -> str:
    """Return text with HTML escaped, for labels of plotly."""
    return html.escape(shown(text))


def on_lines(text: str) -> str:
    """Return escaped text in lines short enough for a phone."""
    return "<br>".join(safe(line) for line in textwrap.wrap(text, _HOVER_WIDTH)) or safe(text)


def configuration_label(configuration: Configuration) -> str:
    """Return a configuration for a hover label."""
    return on_lines(short(configuration))


def trial_label(trial: Trial) -> str:
    """Return a trial for a hover label: number, state, configuration and reason."""
    why = f"<br>{on_lines(reason(trial.reason))}" if trial.reason else ""
    return f"trial {trial.number}: {STATE_WORDS[trial.state]}<br>{configuration_label(trial.configuration)}{why}"


def rounded(values: Iterable[float]) -> list[float | None]:
    """Return the values rounded to four decimal places, which keeps the page small; None for NaN and infinities."""
    return [round(value, 4) if math.isfinite(value) else None for value in values]


def layout(height: int, **more: Any) -> dict[str, Any]:
    """Return the layout that all figures share.

    Args:
        height: height of the figure in pixels.
        more: further settings of the layout, which replace the shared ones.
    """
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
    """Return the title of an axis as a value for plotly."""
    return {"text": text}


def heading(text: str, y: float) -> dict[str, Any]:
    """Return the title of a panel at the height `y`, 0 .. 1 of the whole figure."""
    place = {"x": 0.5, "y": y, "xref": "paper", "yref": "paper", "xanchor": "center", "yanchor": "bottom"}
    return {"text": text, "showarrow": False, "font": {"size": 13}, **place}


def level(y: float, panel: str = "") -> dict[str, Any]:
    """Return a dashed horizontal line through a panel; `panel` is the number of its axes, empty for the first."""
    ends = {"xref": f"x{panel} domain", "x0": 0, "x1": 1, "yref": f"y{panel}", "y0": y, "y1": y}
    return {"type": "line", "line": {"color": GREY, "width": 1, "dash": "dash"}, **ends}


def upright(x: float, colour: str = GREY, *, width: float = 1, dash: str = "solid") -> dict[str, Any]:
    """Return a vertical line through the figure.

    Args:
        x: its position on the x axis.
        colour: a CSS colour.
        width: its width in pixels.
        dash: the dash style of plotly.
    """
    ends = {"yref": "y domain", "y0": 0, "y1": 1, "xref": "x", "x0": x, "x1": x}
    return {"type": "line", "line": {"color": colour, "width": width, "dash": dash}, **ends}


def ground(
    colour: str, opacity: float, across: tuple[float, float], up: tuple[float, float] | None = None
) -> dict[str, Any]:
    """Return a coloured area behind the points.

    Args:
        colour: a CSS colour.
        opacity: 0 .. 1.
        across: its ends on the x axis.
        up: its ends on the y axis; None for the whole height.
    """
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
    """Return a trace of points.

    Args:
        points: x, y and hover label of each point.
        name: name in the legend.
        marker: marker settings of plotly.
        hover: hover template, with `%{text}` for the label.
        more: further settings of the trace.
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
