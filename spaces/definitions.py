"""Definitions of how one hyperparameter may vary: over a range, among choices, or not at all."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from spaces.config import CHOICES, FIELDS, ConfigurationError, Value, checked


class SpaceError(ValueError):
    """Error for an invalid definition, or for a configuration outside the space. Its message is one line."""


@dataclass(frozen=True, slots=True)
class Range:
    """Numbers from low to high, both included."""

    low: float
    high: float
    log: bool = False  # whether to draw on a logarithmic scale; excludes a step
    step: float | None = None  # distance of neighbouring values, from `low`; None for any number (integers: step 1)

    def __contains__(self, value: object) -> bool:
        if not isinstance(value, int | float) or not self.low <= value <= self.high:
            return False
        return self.step is None or _is_whole((value - self.low) / self.step)


@dataclass(frozen=True, slots=True)
class Choices:
    """A choice among some values."""

    values: tuple[Value, ...]

    def __contains__(self, value: object) -> bool:
        return value in self.values


@dataclass(frozen=True, slots=True)
class Fixed:
    """The value of a hyperparameter that is not searched."""

    value: Value

    def __contains__(self, value: object) -> bool:
        return value == self.value


Definition = Range | Choices | Fixed


def normal(name: str, definition: Definition) -> Definition:
    """Return the normal form of a definition, checked.

    Values have the field's type, choices a fixed order, and a definition with a single value is `Fixed`; definitions
    that search the same are equal.

    Args:
        name: a key of `spaces.config.FIELDS`.
        definition: how the field may vary.

    Raises:
        SpaceError: the definition is not valid for the field. The message begins with `name`.
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
        raise SpaceError(f"{name}: got no choices. Give at least one.")
    if name in CHOICES:
        ordered: tuple[Value, ...] = tuple(value for value in CHOICES[name] if value in values)
    else:
        ordered = tuple(sorted(values, key=float))
    return Choices(ordered) if len(ordered) > 1 else Fixed(ordered[0])


def _normal_range(name: str, definition: Range) -> Definition:
    if FIELDS[name] not in ("int", "float"):
        raise SpaceError(f"{name}: got low and high, but it is not a number. Give choices or a value.")
    low, high = float(checked(name, definition.low)), float(checked(name, definition.high))
    if low > high:
        raise SpaceError(f"{name}: low {low:g} is above high {high:g}. Swap them.")
    if definition.log and low <= 0:
        raise SpaceError(f"{name}: log: true needs low > 0, got {low:g}. Raise low, or set log: false.")
    step = definition.step
    if step is not None and not _is_number(step):
        raise SpaceError(f"{name}: step must be a number above 0, got {step!r}.")
    if step is not None and definition.log:
        raise SpaceError(f"{name}: log: true and a step exclude each other. Leave one out.")
    if step is not None and FIELDS[name] == "int" and not _is_whole(step):
        raise SpaceError(f"{name}: step must be a whole number, got {step:g}.")
    if step is not None and not _is_whole((high - low) / step):
        raise SpaceError(f"{name}: step {step:g} does not lead from low {low:g} to high {high:g}. Change one of them.")
    if low == high:
        return Fixed(checked(name, low))
    if FIELDS[name] == "int":
        return Range(int(low), int(high), definition.log, None if step in (None, 1) else int(step))
    return Range(low, high, definition.log, None if step is None else float(step))


def batches_from(least: int, definition: Definition) -> Definition:
    """Return the definition of the batch size without sizes below `least`.

    Raises:
        SpaceError: the definition has no larger size.
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
    """Return a definition in the form that a space file has."""
    match definition:
        case Fixed():
            return {"value": definition.value}
        case Choices():
            return {"choices": list(definition.values)}
        case Range():
            step = {} if definition.step is None else {"step": definition.step}
            return {"low": definition.low, "high": definition.high, "log": definition.log, **step}


def first(definition: Definition) -> Value:
    """Return the lowest value of a range, the first choice, or the fixed value."""
    match definition:
        case Fixed():
            return definition.value
        case Choices():
            return definition.values[0]
        case Range():
            return definition.low


def closest(value: float, offer: Range | Choices) -> Value:
    """Return the batch size in the offer that is closest to `value`, among choices by ratio."""
    if isinstance(offer, Range):
        step = offer.step or 1
        return int(offer.low + step * round((min(max(value, offer.low), offer.high) - offer.low) / step))
    return min(offer.values, key=lambda choice: abs(math.log(float(choice) / value)))


def described(offer: Range | Choices) -> str:
    """Return an offer as text for a message, such as "adam, sgd" or "0 to 0.2 in steps of 0.05"."""
    if isinstance(offer, Choices):
        return ", ".join(str(value) for value in offer.values)
    return f"{offer.low:g} to {offer.high:g}" + ("" if offer.step in (None, 1) else f" in steps of {offer.step:g}")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value > 0


def _is_whole(value: float) -> bool:
    return abs(value - round(value)) < 1e-8  # Optuna's own tolerance for a step
