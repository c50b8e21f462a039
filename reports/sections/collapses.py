"""The section Collapses: reasons, likely causes, hyperparameters, examples, and how reliable the detection is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from reports.figure_style import Drawing, drawing
from reports.plots.collapse_map import CollapseMap
from reports.plots.curves import curves, drawn
from reports.plots.layers import layer_curves
from reports.wording import counted, evidence_text, percent, plain_name, reason
from search.causes import CAUSES, SYMPTOMS
from search.records import TrialState, Verdict
from search.selection.counts import unique_fits
from search.selection.results import Results

TOO_FEW: Final = "There are too few trials or collapses to say which hyperparameters lead to them."
_MOST: Final = 8  # hyperparameters that are listed


@dataclass(frozen=True, slots=True)
class CollapseCauseRow:
    """A likely cause: in how many fits it is suspected, and the evidence of the clearest one."""

    code: str
    sentence: str
    first: int  # fits in which it is the likeliest cause
    named: int  # fits in which it is suspected
    evidence: str
    layer: str | None
    trial: int


@dataclass(frozen=True, slots=True)
class ReasonRow:
    """A reason of collapses: how often it occurred, what it means, and when."""

    code: str
    sentence: str
    fits: int
    share: float  # percent of the most frequent reason, for the bar
    median_epoch: int | None


@dataclass(frozen=True, slots=True)
class Weight:
    """Share of the collapses that a hyperparameter explains, with the length of its bar."""

    name: str
    share: float  # 0 .. 1
    bar: float  # percent of the largest


@dataclass(frozen=True, slots=True)
class CurveEnd:
    """The last values of one of the learning curves."""

    name: str
    fold: int  # from 1
    epochs: int
    skill: float
    loss: float


@dataclass(frozen=True, slots=True)
class Collapses:
    """The template data of the section Collapses: texts, table rows and figures."""

    sentence: str
    reasons: tuple[ReasonRow, ...]
    causes: tuple[CollapseCauseRow, ...]
    symptoms: tuple[tuple[str, str, int], ...]
    weights: tuple[Weight, ...]
    weights_note: str
    map: CollapseMap | None
    map_figure: Drawing | None
    curves: Drawing | None
    curves_of: str  # which of the best configurations have curves; empty if all have
    ends: tuple[CurveEnd, ...]  # the curves as a table
    layers: tuple[tuple[str, tuple[tuple[str, str, Drawing], ...]], ...]  # fit; id, name and figure of each signal
    audit: str


def collapses(results: Results) -> Collapses:
    """Build the template data of the section Collapses: texts, table rows and figures."""
    collapse_map = _map(results)
    fits = drawn(results)
    return Collapses(
        sentence=sentence(results),
        reasons=tuple(reason_rows(results)),
        causes=tuple(cause_rows(results)),
        symptoms=tuple((code, SYMPTOMS.get(code, code), count) for code, count in results.symptoms.items()),
        weights=tuple(weights(dict(results.importances.collapse) if results.importances else {})),
        weights_note=_weights_note(results),
        map=collapse_map,
        map_figure=drawing(collapse_map.figure(), _map_label(collapse_map)) if collapse_map else None,
        curves=drawing(
            curves(results),
            "Validation skill and loss by epoch, for the folds of the best configurations and one collapsed fit for "
            "each reason",
        )
        if fits
        else None,
        curves_of=" that were trained in epochs"
        if any(one.trial.configuration.is_closed_form for one in results.ranking)
        else "",
        ends=tuple(
            CurveEnd(
                one.name, one.fit.fold + 1, one.fit.epochs, one.fit.checks[-1].val_skill, one.fit.checks[-1].val_loss
            )
            for one in fits
        ),
        layers=tuple(_layers(results)),
        audit=audit_sentence(results),
    )


def sentence(results: Results) -> str:
    """Return how many fits collapsed, and the hyperparameter that explains most of it."""
    collapsed, fits = results.verdicts.get(Verdict.COLLAPSED, 0), sum(results.verdicts.values())
    if not collapsed:
        return f"No fit collapsed.{_exact(results, fits)}" if fits else "No fit was run, so none collapsed."
    trials = sum(trial.state is TrialState.COLLAPSED for trial in results.study.trials)
    text = (
        f"{collapsed:,} of {counted(fits, 'fit')} collapsed, which ended {trials:,} of "
        f"{counted(len(results.study.trials), 'trial')}."
    )
    shares = results.importances.collapse if results.importances else {}
    name = max(shares, key=lambda one: shares[one], default=None)
    if name is not None and shares[name] > 0.05:
        text += f" The single hyperparameter that explains most of it is {plain_name(name)} ({percent(shares[name])})."
    return text + _exact(results, fits)


def _exact(results: Results, fits: int) -> str:
    """Return how many of the fits can't collapse; empty if there are none."""
    exact = unique_fits([trial for trial in results.study.trials if trial.configuration.is_closed_form])
    if not exact:
        return ""
    of = "All of them" if len(exact) == fits else f"{len(exact):,} of the {counted(fits, 'fit')}"
    return f" {of} solved a classifier exactly, which can't collapse."


def weights(shares: dict[str, float]) -> list[Weight]:
    """Return the hyperparameters that explain most, with bars."""
    order = sorted(shares.items(), key=lambda item: -item[1])[:_MOST]
    most = max([share for _, share in order], default=0.0) or 1.0
    return [Weight(name, share, round(100 * max(0.0, share) / most, 2)) for name, share in order]


def reason_rows(results: Results) -> list[ReasonRow]:
    """Return the reasons of collapses, the most frequent first."""
    epochs: dict[str, list[int]] = {}
    for trial in results.study.trials:
        for fit in trial.fits:
            if fit.verdict is Verdict.COLLAPSED and fit.reason:
                epochs.setdefault(fit.reason, []).append(fit.epochs)
    most = max(results.collapse_reasons.values(), default=1) or 1
    return [
        ReasonRow(code, reason(code), count, round(100 * count / most, 2), _median(epochs.get(code, [])))
        for code, count in results.collapse_reasons.items()
    ]


def cause_rows(results: Results) -> list[CollapseCauseRow]:
    """Return the likely causes with the evidence of the strongest case, the most frequent first."""
    return [
        CollapseCauseRow(
            one.code,
            CAUSES.get(one.code, one.code),
            one.first,
            one.named,
            evidence_text(one.strongest.evidence),
            one.strongest.layer,
            one.trial,
        )
        for one in results.causes
    ]


def audit_sentence(results: Results) -> str:
    """Return how often collapse detection was wrong."""
    audit = results.audit
    if not audit.checked:
        return (
            "The error rate of collapse detection was not measured in this run: none of the fits that it would have "
            "stopped was selected to run on as a check."
        )
    bound = (
        ""
        if audit.upper_95 is None
        else f", so with 95 % confidence at most {percent(audit.upper_95)} of all stops are wrong"
    )
    return (
        f"{counted(audit.checked, 'fit')} that collapse detection would have stopped ran on as a check: "
        f"{audit.wrongly_stopped} of them learned after all{bound}."
    )


def _layers(results: Results) -> Iterator[tuple[str, tuple[tuple[str, str, Drawing], ...]]]:
    for row, fit in enumerate(layer_curves(results), start=1):
        yield (
            fit.name,
            tuple(
                (f"layers-{row}-{column}", words, drawing(figure, f"{fit.name}: {words} of every layer by epoch"))
                for column, (words, figure) in enumerate(fit.panels, start=1)
            ),
        )


def _map(results: Results) -> CollapseMap | None:
    """Return the map over the two hyperparameters that explain most, of those with at least two values."""
    if not any(trial.state is TrialState.COLLAPSED for trial in results.study.trials):
        return None
    shares = results.importances.collapse if results.importances else {}
    names = [*sorted(shares, key=lambda name: -shares[name]), "learning_rate", "depth"]
    chosen: list[str] = []
    for name in dict.fromkeys(names):
        if CollapseMap.over(results, name, name) is not None:
            chosen.append(name)
        if len(chosen) == 2:
            return CollapseMap.over(results, *chosen)
    return None


def _map_label(collapse_map: CollapseMap) -> str:
    axes = f"{collapse_map.across.title} and {collapse_map.up.title}"
    return f"Trials by {axes}, collapsed or not; the table below has the counts"


def _weights_note(results: Results) -> str:
    if results.importances is None or not results.importances.collapse:
        return TOO_FEW if results.verdicts.get(Verdict.COLLAPSED, 0) else ""
    trials = sum(not trial.configuration.is_closed_form for trial in results.study.trials)
    return (
        "How much of the difference between collapsed and other trials each hyperparameter explains, from "
        f"{results.importances.collapsed:,} collapsed of {counted(trials, 'trial')}."
    )


def _median(values: list[int]) -> int | None:
    return sorted(values)[len(values) // 2] if values else None
