"""Losses, skill and statistics of logits. Pure NumPy."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from search.arrays import IntArray

_Float = TypeVar("_Float", bound=np.floating[Any])


def skill(loss: float, reference: float) -> float:
    """Return 1 - `loss` / `reference`, the loss of the constant predictor; NaN if `reference` is 0."""
    return 1.0 - loss / reference if reference > 0 else float("nan")


def log_softmax(logits: npt.NDArray[_Float]) -> npt.NDArray[_Float]:
    """Return the log probabilities `(n, K)` of logits `(n, K)`, in the dtype of the logits."""
    shifted = logits - np.maximum.reduce(logits, axis=1, keepdims=True)
    return shifted - np.log(np.add.reduce(np.exp(shifted), axis=1, keepdims=True))


def log_loss(log_p: npt.NDArray[np.floating[Any]], labels: IntArray) -> float:
    """Return the mean cross-entropy in nats of log probabilities `(n, K)` and labels `(n,)` 0..K-1."""
    return float(-log_p[np.arange(len(log_p)), labels].mean())


def logit_statistics(logits: npt.NDArray[np.floating[Any]]) -> dict[str, float]:
    """Measure how much logits `(n, K)` differ between images.

    Returns:
        `top_share`: share (0..1) of the class predicted most often. `logit_spread`: largest standard deviation over the
        images among the K logits.
    """
    predictions = np.bincount(logits.argmax(1))
    return {"top_share": float(predictions.max() / len(logits)), "logit_spread": float(logits.std(0).max())}
