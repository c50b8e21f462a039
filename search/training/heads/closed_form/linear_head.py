"""A linear head as a `Dense` layer holds it: kernel and bias for features as the backbone gives them. Pure NumPy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from search.training.measures import log_softmax

DoubleArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class LinearHead:
    """Kernel and bias of a linear classifier: the softmax of `x @ kernel + bias` are its probabilities.

    Standardization and temperature are folded in, so `keras.layers.Dense(K, activation="softmax")` with these weights
    gives the same probabilities for the same features.
    """

    kernel: DoubleArray  # (features, K)
    bias: DoubleArray  # (K,), mean 0: adding a number to all logits changes no probability

    def probabilities(self, x: npt.NDArray[np.floating[Any]]) -> DoubleArray:
        """Return the probabilities `(n, K)` float64 of features `(n, features)`; rows add up to 1."""
        probabilities: DoubleArray = predict([self], x)[0]
        return probabilities


def predict(heads: Sequence[LinearHead], x: npt.NDArray[np.floating[Any]]) -> DoubleArray:
    """Compute the probabilities of many heads with one product of matrices.

    Args:
        heads: S heads for the same features and classes, as a `fit` of `HEADS` returns them.
        x: `(n, features)`, of the same kind as what the heads were fitted to.

    Returns:
        `(S, n, K)` float64, 0..1, rows add up to 1.
    """
    kernels = np.concatenate([head.kernel for head in heads], axis=1)
    logits = x.astype(np.float64) @ kernels + np.concatenate([head.bias for head in heads])
    shape = len(x), len(heads), len(heads[0].bias)
    probabilities = np.exp(log_softmax(logits.reshape(-1, shape[2]))).reshape(shape)
    return np.ascontiguousarray(probabilities.transpose(1, 0, 2))
