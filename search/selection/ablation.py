"""Ablation analysis: which of the changes between two configurations matter, one hyperparameter at a time.

Fawcett and Hoos (2016): of the changes that are left, the one with the highest gain comes first. A surrogate that
learned from the study's trials proposes it (Biedenkapp et al. 2017), but fits verify each step: where a proposed change
does not raise the score, the next best one is tried at the same place and the better one is taken.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any, Final

import numpy as np

from search.records import Ablation, AblationStep, Waypoint
from search.selection.differences import Move, changes, difference, moves
from search.selection.standard_error import standard_error
from search.selection.surrogate_model import Surrogate
from spaces.config import Configuration

FOLDS: Final = 3
"""Number of the study's folds, from the first, on which each configuration between the ends is fitted."""

SPARE: Final = 5
"""Number of configurations that may be tried beyond one for each hyperparameter that differs."""

USUAL_ORDER: Final = (
    "backbone", "classifier", "resolution", "trainable", "statistics", "backbone_rate", "learning_rate", "optimizer",
    "normalization", "initializer", "activation", "input_scaling", "depth", "dense_ratio", "head", "batch_size",
    "dropout", "loss", "class_weighting", "oversampling", "width", "dense_units", "kernel_size", "weight_decay",
    "label_smoothing", "horizontal_flip", "vertical_flip", "shift", "zoom", "shear", "rotation",
)  # fmt: skip
"""Hyperparameters, those first that most often decide whether a network learns: the order without a surrogate."""

CLEAR: Final = 2.0
"""Number of standard errors that a gain must exceed to count as more than noise."""

Measure = Callable[[Configuration], Waypoint | None]
"""Function that fits a configuration on the first folds: its waypoint, without scores if the configuration can't be
trained; None when the time is used up."""


def most_fits(start: Configuration, goal: Configuration) -> int:
    """Upper bound of the number of fits in an ablation from `start` to `goal`; 0 if both build the same network."""
    names = difference(start, goal).names
    return (len(names) + SPARE) * FOLDS if names else 0


class _Enough(Exception):
    """Raised when no time, or no spare configuration, is left."""


class AblationPath:
    """Search for a path of configurations from `start` to `goal`; `run` finds it and stores it in `steps`.

    At most `len(difference(start, goal).names) + SPARE - 1` configurations between the two ends are tried. A
    configuration that can't be trained is skipped.

    Args:
        start: the user's configuration.
        goal: the recommended configuration.
        ends: results of `start` and of `goal` on the first folds.
        measure: function that fits a configuration on the first folds.
        surrogate: model that predicts which change gains most; None tries the changes in `USUAL_ORDER`.

    Attributes:
        steps: the steps of the path, in order; empty before `run`.
    """

    def __init__(
        self,
        start: Configuration,
        goal: Configuration,
        ends: tuple[Waypoint, Waypoint],
        measure: Measure,
        surrogate: Surrogate | None,
    ) -> None:
        self.steps: list[AblationStep] = []
        self._start, self._remaining = start, difference(start, goal)
        self._current, self._goal = ends
        self._measure, self._surrogate = measure, surrogate
        self._spare = SPARE
        self._changed_names: set[str] = set()
        self._barred: set[str] = set()

    def run(self) -> bool:
        """Find the path and fill `steps`.

        Returns:
            True if each step is a single change. False if time or spare configurations ran out, so that the last step
            makes all remaining changes at once.
        """
        try:
            while self._remaining.names:
                self._step()
        except _Enough:
            self._go(Move(self._remaining.names, self._remaining.goal), self._goal, None)
            return False
        return True

    def _step(self) -> None:
        """Take the proposed change, or the next best one if that is better."""
        tried: list[tuple[Move, Waypoint, float | None]] = []
        for move, predicted in self._proposed():
            try:
                reached = self._reach(move.configuration, spare=bool(tried))
            except _Enough:
                if not tried:
                    raise
                break
            if not reached.scores:
                self._barred.add(move.configuration.hash)
                self._use_spare()
                continue
            tried.append((move, reached, predicted))
            if len(tried) == 2 or not self._contradicted(reached, predicted):
                break
        tried.sort(key=lambda one: -one[1].score)  # stable: the proposed one wins a tie
        if tried:
            self._go(*tried[0], *tried[1:])

    def _proposed(self) -> list[tuple[Move, float | None]]:
        """The possible changes with their predicted gains, best first."""
        open_moves = sorted(moves(self._remaining, self._barred), key=_usual_place)
        if self._surrogate is None:
            return [(move, None) for move in open_moves]
        now, *predictions = self._surrogate.predict(
            [self._remaining.start, *(move.configuration for move in open_moves)]
        )
        best_first = sorted(zip(open_moves, predictions, strict=True), key=lambda one: -one[1])
        return [(move, predicted - now) for move, predicted in best_first]

    def _reach(self, configuration: Configuration, *, spare: bool) -> Waypoint:
        if configuration.hash == self._goal.configuration:
            return self._goal
        if spare:
            self._use_spare()
        reached = self._measure(configuration)
        if reached is None:
            raise _Enough
        if self._surrogate is not None and reached.scores:
            self._surrogate.learn(configuration, reached.score)
        return reached

    def _use_spare(self) -> None:
        if self._spare == 0:
            raise _Enough
        self._spare -= 1

    def _contradicted(self, reached: Waypoint, predicted: float | None) -> bool:
        """Whether a gain was expected and did not come."""
        return reached.score <= self._current.score and (predicted is None or predicted > 0)

    def _go(
        self,
        move: Move,
        reached: Waypoint,
        predicted: float | None,
        other: tuple[Move, Waypoint, float | None] | None = None,
    ) -> None:
        instead = None
        if other is not None:
            instead = AblationStep(changes=self._changes(other[0]), reached=other[1], predicted=other[2])
        done = self._changes(move)
        self.steps.append(AblationStep(changes=done, reached=reached, predicted=predicted, instead=instead))
        self._changed_names |= set(done)
        self._current, self._remaining = reached, difference(move.configuration, self._remaining.goal)

    def _changes(self, move: Move) -> dict[str, Any]:
        return changes(self._start, difference(move.configuration, self._remaining.goal).start, self._changed_names)


def gains(ablation: Ablation) -> tuple[float, ...]:
    """Return the score gained by each step, in units of the study's metric; negative for a loss."""
    scores = [ablation.start.score, *(step.reached.score for step in ablation.steps)]
    return tuple(after - before for before, after in pairwise(scores))


def gain_error(ablation: Ablation, folds: int) -> float | None:
    """Return the standard error of a step's gain, pooled over all steps.

    The two or three folds of a single step give no usable deviation, so the same-fold differences of all steps are
    pooled. Steps whose scores are equal in every fold (from collapse to collapse) carry no information about noise and
    are left out.

    Args:
        ablation: the finished ablation.
        folds: number of folds in the study's cross-validation, k.

    Returns:
        Nadeau and Bengio's standard error of a mean over the ablation's folds; None if there are fewer than two folds
        or no step changed any score.
    """
    points = [ablation.start, *(step.reached for step in ablation.steps)]
    differences = [np.subtract(after.scores, before.scores) for before, after in pairwise(points)]
    informative = [difference for difference in differences if len(difference) > 1 and difference.any()]
    if not informative:
        return None
    freedom = sum(len(difference) - 1 for difference in informative)
    squares = sum(float(((difference - difference.mean()) ** 2).sum()) for difference in informative)
    return standard_error(float(np.sqrt(squares / freedom)), ablation.folds, folds)


def _usual_place(move: Move) -> list[int]:
    return sorted(USUAL_ORDER.index(name) for name in move.names)
