"""Hyperparameters as axes of figures: positions of values, ticks, and cells of a map."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

from reports.figure_style import safe
from reports.wording import compact, plain_name
from search.selection.results import SafeRange
from spaces.config import BY_RATIO, CHOICES, FIELDS, PRETRAINED, Configuration, Value

_CELLS: Final = 4  # of an axis of numbers
_CROWDED: Final = 4  # with more choices their names are drawn at an angle
_JITTER: Final = 0.28  # share of the width of a choice


@dataclass(frozen=True, slots=True)
class Cell:
    """An interval of an axis."""

    low: float
    high: float
    name: str
    last: bool = True  # whether the upper end is included

    def contains(self, place: float) -> bool:
        """Whether `place`, a position from `Axis.place`, lies in [low, high), or in [low, high] if `last`."""
        return self.low <= place < self.high or (self.last and place == self.high)


@dataclass(frozen=True, slots=True)
class Axis:
    """One hyperparameter as an axis, over the values that were tried."""

    name: str
    choices: tuple[Value, ...]  # of a categorical hyperparameter, in their order; empty for numbers
    low: float
    high: float
    logarithmic: bool

    @classmethod
    def over(cls, name: str, values: Collection[Value]) -> Axis | None:
        """Return the axis over the values that were tried; None for fewer than two different ones."""
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
        """The readable name of the hyperparameter."""
        return plain_name(self.name)

    def place(self, value: Value) -> float:
        """Return the position of a value; -1 for a choice that was not tried."""
        if not self.choices:
            return _rounded(value)
        return float(self.choices.index(value)) if value in self.choices else -1.0

    def spread(self, value: Value, number: int) -> float:
        """Return the position of a value; choices are jittered by the trial number so that points do not overlap."""
        if not self.choices:
            return self.place(value)
        return round(self.place(value) + _JITTER * (2 * ((number * 0.618) % 1) - 1), 4)

    def spans(self, safe_range: SafeRange) -> list[tuple[float, float]]:
        """Return the intervals of a safe range."""
        if self.choices:
            places = [self.place(one) for one in safe_range.choices if one in self.choices]
            return [(place - 0.45, place + 0.45) for place in places]
        if safe_range.low is None or safe_range.high is None:
            return []
        return [(float(safe_range.low), float(safe_range.high))]

    def cells(self) -> tuple[Cell, ...]:
        """Return one cell per choice, or a few intervals of equal width."""
        if self.choices:
            return tuple(Cell(i - 0.5, i + 0.5, compact(c), last=False) for i, c in enumerate(self.choices))
        ends = [math.log10(self.low), math.log10(self.high)] if self.logarithmic else [self.low, self.high]
        steps = [ends[0] + (ends[1] - ends[0]) * i / _CELLS for i in range(_CELLS + 1)]
        edges = [self.low, *((10**step if self.logarithmic else step) for step in steps[1:-1]), self.high]
        return tuple(
            Cell(low, high, f"{compact(low)} to {compact(high)}", last=place == _CELLS - 1)
            for place, (low, high) in enumerate(pairwise(edges))
        )

    def settings(self) -> dict[str, Any]:
        """Return the settings of the axis for plotly."""
        if self.choices:
            between = " " if len(self.choices) > _CROWDED else "<br>"
            names = [safe(compact(choice)).replace("_", between) for choice in self.choices]
            crowded = {"tickangle": -40} if len(names) > _CROWDED else {}
            return {"tickvals": list(range(len(names))), "ticktext": names, "range": [self.low, self.high], **crowded}
        if not self.logarithmic:
            return {"nticks": 6}
        ticks = self._ticks()
        return {"type": "log", "tickvals": list(ticks), "ticktext": list(ticks.values())} if ticks else {"type": "log"}

    def _ticks(self) -> dict[float, str]:
        """Return powers of ten, or 1, 2 and 5 for a narrow range; powers of two for whole numbers."""
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
    """Return the value of a hyperparameter; None if it is inactive in this configuration or does not exist."""
    if name == "depth" and configuration.family == PRETRAINED and not configuration.n_dense:
        return None  # depth counts dense layers there, and it has none
    if name in configuration.active:
        value: Value = getattr(configuration, name)
        return value
    return configuration.canonical().get(name)


def tried(configurations: Sequence[Configuration], name: str) -> list[Value]:
    """Return the values of a hyperparameter in the configurations where it is active."""
    return [value for one in configurations if (value := value_of(one, name)) is not None]


def _power(exponent: int) -> str:
    """Return a power of ten as text: `10⁻³`."""
    return "10" + str(exponent).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))


def _rounded(value: Value) -> float:
    """Return the value rounded to four significant digits, which keeps the page small."""
    return float(f"{float(value):.4g}")
