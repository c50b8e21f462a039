"""The parts that a fit is made of, as protocols: what trains, judges, scores, and keeps checkpoints.

A fit knows them by what they can do, so that tests bring their own.
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
    """A network that a fit trains; `Engine` and `HeadTrainer` are such."""

    configuration: Configuration

    @property
    def microbatch_size(self) -> int:
        """Images of a forward pass in training: a batch, or a part of one where memory is short."""

    @property
    def batchnorm_momentum(self) -> float:
        """Momentum of BatchNorm's moving statistics; 0 without batch normalization."""

    def step_seconds(self, rows: IntArray) -> float | None:
        """Seconds of a step on these images, measured before `begin`; None where they are next to nothing."""

    def begin(self, seed: int, rows: IntArray, balance: Balance) -> None:
        """Start a new fit on the training images `rows`: initial weights of this seed, nothing remembered."""

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
            rows: `(steps, batch)` images of each step.
            rates: `(steps,)` learning rate of each step.
            seed: of all that is drawn in the epoch.
            probe: images to measure the layers on afterwards; None for not at all.
            gradients: whether to measure the gradients of the first step, layer by layer.
        """

    def probe_layers(self, probe: IntArray) -> LayerProbe:
        """Return the layers' signals and the logits of the images `probe`, with the weights as they are."""

    def logits(self, rows: IntArray) -> FloatArray:
        """Return logits `(len(rows), K)` float32 in evaluation mode."""

    def reestimate_batchnorm(self, rows: npt.NDArray[np.int32]) -> float:
        """Replace BatchNorm's moving statistics by those of the batches `(steps, batch)`.

        Returns:
            Mean plain cross-entropy of the batches with their own statistics, nats; NaN without batch normalization.
        """

    def rows_of_one_shape(self, rows: IntArray) -> IntArray:
        """Return those of the rows whose images have the most frequent shape, so that they fit into one batch."""

    def state(self) -> tuple[np.ndarray[Any, Any], ...]:
        """Return everything that epochs change."""

    def restore(self, state: Sequence[np.ndarray[Any, Any]]) -> None:
        """Set everything that epochs change, after `begin`.

        Raises:
            ValueError: the state is that of another network.
        """


class CollapseWatch(Protocol):
    """Judges whether a fit has collapsed; `search.collapse.watch.Watch` is the real one."""

    passed: Collapse | None  # the first collapse that an audited fit was not ended for

    def resume(self, checks: Sequence[Check], passed: Collapse | None) -> None:
        """Take over the checks of a fit that is resumed from a checkpoint."""

    def on_check(self, check: Check) -> Collapse | None:
        """Return why the fit ends; None to go on. A second call for the same epoch replaces the first."""

    def final(self, check: Check, probabilities: FloatArray, train_auc: float) -> Collapse | None:
        """Judge a fit that ran to its end; `train_auc` is NaN where there are validation images."""


class Scorer(Protocol):
    """The study's metric; `search.selection.metrics.MetricScorer` is the real one."""

    def score(self, labels: IntArray, probabilities: FloatArray) -> float:
        """Return the metric of labels `(n,)` and probabilities `(n, K)`."""

    def auc(self, labels: IntArray, probabilities: FloatArray) -> float:
        """Return the area under the ROC curve, for more than two classes the mean of one-versus-rest."""


class Checkpoints(Protocol):
    """Place for the checkpoint of a fit; `search.training.checkpoint.CheckpointStore` is the real one."""

    @property
    def is_due(self) -> bool:
        """Whether enough time has passed since the last checkpoint for another one."""

    def load(self) -> Checkpoint | None:
        """Return the checkpoint; None where there is none."""

    def save(self, checkpoint: Checkpoint) -> None:
        """Keep the checkpoint in place of the last one."""
