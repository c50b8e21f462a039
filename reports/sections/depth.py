"""The table of depth and share of dense layers, part of the section What matters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from reports.wording import percent
from search.selection.results import MapCell, Results


@dataclass(frozen=True, slots=True)
class CellView:
    """One cell of the table of depth and dense share."""

    trials: int
    collapsed: int
    score: float | None
    strength: float  # 0 .. 1 between chance and the best cell


@dataclass(frozen=True, slots=True)
class MapView:
    """The table of depth and dense share; without rows if no trial is in it."""

    columns: tuple[str, ...]  # dense ratios
    rows: tuple[tuple[str, tuple[CellView | None, ...]], ...]  # depth, cells


def map_view(results: Results) -> MapView:
    """Return the cells as a table: depth down, dense share across."""
    cells = {(cell.depth, cell.dense_ratio): cell for cell in results.depth_map}
    depths = sorted({depth for depth, _ in cells}) if any(cell.trials for cell in cells.values()) else []
    ratios = sorted({ratio for _, ratio in cells})
    best = max((cell.score for cell in cells.values() if cell.score is not None), default=results.chance)

    def view(cell: MapCell | None) -> CellView | None:
        if cell is None or not cell.trials:
            return None
        above = 0.0 if cell.score is None else max(0.0, cell.score - results.chance)
        strength = above / (best - results.chance) if best > results.chance else 0.0
        return CellView(cell.trials, cell.collapsed, cell.score, round(strength, 3))

    return MapView(
        columns=tuple(_span(ratio, percent) for ratio in ratios),
        rows=tuple((_span(depth, str), tuple(view(cells.get((depth, ratio))) for ratio in ratios)) for depth in depths),
    )


def _span(ends: tuple[float, float] | tuple[int, int], word: Callable[[float], str]) -> str:
    low, high = word(ends[0]), word(ends[1])
    return low if low == high else f"{low.removesuffix(' %')}–{high}"
