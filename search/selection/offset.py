"""Decision offset: one strength tau, by which the classes' shares are taken out of the decision.

A network trained on 100 images of one class and 2,500 of another says the large class too readily. Adding
-tau log(prior) to its logits (Menon et al., ICLR 2021) moves the decision without training anything; with two classes
that is the threshold. It is fitted on out-of-fold predictions, and kept only when it pays.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from search.arrays import FloatArray
from search.selection.metrics import softmax
from search.selection.weighted_metrics import SMALLEST_PROBABILITY, Array

TAUS: Final = (0.0, 0.25, -0.25, 0.5, -0.5, 0.75, 1.0, 1.25, 1.5)
"""Strengths that are tried: none first, and of two that do equally well the earlier one is taken."""


def logits(tau: float, shares: Array) -> tuple[float, ...]:
    """Offset of the last layer's logits `(K,)` for a strength: -tau log(share), centred on 0."""
    if tau == 0:
        return (0.0,) * len(shares)
    added = -tau * _log(shares)
    return tuple(float(value) for value in added - added.mean())


def decisions(probabilities: Array, shares: Array) -> npt.NDArray[np.intp]:
    """Decided classes `(T, n)` of the images under each of `TAUS`.

    Args:
        probabilities: `(n, K)`.
        shares: `(K,)` share of each class.
    """
    plain = _log(probabilities)
    # Without an offset the probabilities themselves decide, so that rounding never changes a decision.
    return np.stack([(plain + logits(tau, shares) if tau else probabilities).argmax(axis=1) for tau in TAUS])


def choose(scores: Array, errors: Array) -> npt.NDArray[np.intp]:
    """Index into `TAUS` of the strength that pays, for each of B samples; 0 (no offset) where none does.

    The best of several is best by luck too: it must gain more than a standard error on the rows it is fitted to.

    Args:
        scores: `(B, T)` on those rows.
        errors: `(T,)` standard error of the gain over no offset.
    """
    gains = np.nan_to_num(scores - scores[:, :1], nan=0.0)
    best: npt.NDArray[np.intp] = np.where(gains > errors + 1e-12, gains, 0.0).argmax(axis=1)
    return best


def offset_probabilities(probabilities: FloatArray, added: Sequence[float]) -> FloatArray:
    """Probabilities `(n, K)` float32 after adding the offset to the last layer's logits, as in the delivered model.

    Args:
        probabilities: `(n, K)` without the offset.
        added: `(K,)` as `logits` gives it.
    """
    if not any(added):
        return probabilities  # not even rounded
    return softmax(_log(probabilities) + np.asarray(added))


def _log(values: Array) -> Array:
    return np.log(np.maximum(values, SMALLEST_PROBABILITY).astype(np.float64))
