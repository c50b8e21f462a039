"""Safe ranges: values of each hyperparameter that hold around the recommended configuration."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from search.selection.results import Neighbourhood, SafeRange
from spaces.config import CHOICES, FIELDS, Configuration, Value


def safe_ranges(
    recommended: Configuration, neighbourhood: Neighbourhood | None, equal: Sequence[Configuration]
) -> dict[str, SafeRange]:
    """Safe range of each hyperparameter that means something for the recommended configuration.

    A range holds the recommended value, those of neighbours without a cliff, and those of configurations that can't be
    told apart from the best, as far as no cliff lies between.

    Args:
        recommended: the configuration in the middle.
        neighbourhood: effect of small changes, None where that was not tried.
        equal: configurations that can't be told apart from the best; the recommended one may be among them.

    Returns:
        By hyperparameter, in the order of `Configuration`; hyperparameters that no other configuration varies are left
        out.
    """
    others = [one for one in equal if one.hash != recommended.hash]
    tried = neighbourhood.neighbours if neighbourhood is not None else ()
    ranges = {}
    for name in recommended.active:
        held = [getattr(one, name) for one in others if name in one.active]
        held += [one.changes[name][1] for one in tried if name in one.changes and not one.cliff]
        cliffs = [one.changes[name][1] for one in tried if name in one.changes and one.cliff]
        if held or cliffs:
            ranges[name] = _safe(name, getattr(recommended, name), held, cliffs)
    return ranges


def _safe(name: str, centre: Value, held: Sequence[Value], cliffs: Collection[Value]) -> SafeRange:
    """Safe range of one hyperparameter."""
    if FIELDS[name] in ("str", "bool"):
        order = CHOICES.get(name, (False, True))
        values = {centre, *held} - (set(cliffs) - {centre})
        choices = tuple(value for value in order if value in values)
        return SafeRange(low=None, high=None, choices=choices, configurations=1 + len(held))
    floor = max((float(value) for value in cliffs if float(value) < float(centre)), default=float("-inf"))
    ceiling = min((float(value) for value in cliffs if float(value) > float(centre)), default=float("inf"))
    inside = [centre, *(value for value in held if floor < float(value) < ceiling)]
    return SafeRange(low=min(inside, key=float), high=max(inside, key=float), choices=(), configurations=len(inside))
