"""The map of collapsed trials over two hyperparameters."""

from __future__ import annotations

from dataclasses import dataclass

from reports.figure_style import BLUE, VERMILLION, Figure, ground, layout, markers, title, trial_label
from reports.plots.axes import Axis, Cell, tried, value_of
from search.records import Trial, TrialState
from search.selection.results import Results

_STATES = (TrialState.COLLAPSED, TrialState.RACED, TrialState.COMPLETE)


@dataclass(frozen=True, slots=True)
class CollapseMap:
    """Trials by two hyperparameters, and how many of each cell collapsed."""

    across: Axis
    up: Axis
    trials: tuple[tuple[Trial, float, float], ...]  # with their positions
    counts: tuple[tuple[tuple[int, int], ...], ...]  # (cells up, cells across): collapsed, all

    @classmethod
    def over(cls, results: Results, across: str, up: str) -> CollapseMap | None:
        """Return the map without failed and interrupted trials.

        Args:
            results: the results of the study.
            across: hyperparameter of the x axis.
            up: hyperparameter of the y axis.

        Returns:
            None if one of the hyperparameters has fewer than two values.
        """
        trials = [trial for trial in results.study.trials if trial.state in _STATES]
        configurations = [trial.configuration for trial in trials]
        first, second = (Axis.over(name, tried(configurations, name)) for name in (across, up))
        if first is None or second is None:
            return None
        points = []
        for trial in trials:
            x, y = value_of(trial.configuration, across), value_of(trial.configuration, up)
            if x is not None and y is not None:
                points.append((trial, first.place(x), second.place(y)))
        if not points:
            return None
        counts = tuple(tuple(_count(points, column, row) for column in first.cells()) for row in second.cells())
        return cls(first, second, tuple(points), counts)

    def figure(self) -> Figure:
        """Draw crosses for collapsed trials, circles for others, and redder cells for larger shares of collapses."""
        shapes = [
            ground(VERMILLION, round(0.04 + 0.4 * collapsed / count, 3), (column.low, column.high), (row.low, row.high))
            for row, counts in zip(self.up.cells(), self.counts, strict=True)
            for column, (collapsed, count) in zip(self.across.cells(), counts, strict=True)
            if count
        ]
        return {
            "data": [
                self._points("did not collapse", False, {"color": BLUE, "symbol": "circle-open", "size": 8}),
                self._points("collapsed", True, {"color": VERMILLION, "symbol": "x", "size": 8}),
            ],
            "layout": layout(
                430,
                shapes=shapes,
                xaxis={"title": title(self.across.title), **self.across.settings()},
                yaxis={"title": title(self.up.title), **self.up.settings()},
            ),
        }

    def _points(self, name: str, collapsed: bool, marker: dict[str, object]) -> dict[str, object]:
        points = [
            (
                self._spread(self.across, x, trial.number),
                self._spread(self.up, y, trial.number + 7),
                trial_label(trial),
            )
            for trial, x, y in self.trials
            if (trial.state is TrialState.COLLAPSED) is collapsed
        ]
        return markers(points, name, marker, "%{text}")

    @staticmethod
    def _spread(axis: Axis, place: float, number: int) -> float:
        return axis.spread(axis.choices[int(place)], number) if axis.choices else place


def _count(points: list[tuple[Trial, float, float]], column: Cell, row: Cell) -> tuple[int, int]:
    inside = [trial for trial, x, y in points if column.contains(x) and row.contains(y)]
    return sum(trial.state is TrialState.COLLAPSED for trial in inside), len(inside)
