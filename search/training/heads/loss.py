"""Value of a configuration's loss, and its gradient by the logits. Pure NumPy."""

from __future__ import annotations

import numpy as np

from search.arrays import FloatArray, IntArray
from search.training.measures import log_softmax
from spaces.config import Configuration
from spaces.losses import LOSSES


class HeadLoss:
    """The training loss of a configuration.

    Args:
        configuration: gives the loss and its label smoothing.
        weights: `(K,)` float32, factor of the loss of each class.
        margin: `(K,)` float32, added to the logits if the loss is logit-adjusted.
    """

    def __init__(self, configuration: Configuration, weights: FloatArray, margin: FloatArray) -> None:
        loss = LOSSES[configuration.loss]
        self._modulation = loss.modulation
        self._margin = margin if loss.is_logit_adjusted else None
        smoothing = configuration.label_smoothing if loss.takes_label_smoothing else 0.0
        classes = len(weights)
        self._targets = (np.eye(classes) * (1 - smoothing) + smoothing / classes).astype(weights.dtype)
        self._weights = weights

    def __call__(self, logits: FloatArray, labels: IntArray) -> tuple[float, FloatArray]:
        """Return the mean plain cross-entropy in nats, and the gradient `(batch, K)` of the mean loss by the logits.

        Args:
            logits: `(batch, K)` float32.
            labels: `(batch,)` 0..K-1.
        """
        rows = np.arange(len(labels))
        log_p = log_softmax(logits)
        cross_entropy = -float(np.add.reduce(log_p[rows, labels])) / len(labels)
        if self._margin is not None:
            log_p = log_softmax(logits + self._margin)
        slope = np.exp(log_p)
        factor = self._weights[labels]
        if self._modulation is not None:
            factor = self._modulation.gradient(factor, slope[rows, labels], -log_p[rows, labels])
        slope -= self._targets[labels]
        slope *= (factor / np.float32(len(labels)))[:, None]
        return cross_entropy, slope
