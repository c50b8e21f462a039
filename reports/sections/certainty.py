"""The section Confidence: every fit of every finalist, their table, and the ranking of the search."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Final

from reports.configurations import short
from reports.figure_style import Drawing, drawing
from reports.plots.finalists import finalist_fits
from reports.scales import Scale
from reports.wording import counted, number, percent, whole
from search.selection.results import Finalist, Ranked, Results

SHOWN: Final = 20  # rows of the ranking of the search
NOTHING_CONFIRMED: Final = (
    "No configuration was trained again on fresh splits, so the only scores are those of the search. They are "
    "too high, because the best configurations were selected by them."
)


@dataclass(frozen=True, slots=True)
class FinalistRow:
    """A finalist as a row of the table."""

    place: int
    trial: int
    robust: str
    mean: str
    se: str
    worst: str
    collapsed: str
    weights: str
    standing: str
    configuration: str
    chosen: bool


@dataclass(frozen=True, slots=True)
class SplitRow:
    """The scores of a finalist's fits on one fresh split."""

    trial: int
    split: int
    scores: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Confidence:
    """The template data of the section Confidence: figure, finalists and ranking of the search."""

    sentence: str
    figure: Drawing | None
    finalists: tuple[FinalistRow, ...]
    splits: tuple[SplitRow, ...]  # the figure as a table
    notes: tuple[str, ...]
    best: tuple[Ranked, ...]  # the best configurations of the search
    has_layers: bool  # whether any of them is trained, so that it has more hyperparameters than features
    folds_scale: Scale
    more: int  # ranked configurations that are not shown


def confidence(results: Results) -> Confidence:
    """Build the template data of the section Confidence: figure, finalists and ranking of the search."""
    return Confidence(
        sentence=sentence(results),
        figure=drawing(finalist_fits(results), _label(results)) if results.finalists else None,
        finalists=tuple(finalist_rows(results)),
        splits=tuple(_splits(results)),
        notes=notes(results),
        best=results.ranking[:SHOWN],
        has_layers=any(not ranked.trial.configuration.is_closed_form for ranked in results.ranking[:SHOWN]),
        folds_scale=folds_scale(results),
        more=max(0, len(results.ranking) - SHOWN),
    )


def sentence(results: Results) -> str:
    """Return how many fits support the answer."""
    if not results.ranking:
        return "No configuration was scored on all folds, so there was nothing to train again."
    if not results.finalists:
        return NOTHING_CONFIRMED
    fits = sum(len(finalist.fits) for finalist in results.finalists)
    plan = results.study.confirmation
    splits = f" ({counted(plan.repeats, 'split')} of {counted(plan.folds, 'fold')})" if plan else ""
    were = "was" if len(results.finalists) == 1 else "were"
    text = (
        f"{counted(len(results.finalists), 'finalist')} {were} trained again on fresh splits with fresh seeds{splits}: "
        f"{counted(fits, 'fit')}."
    )
    own = results.recommended.ranked.trial.number if results.recommended else None
    equal = sum(finalist.equal and finalist.trial.number != own for finalist in results.finalists)
    if not equal:
        return text
    others = f"{counted(equal, 'other finalist')} {'is' if equal == 1 else 'are'}"
    return f"{text} {others} not significantly different from the recommended one."


def notes(results: Results) -> tuple[str, ...]:
    """Return the notes of the plan, and how many of its splits were done if there was no time for all."""
    plan = results.study.confirmation
    if plan is None:
        return ()
    is_cut = 0 < plan.repeats < plan.planned and len(plan.dropped) < len(plan.finalists)
    return (*plan.notes, f"Splits done: {plan.repeats} of {plan.planned}.") if is_cut else plan.notes


def finalist_rows(results: Results) -> list[FinalistRow]:
    """Return a row of display text per finalist for the table Confidence, in the order of `results.finalists`."""
    own = results.recommended.ranked.trial.number if results.recommended else None
    return [
        FinalistRow(
            place=place,
            trial=finalist.trial.number,
            robust=number(finalist.robust),
            mean=number(finalist.mean),
            se=number(finalist.se),
            worst=number(finalist.worst),
            collapsed=_collapsed(finalist),
            weights=whole(finalist.parameters),
            standing=_standing(finalist, chosen=finalist.trial.number == own),
            configuration=short(finalist.trial.configuration),
            chosen=finalist.trial.number == own,
        )
        for place, finalist in enumerate(results.finalists, start=1)
    ]


def _collapsed(finalist: Finalist) -> str:
    if finalist.trial.configuration.is_closed_form:
        return "can't collapse"
    return f"{finalist.collapsed} of {len(finalist.fits)} (≤ {percent(finalist.collapse_upper)})"


def folds_scale(results: Results) -> Scale:
    """Return one scale for the fold dots of all rows of the ranking."""
    return Scale.around([results.chance, *(score for ranked in results.ranking[:SHOWN] for score in ranked.folds)])


def _standing(finalist: Finalist, *, chosen: bool) -> str:
    """Return the finalist's status: recommended, vetoed, not healthy, dropped, not finished, equal."""
    words = ["recommended"] if chosen else []
    if finalist.veto:
        words.append("ruled out: collapses too often")
    elif not finalist.healthy and finalist.complete:
        words.append("not healthy")
    if finalist.dropped:
        words.append(f"not fitted further: {finalist.dropped}")
    elif not finalist.complete:
        words.append("not finished")
    if finalist.equal and not chosen:
        words.append("not significantly different")
    return "; ".join(words)


def _splits(results: Results) -> list[SplitRow]:
    rows = []
    for finalist in results.finalists:
        by_split: dict[int, list[str]] = defaultdict(list)
        for fit, score in zip(finalist.fits, finalist.scores, strict=True):
            collapsed = f" ({fit.reason or 'collapsed'})" if fit.verdict == "collapsed" else ""
            by_split[fit.repeat].append(number(score) + collapsed)
        rows += [SplitRow(finalist.trial.number, split + 1, tuple(scores)) for split, scores in by_split.items()]
    return rows


def _label(results: Results) -> str:
    best = results.finalists[0]
    return (
        f"Score of every fit of every finalist on fresh splits; the first, trial {best.trial.number}, has a mean of "
        f"{number(best.mean)} and a worst score of {number(best.worst)}"
    )
