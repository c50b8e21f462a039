"""Hyperparameters as axes: where a value lies, what the ticks say, how an axis is cut into cells."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

from reports.figure_style import safe
from reports.wording import compact, plain_name
from search.selection.results import SafeRange
from spaces.config import BY_RATIO, CHOICES, FIELDS, Configuration, Value

_CELLS: Final = 4  # that an axis of numbers is cut into
_CROWDED: Final = 4  # choices whose names stand side by side
_JITTER: Final = 0.28  # of a choice's breadth


@dataclass(frozen=True, slots=True)
class Cell:
    """A stretch of an axis."""

    low: float
    high: float
    name: str
    last: bool = True  # the upper end belongs to it

    def holds(self, place: float) -> bool:
        """Whether a place lies in it."""
        return self.low <= place < self.high or (self.last and place == self.high)


@dataclass(frozen=True, slots=True)
class Axis:
    """One hyperparameter as an axis, over the values that were tried."""

    name: str
    choices: tuple[Value, ...]  # of one without an order, in its own order; empty for numbers
    low: float
    high: float
    logarithmic: bool

    @classmethod
    def over(cls, name: str, values: Collection[Value]) -> Axis | None:
        """None where less than two values were tried."""
        if len(set(values)) < 2:
            return None
        order = CHOICES.get(name) or ((False, True) if FIELDS.get(name) == "bool" else ())
        if order:
            tried = tuple(choice for choice in order if choice in values)
            return cls(name, tried, -0.6, len(tried) - 0.4, logarithmic=False)
        numbers = [_rounded(value) for value in values]
        logarithmic = name in BY_RATIO and min(numbers) > 0
        return cls(name, (), min(numbers), max(numbers), logarithmic)

    @property
    def title(self) -> str:
        """For people."""
        return plain_name(self.name)

    def place(self, value: Value) -> float:
        """Where a value lies; a choice that was not tried outside."""
        if not self.choices:
            return _rounded(value)
        return float(self.choices.index(value)) if value in self.choices else -1.0

    def spread(self, value: Value, number: int) -> float:
        """`place`, choices a little apart by the trial's number, so that points don't hide one another."""
        shift = _JITTER * (2 * ((number * 0.618) % 1) - 1) if self.choices else 0.0
        return round(self.place(value) + shift, 4) if self.choices else self.place(value)

    def spans(self, safe_range: SafeRange) -> list[tuple[float, float]]:
        """The stretches of a safe range."""
        if self.choices:
            places = [self.place(one) for one in safe_range.choices if one in self.choices]
            return [(place - 0.45, place + 0.45) for place in places]
        if safe_range.low is None or safe_range.high is None:
            return []
        return [(float(safe_range.low), float(safe_range.high))]

    def cells(self) -> tuple[Cell, ...]:
        """Every choice, or a few stretches of equal breadth."""
        if self.choices:
            return tuple(Cell(i - 0.5, i + 0.5, _choice(c), last=False) for i, c in enumerate(self.choices))
        ends = [math.log10(self.low), math.log10(self.high)] if self.logarithmic else [self.low, self.high]
        steps = [ends[0] + (ends[1] - ends[0]) * i / _CELLS for i in range(_CELLS + 1)]
        edges = [self.low, *((10**step if self.logarithmic else step) for step in steps[1:-1]), self.high]
        return tuple(
            Cell(low, high, f"{compact(low)} to {compact(high)}", last=place == _CELLS - 1)
            for place, (low, high) in enumerate(pairwise(edges))
        )

    def settings(self) -> dict[str, Any]:
        """For plotly."""
        if self.choices:
            between = " " if len(self.choices) > _CROWDED else "<br>"
            names = [safe(_choice(choice)).replace("_", between) for choice in self.choices]
            crowded = {"tickangle": -40} if len(names) > _CROWDED else {}
            return {"tickvals": list(range(len(names))), "ticktext": names, "range": [self.low, self.high], **crowded}
        if not self.logarithmic:
            return {"nticks": 6}
        ticks = self._ticks()
        return {"type": "log", "tickvals": list(ticks), "ticktext": list(ticks.values())} if ticks else {"type": "log"}

    def _ticks(self) -> dict[float, str]:
        """Powers of ten where there are two of them, else 1, 2 and 5; powers of two for whole numbers."""
        if self.low >= 1:
            doubled = [2**k for k in range(13) if self.low <= 2**k <= self.high]
            return {float(tick): str(tick) for tick in doubled[:: 1 + len(doubled) // 7]}
        decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        powers = {10.0**k: _power(k) for k in decades if self.low <= 10.0**k <= self.high}
        if self.high / self.low >= 100:
            return powers
        steps = [float(f"{step * 10.0**k:.3g}") for k in decades for step in (1, 2, 5)]
        return {step: compact(step) for step in steps if self.low <= step <= self.high}


def value_of(configuration: Configuration, name: str) -> Value | None:
    """What the configuration has there; None where it means nothing for its network, or there is no such field."""
    if name in ("depth", "dense_ratio"):
        found: Value = getattr(configuration, name)
        return found
    return configuration.canonical().get(name)


def tried(configurations: Sequence[Configuration], name: str) -> list[Value]:
    """The values that mean something."""
    return [value for one in configurations if (value := value_of(one, name)) is not None]


def _choice(value: Value) -> str:
    return compact(value)


def _power(exponent: int) -> str:
    """`10⁻³`."""
    return "10" + str(exponent).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))


def _rounded(value: Value) -> float:
    """Four digits are enough for a picture, and keep the page small."""
    return float(f"{float(value):.4g}")
