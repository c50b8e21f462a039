"""Who takes part in a fit: one trains, one judges, one scores, one keeps what is not finished.

A fit knows them by what they can do; who does it is chosen where they meet, and tests bring their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from search.arrays import FloatArray, IntArray
from search.fit_checks import Check, Collapse
from search.training.checkpoint import Checkpoint
from search.training.epoch import EpochSums, LayerProbe
from search.training.sampling import Balance
from spaces.config import Configuration


class Trainer(Protocol):
    """What a fit needs of a network; `Engine` is the real one."""

    configuration: Configuration

    @property
    def at_once(self) -> int:
        """Images that it is shown at once at most in training: a batch, or where memory is short a part of one."""

    @property
    def batchnorm_momentum(self) -> float:
        """0 without batch normalization."""

    def step_seconds(self, rows: IntArray) -> float | None:
        """What a step on these images takes, tried before `begin`; None where that is known to be next to nothing."""

    def begin(self, seed: int, rows: IntArray, balance: Balance) -> None:
        """Start anew."""

    def train_epoch(
        self,
        rows: npt.NDArray[np.int32],
        rates: FloatArray,
        seed: int,
        probe: IntArray | None = None,
        *,
        gradients: bool = False,
    ) -> EpochSums:
        """One epoch of batches `(steps, batch)`; the layers are measured on `probe` after it."""

    def look(self, probe: IntArray) -> LayerProbe:
        """The layers as they are."""

    def logits(self, rows: IntArray) -> FloatArray:
        """`(len(rows), K)`."""

    def reestimate_batchnorm(self, rows: npt.NDArray[np.int32]) -> float:
        """Returns the loss with batch statistics, NaN without batch normalization."""

    def alike(self, rows: IntArray) -> IntArray:
        """Those of the rows that can be shown all at once, being of one shape."""

    def state(self) -> tuple[np.ndarray[Any, Any], ...]:
        """Everything that epochs change."""

    def restore(self, state: Sequence[np.ndarray[Any, Any]]) -> None:
        """After `begin`: stand where `state` was taken. Raises ValueError if it is another network's."""


class CollapseWatch(Protocol):
    """Says when a fit has collapsed; `search.collapse.watch.Watch` is the real one."""

    passed: Collapse | None  # the stop that an audit let pass

    def resume(self, checks: Sequence[Check], passed: Collapse | None) -> None:
        """Stand where a fit with these checks stood."""

    def on_check(self, check: Check) -> Collapse | None:
        """None: go on. A second call for the same epoch replaces the first."""

    def final(self, check: Check, probabilities: FloatArray, train_auc: float) -> Collapse | None:
        """The verdict on a fit that ran to its end; `train_auc` is NaN where there are validation images."""


class Scorer(Protocol):
    """The study's metric."""

    def score(self, labels: IntArray, probabilities: FloatArray) -> float:
        """The metric's value."""

    def auc(self, labels: IntArray, probabilities: FloatArray) -> float:
        """Mean one-vs-rest area under the curve."""


class Checkpoints(Protocol):
    """Keeps what a fit needs to be gone on with; `search.training.checkpoint.CheckpointStore` is the real one."""

    @property
    def is_due(self) -> bool:
        """Whether it is time for another one."""

    def take(self) -> Checkpoint | None:
        """What was put there."""

    def put(self, snapshot: Checkpoint) -> None:
        """In place of the last one."""
