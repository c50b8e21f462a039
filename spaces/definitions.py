"""Definitions of how one hyperparameter may vary: over a range, among choices, or not at all."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from spaces.config import CHOICES, FIELDS, ConfigurationError, Value, checked


class SpaceError(ValueError):
    """Error for an impossible definition, or for a configuration outside the space. Its text is one line."""


@dataclass(frozen=True, slots=True)
class Range:
    """Numbers from low to high, both included; on a grid from `low` if there is a step."""

    low: float
    high: float
    log: bool = False
    step: float | None = None

    def __contains__(self, value: object) -> bool:
        if not isinstance(value, int | float) or not self.low <= value <= self.high:
            return False
        return self.step is None or _is_whole((value - self.low) / self.step)


@dataclass(frozen=True, slots=True)
class Choices:
    """A choice among these values."""

    values: tuple[Value, ...]

    def __contains__(self, value: object) -> bool:
        return value in self.values


@dataclass(frozen=True, slots=True)
class Fixed:
    """A hyperparameter that is not searched, with its value."""

    value: Value

    def __contains__(self, value: object) -> bool:
        return value == self.value


Definition = Range | Choices | Fixed


def normal(name: str, definition: Definition) -> Definition:
    """Check a definition and bring it to its normal form.

    Raises:
        SpaceError: the definition is impossible for the field `name`, with which the message begins.
    """
    try:
        match definition:
            case Fixed():
                return Fixed(checked(name, definition.value))
            case Choices():
                return _normal_choices(name, definition)
            case Range():
                return _normal_range(name, definition)
    except ConfigurationError as error:
        raise SpaceError(f"{name}: {str(error).removeprefix(f'{name} ')}") from None


def _normal_choices(name: str, definition: Choices) -> Definition:
    values = {checked(name, value) for value in definition.values}
    if not values:
        raise SpaceError(f"{name}: no choices. Give at least one.")
    if name in CHOICES:
        ordered: tuple[Value, ...] = tuple(value for value in CHOICES[name] if value in values)
    else:
        ordered = tuple(sorted(values, key=float))
    return Choices(ordered) if len(ordered) > 1 else Fixed(ordered[0])


def _normal_range(name: str, definition: Range) -> Definition:
    if FIELDS[name] not in ("int", "float"):
        raise SpaceError(f"{name}: has no low and high; give choices or a value.")
    low, high = float(checked(name, definition.low)), float(checked(name, definition.high))
    if low > high:
        raise SpaceError(f"{name}: low {low:g} is above high {high:g}. Swap them.")
    if definition.log and low <= 0:
        raise SpaceError(f"{name}: log: true needs low > 0, got {low:g}. Raise low, or set log: false.")
    step = definition.step
    if step is not None and not _is_number(step):
        raise SpaceError(f"{name}: step is a number above 0, got {step!r}.")
    if step is not None and definition.log:
        raise SpaceError(f"{name}: log: true and a step exclude each other. Leave one out.")
    if step is not None and FIELDS[name] == "int" and not _is_whole(step):
        raise SpaceError(f"{name}: step is a whole number, got {step:g}.")
    if step is not None and not _is_whole((high - low) / step):
        raise SpaceError(f"{name}: step {step:g} does not lead from low {low:g} to high {high:g}. Change one of them.")
    if low == high:
        return Fixed(checked(name, low))
    if FIELDS[name] == "int":
        return Range(int(low), int(high), definition.log, None if step in (None, 1) else int(step))
    return Range(low, high, definition.log, None if step is None else float(step))


def batches_from(least: int, definition: Definition) -> Definition:
    """Restrict the definition of the batch size to sizes of at least `least`.

    Raises:
        SpaceError: no size is left.
    """
    values: tuple[float, ...]
    match definition:
        case Range():
            if definition.high >= least:  # the highest is on the grid, so the new lowest is not above it
                step = definition.step or 1
                low = definition.low + step * max(0, math.ceil((least - definition.low) / step))
                return normal("batch_size", Range(low, definition.high, definition.log, definition.step))
            values = (definition.high,)
        case Choices():
            values = tuple(float(value) for value in definition.values)
        case Fixed():
            values = (float(definition.value),)
    if large := tuple(value for value in values if value >= least):
        return _normal_choices("batch_size", Choices(large))
    raise SpaceError(f"batch_size: normalization 'batch' alone needs {least} or more, got {max(values):g} at most.")


def as_dict(definition: Definition) -> dict[str, Any]:
    """Write a definition as a space file does."""
    match definition:
        case Fixed():
            return {"value": definition.value}
        case Choices():
            return {"choices": list(definition.values)}
        case Range():
            step = {} if definition.step is None else {"step": definition.step}
            return {"low": definition.low, "high": definition.high, "log": definition.log, **step}


def first(definition: Definition) -> Value:
    """The lowest value of a range, or the first choice."""
    match definition:
        case Fixed():
            return definition.value
        case Choices():
            return definition.values[0]
        case Range():
            return definition.low


def closest(value: float, offer: Range | Choices) -> Value:
    """The offered batch size that is nearest to a wanted one; among choices, by ratio."""
    if isinstance(offer, Range):
        step = offer.step or 1
        return int(offer.low + step * round((min(max(value, offer.low), offer.high) - offer.low) / step))
    return min(offer.values, key=lambda choice: abs(math.log(float(choice) / value)))


def described(offer: Range | Choices) -> str:
    """Describe an offer for a message, such as "adam, sgd" or "0 to 0.2 in steps of 0.05"."""
    if isinstance(offer, Choices):
        return ", ".join(str(value) for value in offer.values)
    return f"{offer.low:g} to {offer.high:g}" + ("" if offer.step in (None, 1) else f" in steps of {offer.step:g}")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value > 0


def _is_whole(value: float) -> bool:
    return abs(value - round(value)) < 1e-8  # Optuna's own tolerance for a step
