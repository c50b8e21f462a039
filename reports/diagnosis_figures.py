"""The figures of a diagnosis: curves of its fits, and every layer before the first step."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from reports.figure_style import BLUE, GREEN, GREY, ORANGE, PURPLE, SKY, VERMILLION, layout, safe
from search.diagnosis.evidence import Diagnosis, Epoch, LayerStatistics

_COLOURS: Final = (BLUE, ORANGE, GREEN, PURPLE, SKY, VERMILLION)
_FLOOR: Final = 1e-12  # zero is drawn here on a logarithmic axis
_WIDE: Final = 20.0  # with a larger ratio of losses their axis is logarithmic
_NAMED: Final = 40  # with more layers their names do not fit below the axis
_LONGEST: Final = 24  # characters of a name below the axis

_PANELS: Final[Sequence[tuple[str, bool, Sequence[tuple[str, str, str]]]]] = (
    (
        "outputs",
        True,
        (("deviation", "deviation of the outputs", BLUE), ("between_images", "variation between images", SKY)),
    ),
    ("share of units", False, (("dead", "silent for every image", VERMILLION), ("saturated", "saturated", ORANGE))),
    ("gradient", True, (("gradient", "norm of the weights' gradient", GREEN),)),
    ("update", True, (("update", "relative change of the weights in one step", PURPLE),)),
)
"""Panels as title, whether logarithmic, and signals with their names and colours."""


def fit_curves(diagnosis: Diagnosis) -> go.Figure | None:
    """Draw balanced accuracy and loss of every fit by epoch; None without a finished epoch."""
    runs = [run for run in diagnosis.runs if run.epochs]
    if not runs:
        return None
    figure = make_subplots(
        rows=2, cols=1, shared_xaxes=True, vertical_spacing=0.08, subplot_titles=("balanced accuracy", "loss")
    )
    panels: Sequence[tuple[int, str, str, Callable[[Epoch], float]]] = (
        (1, "held-out images", "solid", lambda epoch: epoch.val_score),
        (1, "training images", "dot", lambda epoch: epoch.train_score),
        (2, "held-out images", "solid", lambda epoch: epoch.val_loss),
        (2, "training images", "dot", lambda epoch: epoch.loss),
    )
    for place, run in enumerate(runs):
        name = (
            f"fit {place + 1}: "
            f"{'learned' if run.learned else 'did not learn'}{', stopped early' if run.stopped else ''}"
        )
        colour = _COLOURS[place % len(_COLOURS)]
        for number, (row, part, dash, value) in enumerate(panels):
            figure.add_scatter(
                x=list(range(1, len(run.epochs) + 1)),
                y=_finite(value(epoch) for epoch in run.epochs),
                mode="lines+markers" if len(run.epochs) == 1 else "lines",
                name=name,
                legendgroup=name,
                showlegend=number == 0,
                line={"color": colour, "width": 2, "dash": dash},
                hovertemplate=f"fit {place + 1}, seed {run.seed}, {part}<br>epoch %{{x}}: %{{y:.4g}}<extra></extra>",
                row=row,
                col=1,
            )
    for height, dash in ((diagnosis.chance, "dash"), (diagnosis.threshold, "dot")):
        figure.add_hline(y=height, line={"color": GREY, "width": 1, "dash": dash}, row=1, col=1)
    figure.update_layout(layout(height=560))
    figure.update_yaxes(range=[-0.03, 1.03], row=1, col=1)
    losses = [loss for run in runs for epoch in run.epochs for loss in (epoch.loss, epoch.val_loss) if loss > 0]
    finite = [loss for loss in losses if math.isfinite(loss)]
    if finite and max(finite) > _WIDE * min(finite):
        figure.update_yaxes(type="log", exponentformat="power", row=2, col=1)
    figure.update_xaxes(title="epoch", row=2, col=1)
    return figure


def layer_profile(diagnosis: Diagnosis) -> go.Figure | None:
    """Draw four signals of every layer, from input to output; None without layers."""
    layers = diagnosis.probe.layers
    if not layers:
        return None
    panels = [panel for panel in _PANELS if any(_values(layers, signal, panel[1]) for signal, _, _ in panel[2])]
    figure = make_subplots(
        rows=len(panels),
        cols=1,
        shared_xaxes=True,
        vertical_spacing=0.05,
        subplot_titles=[title for title, _, _ in panels],
    )
    places = list(range(len(layers)))
    names = [safe(layer.name) for layer in layers]
    for row, (_, logarithmic, signals) in enumerate(panels, start=1):
        for signal, meaning, colour in signals:
            values = _values(layers, signal, logarithmic)
            if not values:
                continue
            figure.add_scatter(
                x=list(values),
                y=list(values.values()),
                mode="lines+markers",
                name=meaning,
                line={"color": colour, "width": 1.8},
                marker={"color": colour, "size": 7},
                text=[names[place] for place in values],
                hovertemplate=f"%{{text}}<br>{meaning}: %{{y:.3g}}<extra></extra>",
                row=row,
                col=1,
            )
        if logarithmic:
            figure.update_yaxes(type="log", exponentformat="power", nticks=6, row=row, col=1)
        else:
            figure.update_yaxes(range=[-0.05, 1.05], row=row, col=1)
    figure.update_layout(layout(height=150 + 190 * len(panels)))
    figure.update_xaxes(range=[-0.5, len(layers) - 0.5])
    if len(layers) <= _NAMED:
        ticks = [safe(_shortened(layer.name)) for layer in layers]
        figure.update_xaxes(tickvals=places, ticktext=ticks, tickangle=-40)
    else:
        figure.update_xaxes(title="layer, starting at the input", row=len(panels), col=1)
    return figure


def _values(layers: Sequence[LayerStatistics], signal: str, logarithmic: bool) -> dict[int, float]:
    """Return the finite values by position; empty for a signal that is 0 everywhere on a linear axis."""
    raw = {place: getattr(layer, signal) for place, layer in enumerate(layers)}
    finite = {place: float(value) for place, value in raw.items() if value is not None and math.isfinite(value)}
    if logarithmic:
        return {place: max(value, _FLOOR) for place, value in finite.items()}
    return finite if any(finite.values()) or signal == "dead" else {}


def _finite(values: Iterable[float]) -> list[float | None]:
    return [value if math.isfinite(value) else None for value in values]


def _shortened(name: str) -> str:
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST - 2]}.."
