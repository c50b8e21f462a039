"""What the logits of a network say: losses, skill, how alike the answers are. Pure NumPy."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from search.arrays import IntArray

_Float = TypeVar("_Float", bound=np.floating[Any])


def skill(loss: float, reference: float) -> float:
    """1 - loss / that of an answer which knows the classes' shares only; NaN where that one is certain."""
    return 1.0 - loss / reference if reference > 0 else float("nan")


def log_softmax(logits: npt.NDArray[_Float]) -> npt.NDArray[_Float]:
    """`(n, K)` -> logs of the probabilities, of the same dtype."""
    shifted = logits - np.maximum.reduce(logits, axis=1, keepdims=True)
    return shifted - np.log(np.add.reduce(np.exp(shifted), axis=1, keepdims=True))


def log_loss(log_p: npt.NDArray[np.floating[Any]], labels: IntArray) -> float:
    """Mean cross-entropy, nats."""
    return float(-log_p[np.arange(len(log_p)), labels].mean())


def answers(logits: npt.NDArray[np.floating[Any]]) -> dict[str, float]:
    """How alike the answers are, from image to image."""
    said = np.bincount(logits.argmax(1))
    return {"top_share": float(said.max() / len(logits)), "logit_spread": float(logits.std(0).max())}
