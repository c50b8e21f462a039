"""The losses of a configuration and their gradients by the logits. Pure NumPy."""

from __future__ import annotations

import numpy as np

from search.arrays import FloatArray, IntArray
from search.training.measures import log_softmax
from search.training.sampling import FOCUS
from spaces.config import Configuration


class Loss:
    """What a configuration's loss says of a batch.

    Args:
        configuration: which loss, and its label smoothing.
        weights: (K,) factor of each class.
        margin: (K,) added to the logits, of the loss that is adjusted by the classes' shares.
    """

    def __init__(self, configuration: Configuration, weights: FloatArray, margin: FloatArray) -> None:
        if configuration.loss not in ("cross_entropy", "focal", "logit_adjusted"):
            raise ValueError(f"no gradient of the loss {configuration.loss!r} is known")
        self._is_focal = configuration.loss == "focal"
        self._margin = margin if configuration.loss == "logit_adjusted" else None
        smoothing = 0.0 if self._is_focal else configuration.label_smoothing
        classes = len(weights)
        self._targets = (np.eye(classes) * (1 - smoothing) + smoothing / classes).astype(weights.dtype)
        self._weights = weights

    def __call__(self, logits: FloatArray, labels: IntArray) -> tuple[float, FloatArray]:
        """Mean plain cross-entropy in nats, and the gradient `(batch, K)` of the loss' mean."""
        rows = np.arange(len(labels))
        log_p = log_softmax(logits)
        loss = -float(np.add.reduce(log_p[rows, labels])) / len(labels)
        if self._margin is not None:
            log_p = log_softmax(logits + self._margin)
        slope = np.exp(log_p)
        factor = self._weights[labels]
        if self._is_focal:
            log_own = log_p[rows, labels]
            own = slope[rows, labels]
            rest = 1 - own
            # d/dz of -(1 - p)^gamma ln p, by the chain rule through p
            factor = factor * rest ** np.float32(FOCUS - 1) * (rest - np.float32(FOCUS) * own * log_own)
        slope -= self._targets[labels]
        slope *= (factor / np.float32(len(labels)))[:, None]
        return loss, slope
