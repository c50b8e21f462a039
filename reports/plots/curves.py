"""Learning curves: skill and loss by epoch of good and collapsed fits."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from reports.figure_style import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    SKY,
    VERMILLION,
    Figure,
    configuration_label,
    heading,
    layout,
    level,
    rounded,
    safe,
    title,
)
from reports.wording import number
from search.records import Fit, Verdict
from search.selection.results import Ranked, Results

BEST_SHOWN: Final = 3  # trials with learning curves
_BEST_LINES: Final = ({"color": BLUE, "width": 2.4}, {"color": GREEN, "width": 1.2}, {"color": GREY, "width": 1.2})
_COLLAPSED_COLOURS: Final = (VERMILLION, ORANGE, PURPLE, SKY)
_DASHES: Final = ("dash", "dot", "dashdot", "longdash")


@dataclass(frozen=True, slots=True)
class DrawnFit:
    """A fit with its style in the figure."""

    name: str  # of the group in the legend
    fit: Fit
    configuration: str  # for the hover label; empty if unknown
    line: Mapping[str, Any]
    first: bool  # whether it is the first of its group
    collapsed: bool


def drawn(results: Results) -> list[DrawnFit]:
    """Return the fits to draw: every fold of the best trials with curves, and one collapsed fit for each reason."""
    labels = {trial.number: configuration_label(trial.configuration) for trial in results.study.trials}
    fits_drawn: list[DrawnFit] = []
    for ranked, line in zip(_best_with_curves(results), _BEST_LINES, strict=False):
        name = f"trial {ranked.trial.number} ({number(ranked.pooled)})"
        fits = [fit for fit in ranked.trial.fits if fit.checks and fit.verdict is not Verdict.FAILED]
        fits_drawn += [
            DrawnFit(name, fit, labels.get(fit.trial, ""), line, first=place == 0, collapsed=False)
            for place, fit in enumerate(fits)
        ]
    for place, (code, fit) in enumerate(collapsed_examples(results).items()):
        colour = _COLLAPSED_COLOURS[place % len(_COLLAPSED_COLOURS)]
        line = {"color": colour, "width": 2.2, "dash": _DASHES[place % len(_DASHES)]}
        fits_drawn.append(
            DrawnFit(f"{code} (trial {fit.trial})", fit, labels.get(fit.trial, ""), line, first=True, collapsed=True)
        )
    return fits_drawn


def curves(results: Results) -> Figure:
    """Draw validation skill and loss by epoch for the fits of `drawn`."""
    data = [trace for one in drawn(results) for trace in _traces(one)]
    entropy = prior_entropy(results.study.data.classes)
    losses = [c.val_loss for ranked in _best_with_curves(results) for fit in ranked.trial.fits for c in fit.checks]
    top = 1.15 * max([entropy, *(loss for loss in losses if math.isfinite(loss) and loss < 4 * entropy)])
    epochs = [0, results.study.plan.epochs + 0.5]
    return {
        "data": data,
        "layout": layout(
            620,
            shapes=[level(0.0), level(entropy, panel="2")],
            annotations=[heading("validation skill", 1.0), heading("validation loss", 0.47)],
            xaxis={"anchor": "y", "matches": "x2", "showticklabels": False, "range": epochs},
            yaxis={"domain": [0.54, 1.0], "range": [-0.35, 1.02], "title": title("skill")},
            xaxis2={"anchor": "y2", "range": epochs, "title": title("epoch")},
            yaxis2={"domain": [0.0, 0.46], "anchor": "x2", "range": [0, top or 1.0], "title": title("nats")},
        ),
    }


def _best_with_curves(results: Results) -> list[Ranked]:
    """Return the best configurations that were trained in epochs; a classifier that is solved exactly has no curve."""
    return [one for one in results.ranking if any(fit.checks for fit in one.trial.fits)][:BEST_SHOWN]


def collapsed_examples(results: Results) -> Mapping[str, Fit]:
    """Return the collapsed fit with the longest record for each reason, the most frequent reason first."""
    examples: dict[str, Fit] = {}
    for trial in results.study.trials:
        for fit in trial.fits:
            if fit.verdict is Verdict.COLLAPSED and fit.checks and fit.reason:
                longest = examples.get(fit.reason)
                if longest is None or len(fit.checks) > len(longest.checks):
                    examples[fit.reason] = fit
    order = list(results.collapse_reasons)
    return {
        code: examples[code]
        for code in sorted(examples, key=lambda c: (order.index(c) if c in order else len(order), c))
    }


def prior_entropy(classes: Mapping[str, int]) -> float:
    """Return the cross-entropy of the constant predictor, which always predicts the class frequencies, in nats.

    Args:
        classes: number of images by class name.
    """
    total = sum(classes.values())
    return -sum(n / total * math.log(n / total) for n in classes.values() if n) if total else 0.0


def _traces(one: DrawnFit) -> list[dict[str, Any]]:
    checks, name = one.fit.checks, safe(one.name)
    label = f"{name}, fold {one.fit.fold + 1}" + (f"<br>{one.configuration}" if one.configuration else "")
    panels = (("", [check.val_skill for check in checks]), ("2", [check.val_loss for check in checks]))
    return [
        {
            "type": "scatter",
            "mode": "lines+markers" if one.collapsed or len(checks) == 1 else "lines",
            "x": [check.epoch for check in checks],
            "y": rounded(values),
            "name": name,
            "legendgroup": name,
            "showlegend": one.first and not panel,
            "line": dict(one.line),
            "marker": {"symbol": "x", "size": [0] * (len(checks) - 1) + [9]} if one.collapsed else {},
            "hovertemplate": f"{label}<br>epoch %{{x}}: %{{y:.3f}}<extra></extra>",
            "xaxis": f"x{panel}",
            "yaxis": f"y{panel}",
        }
        for panel, values in panels
    ]
