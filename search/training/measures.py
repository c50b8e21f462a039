"""Losses, skill and statistics of logits. Pure NumPy."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from search.arrays import IntArray

_Float = TypeVar("_Float", bound=np.floating[Any])


def skill(loss: float, reference: float) -> float:
    """Return 1 - loss / loss of the constant predictor (`reference`); NaN where that is 0."""
    return 1.0 - loss / reference if reference > 0 else float("nan")


def log_softmax(logits: npt.NDArray[_Float]) -> npt.NDArray[_Float]:
    """Return the logs of the probabilities of logits `(n, K)`, of the same dtype."""
    shifted = logits - np.maximum.reduce(logits, axis=1, keepdims=True)
    return shifted - np.log(np.add.reduce(np.exp(shifted), axis=1, keepdims=True))


def log_loss(log_p: npt.NDArray[np.floating[Any]], labels: IntArray) -> float:
    """Return the mean cross-entropy in nats of log probabilities `(n, K)` and labels `(n,)`."""
    return float(-log_p[np.arange(len(log_p)), labels].mean())


def logit_statistics(logits: npt.NDArray[np.floating[Any]]) -> dict[str, float]:
    """Return `top_share`, the most frequent decision's, and `logit_spread`, the largest deviation of a logit."""
    decided = np.bincount(logits.argmax(1))
    return {"top_share": float(decided.max() / len(logits)), "logit_spread": float(logits.std(0).max())}
