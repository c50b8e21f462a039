"""Safe ranges: how far each hyperparameter may differ from the recommended configuration without a known loss."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from search.selection.results import Neighbourhood, SafeRange
from spaces.config import CHOICES, FIELDS, Configuration, Value


def safe_ranges(
    recommended: Configuration, neighbourhood: Neighbourhood | None, equal: Sequence[Configuration]
) -> dict[str, SafeRange]:
    """Return the safe range of each active hyperparameter of the recommended configuration.

    A range spans the recommended value, the values of neighbours without a cliff, and the values of configurations that
    can't be told apart from the recommended one; it ends before the next cliff.

    Args:
        recommended: the recommended configuration.
        neighbourhood: effects of small changes; None if none were tried.
        equal: configurations that can't be told apart from the recommended one; it may be among them.

    Returns:
        Name of the hyperparameter -> range, in the order of the fields of `Configuration`; hyperparameters that no
        neighbour and no equal configuration varies are left out.
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
