"""The scale of the metric in figures that the page draws without plotly."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

_STEPS: Final = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 50.0)


@dataclass(frozen=True, slots=True)
class Scale:
    """A range of the metric; maps values to percent of the width."""

    low: float
    high: float

    @classmethod
    def around(cls, values: Sequence[float]) -> Scale:
        """Return a scale that contains the values with some margin, within the range of the metric."""
        low, high = min(values), max(values)
        margin = max(0.05, 0.06 * (high - low))
        bottom = low - margin if low < 0 else max(0.0, low - margin)
        return cls(math.floor(20 * bottom + 1e-9) / 20, max(math.ceil(20 * min(1.0, high + margin) - 1e-9) / 20, high))

    def place(self, value: float) -> float:
        """Return the position of a value in percent from the left, 0 .. 100; values outside are clipped."""
        return round(100 * min(1.0, max(0.0, (value - self.low) / (self.high - self.low))), 2)

    def ticks(self) -> list[float]:
        """Return at most nine round values on the scale."""
        width = self.high - self.low
        step = next((s for s in _STEPS if width / s <= 8), width)
        first = math.ceil(round(self.low / step, 6))
        return [round(i * step, 6) for i in range(first, math.floor(round(self.high / step, 6)) + 1)]
