"""Variants of the recommended configuration and what they lose, part of the section What matters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from reports.ablation import signed
from reports.wording import compact, counted, metric_name, number, plain_name
from search.selection.results import Neighbour, Neighbourhood, Results

_VISIBLE: Final = 0.0005  # a smaller difference is displayed as 0.000


@dataclass(frozen=True, slots=True)
class NeighbourRow:
    """A variant of the recommended configuration, with its score and bar."""

    changes: str
    score: str
    difference: str
    start: float  # start of its bar, percent from the left
    width: float
    cliff: str  # empty, "cliff" or "collapsed"


@dataclass(frozen=True, slots=True)
class Neighbours:
    """The variants of the recommended configuration, with the scale of their bars."""

    rows: tuple[NeighbourRow, ...]
    zero: float  # position of no difference, percent from the left
    noise: tuple[float, float]  # start and end of the band of two standard errors, percent from the left


def neighbours_sentence(results: Results) -> str:
    """Return how much of the score the variants of the recommended configuration lose, and how many lose much."""
    around = results.neighbourhood
    if around is None:
        if results.recommended is None:
            return "There is no recommended configuration whose small changes could be measured."
        if results.recommended.ranked.trial.configuration.is_closed_form:
            return (
                "The recommended classifier is solved exactly and chooses the strength of its regularization by "
                "itself, so it has no numbers that could be changed a little."
            )
        return "The effect of small changes to the recommended configuration was not measured."
    cliffs = sum(one.cliff for one in around.neighbours)
    metric = metric_name(results.study.identity.metric)
    lost = number(around.drop) if around.drop >= _VISIBLE else "nothing"
    median = f"the median one lost {lost} of {number(around.centre)} {metric}"
    tried = f"{counted(len(around.neighbours), 'variant')} of the recommended configuration"
    if around.cliff or cliffs:
        return f"Near a cliff: {cliffs} of {tried} lost much of the score; {median}."
    return f"No cliff: none of {tried} lost much of the score; {median}."


def neighbours(around: Neighbourhood | None) -> Neighbours | None:
    """Return the variants of the recommended configuration, the worst first; None if none was tried."""
    if around is None or not around.neighbours:
        return None
    ends = [0.0, 2 * around.se, -2 * around.se, *(one.difference for one in around.neighbours)]
    low, high = min(ends), max(ends)

    def place(value: float) -> float:
        return round(100 * (value - low) / ((high - low) or 1.0), 2)

    rows = tuple(
        NeighbourRow(
            changes=_changes(one),
            score=number(one.score),
            difference=signed(one.difference),
            start=place(min(0.0, one.difference)),
            width=round(abs(place(one.difference) - place(0.0)), 2),
            cliff=("collapsed" if one.collapsed else "cliff") if one.cliff else "",
        )
        for one in around.neighbours
    )
    return Neighbours(rows, place(0.0), (place(-2 * around.se), place(2 * around.se)))


def _changes(one: Neighbour) -> str:
    return ", ".join(f"{plain_name(name)} {compact(a)} → {compact(b)}" for name, (a, b) in one.changes.items())
