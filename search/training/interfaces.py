"""Protocols of the parts of a fit: the trainer, the collapse watch, the scorer and the store of checkpoints.

Tests have their own implementations.
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
    """Trains the network of a configuration; `Engine` and `HeadTrainer` are the implementations."""

    configuration: Configuration

    @property
    def microbatch_size(self) -> int:
        """Number of images of a forward pass in training: the batch size, or less if memory is short."""

    @property
    def batchnorm_momentum(self) -> float:
        """Momentum of BatchNorm's moving statistics, 0.5..0.99; 0 without batch normalization."""

    def step_seconds(self, rows: IntArray) -> float | None:
        """Measure the seconds of a training step on the images `rows`, before `begin`; None if negligible."""

    def begin(self, seed: int, rows: IntArray, balance: Balance) -> None:
        """Start a new fit: set initial weights, and reset the state of optimizer and layers.

        Args:
            seed: seed of the initial weights.
            rows: `(m,)` row numbers of the training images, whose mean and deviation standardize the pixels.
            balance: class weights, logit margins, and the prior, by which the output bias begins.
        """

    def train_epoch(
        self,
        rows: npt.NDArray[np.int32],
        rates: FloatArray,
        seed: int,
        probe: IntArray | None = None,
        *,
        gradients: bool = False,
    ) -> EpochSums:
        """Train one epoch.

        Args:
            rows: `(steps, batch)` row numbers of the images of each step.
            rates: `(steps,)` learning rate of each step.
            seed: seed of augmentation and dropout in this epoch.
            probe: `(p,)` row numbers of images to measure the layers on after the epoch; None: no measurement.
            gradients: whether to measure the gradients of each layer in the first step.
        """

    def probe_layers(self, probe: IntArray) -> LayerProbe:
        """Return the layers' signals and the logits of the images with the row numbers `probe` `(p,)`."""

    def logits(self, rows: IntArray) -> FloatArray:
        """Return logits `(len(rows), K)` float32 of the images with these row numbers, in evaluation mode."""

    def reestimate_batchnorm(self, rows: npt.NDArray[np.int32]) -> float:
        """Replace BatchNorm's moving statistics by the mean of those of the batches `rows` `(steps, batch)`.

        Returns:
            Mean cross-entropy in nats of the batches, each normalized by its own statistics; NaN without BatchNorm.
        """

    def rows_of_one_shape(self, rows: IntArray) -> IntArray:
        """Select from `rows` the images of the most frequent shape; only images of one shape fit into one batch."""

    def state(self) -> tuple[np.ndarray[Any, Any], ...]:
        """Return copies of everything that epochs change: weights, statistics, optimizer state."""

    def restore(self, state: Sequence[np.ndarray[Any, Any]]) -> None:
        """Set everything that epochs change to a result of `state`. Call `begin` first.

        Raises:
            ValueError: the state is of a network with other shapes.
        """


class CollapseWatch(Protocol):
    """Judges whether a fit has collapsed; `search.collapse.watch.Watch` is the implementation."""

    audited_collapse: Collapse | None  # first collapse for which the audited fit was not ended; None if there was none

    def resume(self, checks: Sequence[Check], audited_collapse: Collapse | None) -> None:
        """Take over the state of a fit that is resumed from a checkpoint.

        Args:
            checks: the checks of the fit so far.
            audited_collapse: first collapse for which the audited fit was not ended; None if there was none.
        """

    def on_check(self, check: Check) -> Collapse | None:
        """Judge the fit after a check.

        Args:
            check: measurements of the last epochs; replaces an earlier check of the same epoch.

        Returns:
            The collapse for which the fit has to end; None if it goes on.
        """

    def final(self, check: Check, probabilities: FloatArray, train_auc: float) -> Collapse | None:
        """Judge a fit that ran to its last epoch.

        Args:
            check: the last check.
            probabilities: `(v, K)` predictions for the validation images; v may be 0.
            train_auc: area under the ROC curve on training images, 0..1; NaN if there are validation images.

        Returns:
            The collapse; None if the fit has learned.
        """


class Scorer(Protocol):
    """Computes the study's metric; `search.selection.metrics.MetricScorer` is the implementation."""

    def score(self, labels: IntArray, probabilities: FloatArray) -> float:
        """Return the study's metric of labels `(n,)` 0..K-1 and probabilities `(n, K)`."""

    def auc(self, labels: IntArray, probabilities: FloatArray) -> float:
        """Return the area under the ROC curve, 0..1; for more than two classes the one-versus-rest mean."""


class Checkpoints(Protocol):
    """Stores the checkpoint of a fit; `search.training.checkpoint.CheckpointStore` is the implementation."""

    @property
    def is_due(self) -> bool:
        """Whether enough time has passed since the last checkpoint to save another one."""

    def load(self) -> Checkpoint | None:
        """Return the checkpoint; None if there is none, or it can't be used."""

    def save(self, checkpoint: Checkpoint) -> None:
        """Store the checkpoint in place of the last one. Must not raise."""
