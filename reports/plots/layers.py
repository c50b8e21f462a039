"""What every layer did over a training: scale of its outputs, gradient, dead units."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import plotly.graph_objects as go
from plotly.colors import sample_colorscale
from plotly.subplots import make_subplots

from reports.drawing import layout, safe
from reports.plots.curves import collapsed_examples
from search.records import LAYER_SIGNALS, Fit, Verdict
from search.selection.results import Results
from spaces.config import Configuration

SHOWN: Final = {"scale": "scale of outputs", "gradient": "mean gradient", "dead_share": "dead units"}
_MOST: Final = 4  # trainings
_FLOOR: Final = 1e-12  # what is exactly 0 is drawn here on a logarithmic axis


def layer_curves(results: Results) -> go.Figure | None:
    """A row a training, a column a signal, a line a layer, dark first layers to bright last ones; None without any."""
    trainings = _chosen(results)
    if not trainings:
        return None
    first, *others = SHOWN.values()
    titles = [title for name, _, _ in trainings for title in (f"{name}: {first}", *others)]
    figure = make_subplots(
        rows=len(trainings), cols=len(SHOWN), subplot_titles=titles, vertical_spacing=0.34 / len(trainings) ** 1.4
    )
    for row, (_, configuration, fit) in enumerate(trainings, start=1):
        epochs = [0, *(check.epoch for check in fit.checks)]
        names = _names(configuration)
        colours = sample_colorscale("Viridis", [0.9 * place / max(1, len(names) - 1) for place in range(len(names))])
        for column, signal in enumerate(SHOWN, start=1):
            values = fit.layers[:, :, LAYER_SIGNALS.index(signal)]
            for place, layer in enumerate(names):
                if signal == "dead_share" and layer == "output":
                    continue
                figure.add_scatter(
                    x=epochs,
                    y=_drawn(values[:, place], logarithmic=signal != "dead_share"),
                    mode="lines",
                    name=layer,
                    showlegend=False,
                    line={"color": colours[place], "width": 1.8},
                    hovertemplate=f"{layer}<br>epoch %{{x}}: %{{y:.3g}}<extra></extra>",
                    row=row,
                    col=column,
                )
            if signal == "dead_share":
                figure.update_yaxes(range=[-0.03, 1.03], row=row, col=column)
            else:
                figure.update_yaxes(
                    type="log", exponentformat="power", dtick=1 if _decades(values) <= 5 else 3, row=row, col=column
                )
        figure.update_xaxes(title="epoch", row=len(trainings), col=1)
    figure.update_layout({**layout(height=90 + 230 * len(trainings)), "font": {"size": 12}})
    figure.update_annotations(font_size=12)
    return figure


def _chosen(results: Results) -> list[tuple[str, Configuration, Fit]]:
    """One training of the best configuration, and collapsed ones, that kept their layers."""
    configurations = {trial.number: trial.configuration for trial in results.study.trials}
    found = []
    for ranked in results.ranking[:1]:
        for fit in ranked.trial.fits:
            if fit.verdict is Verdict.LEARNED and fit.layers.size:
                found.append((f"trial {ranked.trial.number}, best", ranked.trial.configuration, fit))
                break
    for code, fit in collapsed_examples(results).items():
        if fit.layers.size and fit.trial in configurations:
            found.append((safe(f"trial {fit.trial}, {code}"), configurations[fit.trial], fit))
    return [one for one in found if len(_names(one[1])) == one[2].layers.shape[1]][:_MOST]


def _names(configuration: Configuration) -> list[str]:
    conv = [f"conv {place + 1}" for place in range(configuration.n_conv)]
    return [*conv, *(f"dense {place + 1}" for place in range(configuration.n_dense)), "output"]


def _decades(values: np.ndarray) -> float:
    """How many powers of ten the values span."""
    known = np.maximum(values[np.isfinite(values)], _FLOOR)
    return float(np.log10(known.max() / known.min())) if known.size else 0.0


def _drawn(values: np.ndarray, *, logarithmic: bool) -> list[float | None]:
    """Three digits are enough for a picture, and keep the page small."""
    shown = [float(f"{value:.3g}") if math.isfinite(value) else None for value in values.tolist()]
    return [None if v is None else max(v, _FLOOR) for v in shown] if logarithmic else list(shown)
