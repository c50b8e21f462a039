"""Differences between two configurations, and the single changes that lead from one to the other.

Changing an inactive hyperparameter does not count as a change. If a hyperparameter has no effect in the goal, it keeps
the start's value. If it has no effect in the start, it takes the goal's value at once, so that the value is already
right when another change activates it: the number of dense units is set together with the first dense layer.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Final

from spaces.config import FIELDS, Configuration, ConfigurationError, Value

_LAYERS: Final = ("depth", "dense_ratio")  # a network on a backbone is defined by the dense layers they make


@dataclass(frozen=True, slots=True)
class Difference:
    """Two configurations that differ only in hyperparameters that affect the network or its training."""

    start: Configuration
    goal: Configuration

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the hyperparameters whose values differ, in the order of `FIELDS`."""
        return tuple(name for name in FIELDS if getattr(self.start, name) != getattr(self.goal, name))


@dataclass(frozen=True, slots=True)
class Move:
    """A step from a configuration towards the goal.

    Attributes:
        names: hyperparameters that take the goal's values.
        configuration: the configuration after the change.
    """

    names: tuple[str, ...]
    configuration: Configuration


def difference(start: Configuration, goal: Configuration) -> Difference:
    """Return the difference with as few differing hyperparameters as possible.

    Inactive hyperparameters of one configuration take the value of the other, so both hashes stay the same.
    """
    goal = _adopt(goal, start)
    return Difference(_adopt(start, goal), goal)


def moves(difference: Difference, barred: Collection[str] = ()) -> list[Move]:
    """Return the smallest changes towards the goal that give a valid configuration.

    These are the changes of one hyperparameter. If none of them is valid (batch normalization may need a larger batch
    first, the head 'flatten' a dense layer), changes of two hyperparameters are returned, and so on; all changes at
    once are always valid.

    Args:
        difference: the present configuration and the goal.
        barred: hashes of configurations that must not be reached, the goal excepted.

    Returns:
        The possible changes, all of the same number of hyperparameters; empty if there is no difference.
    """
    names = difference.names
    for size in range(1, len(names)):
        possible = [move for group in combinations(names, size) if (move := _move(difference, group)) is not None]
        if allowed := [move for move in possible if move.configuration.hash not in barred]:
            return allowed
    return [Move(names, difference.goal)] if names else []


def changes(
    start: Configuration, reached: Configuration, changed_before: Collection[str]
) -> dict[str, tuple[Value | None, Value]]:
    """Return `{name: (old, new)}` for the hyperparameters that a step was the first to change.

    `old` is None if the hyperparameter had no effect in `start`. Hyperparameters without an effect in `reached` are
    left out.

    Args:
        start: configuration at the beginning of the whole path.
        reached: configuration after the step.
        changed_before: names of the hyperparameters that earlier steps changed.
    """
    return {
        name: (getattr(start, name) if _matters(start, name, reached) else None, getattr(reached, name))
        for name in FIELDS
        if name not in changed_before
        and getattr(start, name) != getattr(reached, name)
        and _matters(reached, name, start)
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


def _move(difference: Difference, names: tuple[str, ...]) -> Move | None:
    changed = _changed(difference.start, names, difference.goal)
    return None if changed is None else Move(names, changed)
