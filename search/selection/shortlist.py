"""Shortlist: which configurations are fitted again as finalists, and on how many fresh splits the budget allows."""

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
"""Number of repeats, and the fewest finalists for which they are worth while; the first that can be paid is taken."""

_Choices = tuple[tuple[str, ...], tuple[tuple[str, object], ...]]


def shortlist(ranking: Sequence[Ranked], count: int = FINALISTS) -> list[Ranked]:
    """Return the best healthy configurations, best first; of configurations that are close only the best one.

    Args:
        ranking: the ranked trials of the search, best first.
        count: largest number of configurations to return.
    """
    chosen: list[Ranked] = []
    chosen_alike: dict[_Choices, list[Sequence[float]]] = {}  # only what chose alike can be close
    for one in ranking:
        if len(chosen) == count:
            break
        if not one.healthy:
            continue
        choices, numbers = _parts(one.trial.configuration)
        alike = chosen_alike.setdefault(choices, [])
        if not any(_are_close(choices, numbers, other) for other in alike):
            chosen.append(one)
            alike.append(numbers)
    return chosen


def are_close(one: Configuration, other: Configuration) -> bool:
    """Return whether two configurations differ only by small changes of numbers.

    The active hyperparameters and all categorical values must be the same. A number on a ratio scale may differ by
    `FACTOR`, another one by `SHARE` of its bounds.
    """
    (choices, numbers), (other_choices, other_numbers) = _parts(one), _parts(other)
    return choices == other_choices and _are_close(choices, numbers, other_numbers)


def _parts(configuration: Configuration) -> tuple[_Choices, tuple[float, ...]]:
    """Split a configuration: names of its numbers and its other values, which have to be the same; and the numbers."""
    active = configuration.canonical()
    names = tuple(name for name in active if name in BOUNDS)
    others = tuple((name, value) for name, value in active.items() if name not in BOUNDS)
    return (names, others), tuple(float(active[name]) for name in names)


def _are_close(choices: _Choices, numbers: Sequence[float], other_numbers: Sequence[float]) -> bool:
    return all(map(_is_close, choices[0], numbers, other_numbers))


def _is_close(name: str, one: float, other: float) -> bool:
    if one == other:
        return True
    if name in BY_RATIO:
        return min(one, other) > 0 and max(one, other) <= FACTOR * min(one, other)
    low, high = BOUNDS[name]
    return abs(one - other) <= SHARE * (high - low)


@dataclass(frozen=True, slots=True)
class ConfirmationSize:
    """Size of a confirmation: the number of finalists, and of fresh splits on which each of them is fitted."""

    finalists: int
    repeats: int


def confirmation_size(count: int, cost: Callable[[int, int], float], budget: float | None) -> ConfirmationSize:
    """Choose how many finalists to fit again, and on how many fresh splits (repeats), within a budget.

    In this order: 5 repeats of at least 4 finalists, 3 repeats of at least 3, 2 repeats of at least 2; of a shortlist
    that is shorter, all. The first that the budget allows is taken, with as many finalists as it allows. If it allows
    none of them, the best finalist alone gets 5 repeats or fewer; at least 1, even if that costs more than the budget.

    Args:
        count: number of finalists on the shortlist.
        cost: function (n, repeats) -> cost of fitting the best n finalists `repeats` times, in seconds or in fits.
        budget: largest cost, in the unit of `cost`; None: no limit, all finalists get 5 repeats.
    """
    if not count or budget is None:
        return ConfirmationSize(count, REPEATS if count else 0)
    for repeats, least in _SCHEMES:
        most = next((n for n in range(count, 0, -1) if cost(n, repeats) <= budget), 0)
        if most >= min(least, count):
            return ConfirmationSize(most, repeats)
    return ConfirmationSize(1, next((repeats for repeats in range(REPEATS, 1, -1) if cost(1, repeats) <= budget), 1))
