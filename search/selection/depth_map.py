"""Map of depth and share of dense layers: where networks learned, and where they collapsed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Final

import numpy as np

from search.records import Trial, TrialState
from search.selection.results import MapCell
from search.selection.scores import fold_scores
from spaces.backbones import NO_BACKBONE

DEPTHS: Final = ((1, 2), (3, 4), (5, 6), (7, 9), (10, 12))
RATIOS: Final = ((0.0, 0.2), (0.2, 0.4), (0.4, 0.6), (0.6, 0.8), (0.8, 1.0))
_WORDS: Final = ("nearly all convolutions", "mostly convolutions", "half dense", "mostly dense", "nearly all dense")

MIN_TRIALS: Final = 3  # of a cell or row, before the sentence speaks of it
CLEAR: Final = 2.0  # standard errors by which the best cell must lie above the other trials
OFTEN: Final = 0.4  # share of collapsed trials that is worth a warning


@dataclass(frozen=True, slots=True)
class _Point:
    depth: int
    cell: tuple[int, int]  # row, column
    collapsed: bool
    score: float


def depth_map(trials: Sequence[Trial], chance: float) -> tuple[tuple[MapCell, ...], str]:
    """Return the cells of the map, ordered by depth, then dense ratio, and one sentence that sums them up.

    A trial's score is the mean of the folds that it ran; that of a collapsed trial is chance. Failed and interrupted
    trials and networks on a backbone are left out. A configuration that was sampled twice counts once.

    Args:
        trials: all trials of the study.
        chance: the metric's value for the constant predictor.
    """
    points = _points(trials, chance)
    cells = []
    for row, column in product(range(len(DEPTHS)), range(len(RATIOS))):
        inside = [point for point in points if point.cell == (row, column)]
        cells.append(
            MapCell(
                depth=DEPTHS[row],
                dense_ratio=RATIOS[column],
                trials=len(inside),
                collapsed=sum(point.collapsed for point in inside),
                score=float(np.mean([point.score for point in inside])) if inside else None,
            )
        )
    return tuple(cells), sentence(cells, points)


def sentence(cells: Sequence[MapCell], points: Sequence[_Point]) -> str:
    """Sum up the map in one sentence; names a best cell only if it lies clearly above all other trials."""
    warning = _warning(points)
    judged = [cell for cell in cells if cell.trials >= MIN_TRIALS and cell.collapsed < cell.trials]
    if not judged or len(points) < 2 * MIN_TRIALS:
        if not points:
            return "No network trained from scratch was judged, so nothing is known of depth and dense layers."
        count = f"{len(points)} trial{'' if len(points) == 1 else 's'}"
        statement = f"Too few trials ({count}) to say which depth or share of dense layers works best"
        return f"{statement}; {warning}." if warning else f"{statement}."
    best = max(judged, key=lambda cell: cell.score or 0.0)
    place = (DEPTHS.index(best.depth), RATIOS.index(best.dense_ratio))
    ours = [point.score for point in points if point.cell == place]
    others = [point.score for point in points if point.cell != place]
    if len(others) < MIN_TRIALS or not _clearly_above(ours, others):
        scores = [cell.score for cell in judged if cell.score is not None]
        span = f"means {min(scores):.2f} to {max(scores):.2f}" if len(scores) > 1 else f"mean {scores[0]:.2f}"
        statement = f"No depth or share of dense layers stood out over {len(points)} trials ({span})"
    else:
        statement = (
            f"Networks of {_span(best.depth)} layers that are {_WORDS[place[1]]} scored best "
            f"({best.score:.2f} over {best.trials} trials; all others {np.mean(others):.2f})"
        )
    return f"{statement}; {warning}." if warning else f"{statement}."


def _points(trials: Sequence[Trial], chance: float) -> list[_Point]:
    points: dict[str, _Point] = {}
    for trial in trials:
        scores = fold_scores(trial, chance)
        if trial.configuration.backbone != NO_BACKBONE:  # whose depth is not ours
            continue
        if trial.state in (TrialState.FAILED, TrialState.INTERRUPTED) or not scores:
            continue
        collapsed = trial.state is TrialState.COLLAPSED
        depth, ratio = trial.configuration.depth, trial.configuration.dense_ratio
        row = next(place for place, (_, last) in enumerate(DEPTHS) if depth <= last)
        column = next((place for place, (_, end) in enumerate(RATIOS) if ratio < end), len(RATIOS) - 1)
        score = chance if collapsed else float(np.mean(list(scores.values())))
        points.setdefault(trial.configuration.hash, _Point(depth, (row, column), collapsed, score))
    return list(points.values())


def _clearly_above(ours: Sequence[float], others: Sequence[float]) -> bool:
    error = np.sqrt(np.var(ours, ddof=1) / len(ours) + np.var(others, ddof=1) / len(others))
    return bool(np.mean(ours) - np.mean(others) > CLEAR * error)


def _warning(points: Sequence[_Point]) -> str | None:
    """The depths that collapsed most often, if often and more often than the rest."""
    warnings = []
    for row, depths in enumerate(DEPTHS):
        inside = [point.collapsed for point in points if point.cell[0] == row]
        outside = [point.collapsed for point in points if point.cell[0] != row]
        rate = sum(inside) / max(1, len(inside))
        if len(inside) >= MIN_TRIALS and rate >= OFTEN and rate > sum(outside) / max(1, len(outside)):
            warnings.append((rate, f"of those with {_span(depths)} layers {sum(inside)} of {len(inside)} collapsed"))
    return max(warnings)[1] if warnings else None


def _span(depths: tuple[int, int]) -> str:
    return f"{depths[0]}-{depths[1]}"
