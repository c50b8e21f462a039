"""How trainings learned or did not: skill and loss over the epochs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from reports.drawing import BLUE, GREEN, GREY, ORANGE, PURPLE, SKY, VERMILLION, layout, safe
from reports.wording import number
from search.records import Fit, Verdict
from search.selection.results import Results

BEST_SHOWN: Final = 3  # trials with learning curves
_BEST_LINES: Final = ({"color": BLUE, "width": 2.4}, {"color": GREEN, "width": 1.2}, {"color": GREY, "width": 1.2})
_COLLAPSED_COLOURS: Final = (VERMILLION, ORANGE, PURPLE, SKY)
_DASHES: Final = ("dash", "dot", "dashdot", "longdash")


def curves(results: Results) -> go.Figure:
    """Validation skill and loss over the epochs: folds of the best trials, and one collapsed fit of every reason."""
    figure = make_subplots(
        rows=2, cols=1, shared_xaxes=True, vertical_spacing=0.07, subplot_titles=("validation skill", "validation loss")
    )
    for ranked, line in zip(results.ranking[:BEST_SHOWN], _BEST_LINES, strict=False):
        name = f"trial {ranked.trial.number} ({number(ranked.pooled)})"
        fits = [fit for fit in ranked.trial.fits if fit.checks and fit.verdict is not Verdict.FAILED]
        for place, fit in enumerate(fits):
            _add_fit(figure, fit, name, line, legend=place == 0)
    for place, (code, fit) in enumerate(collapsed_examples(results).items()):
        line = {
            "color": _COLLAPSED_COLOURS[place % len(_COLLAPSED_COLOURS)],
            "width": 2.2,
            "dash": _DASHES[place % len(_DASHES)],
        }
        _add_fit(figure, fit, safe(f"{code} (trial {fit.trial})"), line, legend=True, end=True)

    entropy = prior_entropy(results.study.data.classes)
    figure.add_hline(y=0.0, line={"color": GREY, "width": 1, "dash": "dash"}, row=1, col=1)
    figure.add_hline(y=entropy, line={"color": GREY, "width": 1, "dash": "dash"}, row=2, col=1)
    losses = [c.val_loss for ranked in results.ranking[:BEST_SHOWN] for fit in ranked.trial.fits for c in fit.checks]
    top = 1.15 * max([entropy, *(loss for loss in losses if math.isfinite(loss) and loss < 4 * entropy)])
    figure.update_layout(layout(height=620))
    figure.update_yaxes(range=[-0.35, 1.02], title="skill", row=1, col=1)
    figure.update_yaxes(range=[0, top or 1.0], title="nats", row=2, col=1)
    figure.update_xaxes(range=[0, results.study.plan.epochs + 0.5])
    figure.update_xaxes(title="epoch", row=2, col=1)
    return figure


def collapsed_examples(results: Results) -> Mapping[str, Fit]:
    """The collapsed fit with the longest record for every reason, most frequent reason first."""
    examples: dict[str, Fit] = {}
    for trial in results.study.trials:
        for fit in trial.fits:
            if fit.verdict is Verdict.COLLAPSED and fit.checks and fit.reason:
                known = examples.get(fit.reason)
                if known is None or len(fit.checks) > len(known.checks):
                    examples[fit.reason] = fit
    order = list(results.collapse_reasons)
    return {
        code: examples[code]
        for code in sorted(examples, key=lambda c: (order.index(c) if c in order else len(order), c))
    }


def prior_entropy(classes: Mapping[str, int]) -> float:
    """Cross-entropy of always predicting the class shares, nats."""
    total = sum(classes.values())
    return -sum(n / total * math.log(n / total) for n in classes.values() if n) if total else 0.0


def _add_fit(
    figure: go.Figure, fit: Fit, name: str, line: Mapping[str, object], *, legend: bool, end: bool = False
) -> None:
    epochs = [check.epoch for check in fit.checks]
    for row, values in (
        (1, [check.val_skill for check in fit.checks]),
        (2, [check.val_loss for check in fit.checks]),
    ):
        sizes = [0] * (len(epochs) - 1) + [9]
        figure.add_scatter(
            x=epochs,
            y=[value if math.isfinite(value) else None for value in values],
            mode="lines+markers" if end or len(epochs) == 1 else "lines",
            marker={"symbol": "x", "size": sizes} if end else None,
            name=name,
            legendgroup=name,
            showlegend=legend and row == 1,
            line=dict(line),
            hovertemplate=f"{name}, fold {fit.fold + 1}<br>epoch %{{x}}: %{{y:.3f}}<extra></extra>",
            row=row,
            col=1,
        )
