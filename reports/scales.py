"""A stretch of the metric's axis, for figures that the page draws by itself."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

_STEPS: Final = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 50.0)


@dataclass(frozen=True, slots=True)
class Scale:
    """A stretch of the metric's axis: values to percent of the width."""

    low: float
    high: float

    @classmethod
    def around(cls, values: Sequence[float]) -> Scale:
        """A stretch that holds the values with some air, within what the metric can be."""
        low, high = min(values), max(values)
        air = max(0.05, 0.06 * (high - low))
        bottom = low - air if low < 0 else max(0.0, low - air)
        return cls(math.floor(20 * bottom + 1e-9) / 20, max(math.ceil(20 * min(1.0, high + air) - 1e-9) / 20, high))

    def place(self, value: float) -> float:
        """Percent from the left, 0 .. 100; what lies outside sticks to the end."""
        return round(100 * min(1.0, max(0.0, (value - self.low) / (self.high - self.low))), 2)

    def ticks(self) -> list[float]:
        """Round values on the stretch, at most nine."""
        width = self.high - self.low
        step = next((s for s in _STEPS if width / s <= 8), width)
        first = math.ceil(round(self.low / step, 6))
        return [round(i * step, 6) for i in range(first, math.floor(round(self.high / step, 6)) + 1)]
