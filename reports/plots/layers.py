"""Signals of every layer by epoch: scale of its outputs, gradient, dead units."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from plotly.colors import sample_colorscale

from reports.figure_style import Figure, layout, title
from reports.plots.curves import collapsed_examples
from search.fit_checks import LAYER_SIGNALS
from search.records import Fit, Verdict
from search.selection.results import Results
from spaces.config import Configuration

SHOWN: Final = {"scale": "scale of outputs", "gradient": "mean gradient", "dead_share": "dead units"}
_MOST: Final = 4  # fits, at most
_FLOOR: Final = 1e-12  # zero is drawn here on a logarithmic axis


@dataclass(frozen=True, slots=True)
class LayerCurves:
    """One fit with a small figure for each signal."""

    name: str
    panels: tuple[tuple[str, Figure], ...]  # name of the signal, figure with one line per layer


def layer_curves(results: Results) -> list[LayerCurves]:
    """Return figures of one fit of the best configuration and of one collapsed fit for each reason."""
    return [
        LayerCurves(name, tuple((words, _panel(configuration, fit, signal)) for signal, words in SHOWN.items()))
        for name, configuration, fit in _chosen(results)
    ]


def _panel(configuration: Configuration, fit: Fit, signal: str) -> Figure:
    epochs, names = [0, *(check.epoch for check in fit.checks)], configuration.layer_names
    colours = sample_colorscale("Viridis", [0.9 * place / max(1, len(names) - 1) for place in range(len(names))])
    values = fit.layers[:, :, LAYER_SIGNALS.index(signal)]
    shares = signal == "dead_share"
    data = [
        {
            "type": "scatter",
            "mode": "lines",
            "x": epochs,
            "y": _drawn(values[:, place], logarithmic=not shares),
            "name": layer,
            "line": {"color": colours[place], "width": 1.8},
            "hovertemplate": f"{layer}<br>epoch %{{x}}: %{{y:.3g}}<extra></extra>",
        }
        for place, layer in enumerate(names)
        if not (shares and layer == "output")
    ]
    heights = {"range": [-0.03, 1.03]} if shares else _powers(values)
    settings = layout(
        210,
        showlegend=False,
        margin={"l": 48, "r": 8, "t": 6, "b": 36},
        xaxis={"title": {**title("epoch"), "standoff": 4}},
        yaxis=heights,
    )
    settings["font"]["size"] = 12
    return {"data": data, "layout": settings}


def _powers(values: np.ndarray) -> dict[str, object]:
    return {"type": "log", "exponentformat": "power", "dtick": 1 if _decades(values) <= 5 else 3}


def _chosen(results: Results) -> list[tuple[str, Configuration, Fit]]:
    """Return name, configuration and fit of one good fit and of collapsed fits that have layer signals."""
    configurations = {trial.number: trial.configuration for trial in results.study.trials}
    chosen = []
    trained = [one for one in results.ranking if not one.trial.configuration.is_closed_form]
    for ranked in trained[:1]:
        for fit in ranked.trial.fits:
            if fit.verdict is Verdict.LEARNED and fit.layers.size:
                best = "best" if ranked is results.ranking[0] else "best with layers"
                chosen.append((f"trial {ranked.trial.number}, {best}", ranked.trial.configuration, fit))
                break
    for code, fit in collapsed_examples(results).items():
        if fit.layers.size and fit.trial in configurations:
            chosen.append((f"trial {fit.trial}, {code}", configurations[fit.trial], fit))
    return [one for one in chosen if len(one[1].layer_names) == one[2].layers.shape[1]][:_MOST]


def _decades(values: np.ndarray) -> float:
    """Return how many powers of ten the values span."""
    positive = np.maximum(values[np.isfinite(values)], _FLOOR)
    return float(np.log10(positive.max() / positive.min())) if positive.size else 0.0


def _drawn(values: np.ndarray, *, logarithmic: bool) -> list[float | None]:
    """Return the values rounded to three significant digits, for a small page; None for NaN and infinities."""
    shown = [float(f"{value:.3g}") if math.isfinite(value) else None for value in values.tolist()]
    return [None if v is None else max(v, _FLOOR) for v in shown] if logarithmic else list(shown)
