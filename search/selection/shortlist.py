"""Which of the search's best are fitted again, and how often: as many as the time allows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from search.selection.perturbations import FACTOR, SHARE
from search.selection.results import Ranked
from spaces.config import BOUNDS, BY_RATIO, Configuration

FINALISTS: Final = 8
REPEATS: Final = 5

_SCHEMES: Final = ((REPEATS, 4), (3, 3), (2, 2))
"""Repeats, and finalists that make them worth while: first more repeats, then more finalists."""

_Choices = tuple[tuple[str, ...], tuple[tuple[str, object], ...]]


def shortlist(ranking: Sequence[Ranked], count: int = FINALISTS) -> list[Ranked]:
    """The best healthy ones, best first; of close duplicates the better one.

    Args:
        ranking: of the search, best first.
        count: at most so many.
    """
    chosen: list[Ranked] = []
    known: dict[_Choices, list[Sequence[float]]] = {}  # only what chose alike can be close
    for one in ranking:
        if len(chosen) == count:
            break
        if not one.healthy:
            continue
        choices, numbers = _parts(one.trial.configuration)
        alike = known.setdefault(choices, [])
        if not any(_are_close(choices, numbers, other) for other in alike):
            chosen.append(one)
            alike.append(numbers)
    return chosen


def are_close(one: Configuration, other: Configuration) -> bool:
    """Whether two configurations differ by no more than a copy: a factor, or a share of what is possible."""
    (choices, ours), (others, theirs) = _parts(one), _parts(other)
    return choices == others and _are_close(choices, ours, theirs)


def _parts(configuration: Configuration) -> tuple[_Choices, tuple[float, ...]]:
    """Names of the numbers and whatever is no number, which have to be the same; and the numbers."""
    active = configuration.canonical()
    names = tuple(name for name in active if name in BOUNDS)
    others = tuple((name, value) for name, value in active.items() if name not in BOUNDS)
    return (names, others), tuple(float(active[name]) for name in names)


def _are_close(choices: _Choices, ours: Sequence[float], theirs: Sequence[float]) -> bool:
    return all(map(_is_close, choices[0], ours, theirs))


def _is_close(name: str, one: float, other: float) -> bool:
    if one == other:
        return True
    if name in BY_RATIO:
        return min(one, other) > 0 and max(one, other) <= FACTOR * min(one, other)
    low, high = BOUNDS[name]
    return abs(one - other) <= SHARE * (high - low)


@dataclass(frozen=True, slots=True)
class Size:
    """How large a confirmation is."""

    finalists: int
    repeats: int


def affordable(count: int, cost: Callable[[int, int], float], budget: float | None) -> Size:
    """How many finalists, and how often, for what may be spent.

    Five repeats of as many as possible, at least four; where that is too much, three repeats of at least three, two of
    at least two; else the best alone, at least once.

    Args:
        count: finalists that there are.
        cost: of so many finalists, the best ones, and repeats: seconds, or fits.
        budget: in the same unit; None without a limit.
    """
    if not count or budget is None:
        return Size(count, REPEATS if count else 0)
    for repeats, least in _SCHEMES:
        most = next((n for n in range(count, 0, -1) if cost(n, repeats) <= budget), 0)
        if most >= min(least, count):
            return Size(most, repeats)
    return Size(1, next((repeats for repeats in range(REPEATS, 1, -1) if cost(1, repeats) <= budget), 1))
