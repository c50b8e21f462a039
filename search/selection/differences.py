"""What lies between two configurations, and the single changes that lead from one to the other.

A hyperparameter without meaning costs no step: one that means nothing to the goal keeps its value, one that means
nothing yet takes the goal's value at once, so that it is right when the change comes that gives it a meaning (the
number of dense units goes along with the first dense layer).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Final

from spaces.config import FIELDS, Configuration, ConfigurationError, Value

_LAYERS: Final = ("depth", "dense_ratio")  # a network on a backbone is told by the dense layers they make


@dataclass(frozen=True, slots=True)
class Way:
    """Two networks whose configurations differ only in what has a meaning."""

    start: Configuration
    goal: Configuration

    @property
    def names(self) -> tuple[str, ...]:
        """The hyperparameters that are still to change."""
        return tuple(name for name in FIELDS if getattr(self.start, name) != getattr(self.goal, name))


@dataclass(frozen=True, slots=True)
class Move:
    """Hyperparameters that take the goal's values, and what comes out."""

    names: tuple[str, ...]
    configuration: Configuration


def way(start: Configuration, goal: Configuration) -> Way:
    """The way with as few changes as possible; both ends keep their hashes."""
    goal = _adopt(goal, start)
    return Way(_adopt(start, goal), goal)


def moves(way: Way, barred: Collection[str] = ()) -> list[Move]:
    """The single changes that give a configuration that can be.

    Where there is none (batch normalization wants a larger batch first, 'flatten' a dense layer), the pairs, and so on:
    all changes together always work.

    Args:
        way: from where one is to the goal.
        barred: hashes of configurations that are not to be passed through; the goal's own is not heeded.
    """
    names = way.names
    for size in range(1, len(names)):
        possible = [move for group in combinations(names, size) if (move := _move(way, group)) is not None]
        if found := [move for move in possible if move.configuration.hash not in barred]:
            return found
    return [Move(names, way.goal)] if names else []


def changes(
    start: Configuration, reached: Configuration, told: Collection[str]
) -> dict[str, tuple[Value | None, Value]]:
    """What a step changed in the network: hyperparameter -> from, to; from is None where it meant nothing.

    Args:
        start: where the whole way begins.
        reached: by the step.
        told: hyperparameters that earlier steps changed.
    """
    return {
        name: (getattr(start, name) if _matters(start, name, reached) else None, getattr(reached, name))
        for name in FIELDS
        if name not in told and getattr(start, name) != getattr(reached, name) and _matters(reached, name, start)
    }


def _adopt(one: Configuration, other: Configuration) -> Configuration:
    """`one` with the values of `other` where that leaves the network as it is.

    One value may be free to change only after another has (depth, after a ratio that makes nothing dense), or together
    with it (depth and ratio of a network on a backbone, if both make the same number of layers dense).
    """
    before = None
    while one != before:
        before = one
        differing = [name for name in FIELDS if getattr(one, name) != getattr(other, name)]
        for names in (*combinations(differing, 1), *combinations(differing, 2)):
            changed = _changed(one, names, other)
            if changed is not None and changed.hash == one.hash:
                one = changed
    return one


def _matters(one: Configuration, name: str, other: Configuration) -> bool:
    """Whether `one` with the value of `other` is another network, or none.

    Depth and ratio may be free together where each alone is not, and the other way round.
    """
    if name not in _LAYERS:
        return _differs(one, (name,), other)
    alone = {layer: _differs(one, (layer,), other) for layer in _LAYERS}
    return _differs(one, _LAYERS, other) and (alone[name] or not any(alone.values()))


def _differs(one: Configuration, names: Sequence[str], other: Configuration) -> bool:
    changed = _changed(one, names, other)
    return changed is None or changed.hash != one.hash


def _changed(one: Configuration, names: Sequence[str], other: Configuration) -> Configuration | None:
    """`one` with some values of `other`; None where that can't be."""
    try:
        return replace(one, **{name: getattr(other, name) for name in names})
    except ConfigurationError:
        return None


def _move(way: Way, names: tuple[str, ...]) -> Move | None:
    changed = _changed(way.start, names, way.goal)
    return None if changed is None else Move(names, changed)
