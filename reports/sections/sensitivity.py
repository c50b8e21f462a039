"""What small changes do to the recommended configuration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from reports.ablation import signed
from reports.wording import compact, counted, metric_name, number, plain_name
from search.selection.results import Neighbour, Neighbourhood, Results

_SEEN: Final = 0.0005  # of the metric: less is shown as 0.000


@dataclass(frozen=True, slots=True)
class NeighbourRow:
    """A slightly changed copy."""

    changes: str
    score: str
    difference: str
    start: float  # percent from the left, of its bar
    width: float
    worse: bool
    cliff: str  # "" or what makes it one


@dataclass(frozen=True, slots=True)
class Neighbours:
    """The copies with their bars."""

    rows: tuple[NeighbourRow, ...]
    zero: float  # percent from the left where the bars begin
    noise: tuple[float, float]  # percent, from and to, of two standard errors around it


def neighbours_sentence(results: Results) -> str:
    """What small changes do."""
    around = results.neighbourhood
    if around is None:
        return (
            "What small changes do to the recommended configuration was not tried."
            if results.recommended
            else "Without a recommended configuration there is nothing to change a little."
        )
    cliffs = sum(one.cliff for one in around.neighbours)
    metric = metric_name(results.study.identity.metric)
    lost = number(around.drop) if around.drop >= _SEEN else "nothing"
    middle = f"in the median they lose {lost} of {number(around.centre)} {metric}"
    tried = counted(len(around.neighbours), "slightly changed copy", "slightly changed copies")
    if around.cliff or cliffs:
        return f"Near a cliff: of {tried}, {cliffs} fell off; {middle}."
    return f"On firm ground: of {tried} none fell off; {middle}."


def neighbours(around: Neighbourhood | None) -> Neighbours | None:
    """The copies, worst first; None where none was tried."""
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
            worse=one.difference < 0,
            cliff=("collapsed" if one.collapsed else "cliff") if one.cliff else "",
        )
        for one in around.neighbours
    )
    return Neighbours(rows, place(0.0), (place(-2 * around.se), place(2 * around.se)))


def _changes(one: Neighbour) -> str:
    return ", ".join(f"{plain_name(name)} {compact(a)} → {compact(b)}" for name, (a, b) in one.changes.items())
