"""Why others collapsed: reasons, causes, the hyperparameters behind it, examples, and how often the watch is wrong."""

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
from search.selection.results import Results

TOO_FEW: Final = "Which hyperparameters are behind the collapses can't be told from so few trials or collapses."
_MOST: Final = 8  # hyperparameters named


@dataclass(frozen=True, slots=True)
class CauseRow:
    """A likely cause: in how many trainings, and the evidence of the clearest one."""

    code: str
    sentence: str
    first: int  # trainings in which it is the likeliest
    named: int
    evidence: str
    layer: str | None
    trial: int


@dataclass(frozen=True, slots=True)
class ReasonRow:
    """A reason of collapses: how often, what it means, when it was seen."""

    code: str
    sentence: str
    fits: int
    share: float  # of the most frequent one, for the bar
    median_epoch: int | None


@dataclass(frozen=True, slots=True)
class Weight:
    """What a hyperparameter explains."""

    name: str
    share: float  # 0 .. 1
    bar: float  # percent of the largest


@dataclass(frozen=True, slots=True)
class End:
    """How a training of the curves ended."""

    name: str
    fold: int  # from 1
    epochs: int
    skill: float
    loss: float


@dataclass(frozen=True, slots=True)
class Collapses:
    """Everything that the section shows."""

    sentence: str
    reasons: tuple[ReasonRow, ...]
    causes: tuple[CauseRow, ...]
    symptoms: tuple[tuple[str, str, int], ...]
    weights: tuple[Weight, ...]
    weights_note: str
    map: CollapseMap | None
    map_figure: Drawing | None
    curves: Drawing | None
    ends: tuple[End, ...]  # the curves as a table
    layers: tuple[tuple[str, tuple[tuple[str, str, Drawing], ...]], ...]  # training; id, signal and its figure
    audit: str


def collapses(results: Results) -> Collapses:
    """The section, laid out."""
    found = _map(results)
    trainings = drawn(results)
    return Collapses(
        sentence=sentence(results),
        reasons=tuple(reason_rows(results)),
        causes=tuple(cause_rows(results)),
        symptoms=tuple((code, SYMPTOMS.get(code, code), count) for code, count in results.symptoms.items()),
        weights=tuple(weights(dict(results.importances.collapse) if results.importances else {})),
        weights_note=_weights_note(results),
        map=found,
        map_figure=drawing(found.figure(), _map_label(found)) if found else None,
        curves=drawing(
            curves(results),
            "Validation skill and loss over the epochs, for the folds of the best "
            "configurations and one collapsed training of every reason",
        )
        if trainings
        else None,
        ends=tuple(
            End(one.name, one.fit.fold + 1, one.fit.epochs, one.fit.checks[-1].val_skill, one.fit.checks[-1].val_loss)
            for one in trainings
        ),
        layers=tuple(_layers(results)),
        audit=audit_sentence(results),
    )


def sentence(results: Results) -> str:
    """How much collapsed, and what is behind it most of all."""
    collapsed, fits = results.verdicts.get(Verdict.COLLAPSED, 0), sum(results.verdicts.values())
    if not collapsed:
        return "No training collapsed." if fits else "Nothing was trained, so nothing collapsed."
    trials = sum(trial.state is TrialState.COLLAPSED for trial in results.study.trials)
    said = (
        f"{collapsed:,} of {counted(fits, 'training')} collapsed, which ended {trials:,} of "
        f"{counted(len(results.study.trials), 'configuration')}."
    )
    shares = results.importances.collapse if results.importances else {}
    name = max(shares, key=lambda one: shares[one], default=None)
    if name is not None and shares[name] > 0.05:
        said += (
            f" Of single hyperparameters {plain_name(name)} explains the largest share of it ({percent(shares[name])})."
        )
    return said


def weights(shares: dict[str, float]) -> list[Weight]:
    """The hyperparameters that explain most, with bars."""
    order = sorted(shares.items(), key=lambda item: -item[1])[:_MOST]
    most = max([share for _, share in order], default=0.0) or 1.0
    return [Weight(name, share, round(100 * max(0.0, share) / most, 2)) for name, share in order]


def reason_rows(results: Results) -> list[ReasonRow]:
    """Collapses by reason, most frequent first."""
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


def cause_rows(results: Results) -> list[CauseRow]:
    """Likely causes, those most often likeliest first, with the strongest case's evidence."""
    return [
        CauseRow(
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
    """How often the watch was wrong."""
    audit = results.audit
    if not audit.checked:
        return (
            "No training that the watch would have stopped was drawn to run on as a check, so how often it is wrong "
            "was not measured in this run."
        )
    bound = (
        ""
        if audit.upper_95 is None
        else f", so with 95 % confidence at most {percent(audit.upper_95)} of the stops are wrong"
    )
    return (
        f"{counted(audit.checked, 'training')} that the watch would have stopped ran on as a check: "
        f"{audit.wrongly_stopped} of them learned after all{bound}."
    )


def _layers(results: Results) -> Iterator[tuple[str, tuple[tuple[str, str, Drawing], ...]]]:
    for row, training in enumerate(layer_curves(results), start=1):
        yield (
            training.name,
            tuple(
                (f"layers-{row}-{column}", words, drawing(figure, f"{training.name}: {words} of every layer by epoch"))
                for column, (words, figure) in enumerate(training.panels, start=1)
            ),
        )


def _map(results: Results) -> CollapseMap | None:
    """Over the two hyperparameters that explain most, of those with two values at least."""
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


def _map_label(found: CollapseMap) -> str:
    return f"Trials by {found.across.title} and {found.up.title}, collapsed or not; the table below has the counts"


def _weights_note(results: Results) -> str:
    if results.importances is None or not results.importances.collapse:
        return TOO_FEW if results.verdicts.get(Verdict.COLLAPSED, 0) else ""
    trials = len(results.study.trials)
    return (
        f"Share of what decides between collapse and not that each hyperparameter explains, from "
        f"{results.importances.collapsed:,} collapsed of {counted(trials, 'trial')}."
    )


def _median(values: list[int]) -> int | None:
    return sorted(values)[len(values) // 2] if values else None
