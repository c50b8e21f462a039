"""Decision offset: corrects the predicted class for unequal class shares, with one strength tau.

A network trained on 100 images of one class and 2,500 of another predicts the large class too often. Adding
-tau log(class share) to its logits (Menon et al., ICLR 2021) shifts the decision without any training; with two classes
this moves the decision threshold. Tau is fitted on out-of-fold predictions; it is 0 unless it clearly gains.
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
"""Values of tau that are tried; 0 means no offset. In a tie the earlier value is taken."""


def logits(tau: float, shares: Array) -> tuple[float, ...]:
    """Return the offset of the last layer's logits, -tau log(share), shifted to a mean of 0.

    Args:
        tau: strength of the offset; 0 gives zeros.
        shares: `(K,)` share of each class, 0..1.

    Returns:
        K numbers to add to the logits.
    """
    if tau == 0:
        return (0.0,) * len(shares)
    added = -tau * _log(shares)
    return tuple(float(value) for value in added - added.mean())


def decisions(probabilities: Array, shares: Array) -> npt.NDArray[np.intp]:
    """Return the predicted class of each image under each of the T strengths in `TAUS`.

    Args:
        probabilities: `(n, K)` without an offset.
        shares: `(K,)` share of each class, 0..1.

    Returns:
        `(T, n)` int, 0..K-1.
    """
    plain = _log(probabilities)
    # Without an offset the probabilities themselves decide, so that rounding never changes a decision.
    return np.stack([(plain + logits(tau, shares) if tau else probabilities).argmax(axis=1) for tau in TAUS])


def choose(scores: Array, errors: Array) -> npt.NDArray[np.intp]:
    """Choose the strength with the largest gain over no offset, for each of B bootstrap samples.

    The gain must exceed its standard error, as the best of several strengths is best by luck too.

    Args:
        scores: `(B, T)` score of each sample under each strength in `TAUS`.
        errors: `(T,)` standard error of the gain over no offset.

    Returns:
        `(B,)` indices into `TAUS`; 0 (no offset) if no gain exceeds its standard error.
    """
    gains = np.nan_to_num(scores - scores[:, :1], nan=0.0)
    best: npt.NDArray[np.intp] = np.where(gains > errors + 1e-12, gains, 0.0).argmax(axis=1)
    return best


def offset_probabilities(probabilities: FloatArray, added: Sequence[float]) -> FloatArray:
    """Return the probabilities `(n, K)` float32 after the offset is added to the logits, as in the delivered model.

    Args:
        probabilities: `(n, K)` float32 without the offset; returned unchanged if the offset is all zeros.
        added: `(K,)` offset of the logits, from `logits`.
    """
    if not any(added):
        return probabilities  # not even rounded
    return softmax(_log(probabilities) + np.asarray(added))


def _log(values: Array) -> Array:
    return np.log(np.maximum(values, SMALLEST_PROBABILITY).astype(np.float64))
