"""The interactive figures: plotly descriptions that take their ground and ink from the page.

Colours are of the set of Okabe and Ito, which colour-blind people tell apart. All texts are escaped, as plotly reads
a part of HTML in labels.
"""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from reports.wording import STATE_WORDS, metric_name, number, reason, short, shown
from search.records import Fit, TrialState, Verdict
from search.selection.results import Results

BLUE: Final = "#0072B2"
VERMILLION: Final = "#D55E00"
GREEN: Final = "#009E73"
ORANGE: Final = "#E69F00"
SKY: Final = "#56B4E9"
PURPLE: Final = "#CC79A7"
GREY: Final = "#8A8F98"

BEST_SHOWN: Final = 3  # trials with learning curves
_BEST_LINES: Final = ({"color": BLUE, "width": 2.4}, {"color": GREEN, "width": 1.2}, {"color": GREY, "width": 1.2})
_COLLAPSED_COLOURS: Final = (VERMILLION, ORANGE, PURPLE, SKY)
_DASHES: Final = ("dash", "dot", "dashdot", "longdash")


def history(results: Results) -> go.Figure:
    """Score by trial number: judged trials, those stopped early, collapsed ones on the line of chance, best so far."""
    metric = metric_name(results.study.identity.metric)
    pooled = {ranked.trial.number: ranked.pooled for ranked in results.ranking}
    points: dict[TrialState, list[tuple[int, float, str]]] = {state: [] for state in TrialState}
    for trial in results.study.trials:
        score = pooled.get(trial.number)
        if trial.state is TrialState.COLLAPSED:
            score = results.chance
        if score is None:
            score = _running_mean(trial.fits)
        if score is None or not math.isfinite(score):
            continue
        why = f"<br>{safe(reason(trial.reason))}" if trial.reason else ""
        label = f"trial {trial.number}: {STATE_WORDS[trial.state]}<br>{safe(short(trial.configuration))}{why}"
        points[trial.state].append((trial.number, score, label))

    figure = go.Figure()
    for state, name, marker in (
        (TrialState.RACED, "stopped early, behind", {"color": GREY, "symbol": "circle-open", "size": 7}),
        (TrialState.COLLAPSED, "collapsed (at chance)", {"color": VERMILLION, "symbol": "x", "size": 7}),
        (TrialState.COMPLETE, "judged on all folds", {"color": BLUE, "symbol": "circle", "size": 8}),
    ):
        if points[state]:
            numbers, scores, labels = zip(*points[state], strict=True)
            figure.add_scatter(
                x=numbers,
                y=scores,
                mode="markers",
                name=name,
                marker=marker,
                text=labels,
                hovertemplate="%{text}<br><b>%{y:.3f}</b><extra></extra>",
            )
    best = _best_so_far(pooled)
    if best:
        steps, values = zip(*best, strict=True)
        figure.add_scatter(
            x=steps,
            y=values,
            mode="lines",
            name="best so far",
            line={"color": GREEN, "width": 2, "shape": "hv"},
            hovertemplate="best so far: %{y:.3f}<extra></extra>",
        )
    figure.add_hline(y=results.chance, line={"color": GREY, "width": 1, "dash": "dash"})
    figure.update_layout(layout(height=420))
    figure.update_xaxes(title="trial")
    heights = [results.chance, *(score for found in points.values() for _, score, _ in found)]
    figure.update_yaxes(title=metric, range=[min(heights) - 0.04, max(heights) + 0.04])
    return figure


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


def figure_json(figure: go.Figure) -> str:
    """The figure as strict JSON that can stand inside a `<script>` element: no `<`, `>` or `&` is left in it."""
    text = str(figure.to_json(validate=False))
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text


def safe(text: str) -> str:
    """Text from outside as plotly may read it."""
    return html.escape(shown(text))


def _running_mean(fits: Iterable[Fit]) -> float | None:
    scores = [fit.score for fit in fits if fit.score is not None and math.isfinite(fit.score)]
    return sum(scores) / len(scores) if scores else None


def _best_so_far(pooled: Mapping[int, float]) -> Sequence[tuple[int, float]]:
    best: list[tuple[int, float]] = []
    for trial, score in sorted(pooled.items()):
        best.append((trial, max(score, best[-1][1]) if best else score))
    return best


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


def layout(height: int) -> dict[str, object]:
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
