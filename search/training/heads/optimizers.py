"""Optimizer steps on all weights as one vector, with the formulas and defaults of Keras.

With small batches half of the training time of a large head is spent here. So BLAS adds products in one pass, and
moving means are stored as unscaled sums, which are scaled once per step.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from scipy.linalg.blas import saxpy  # type: ignore[import-untyped]  # y += a x in place, of contiguous float32

from search.arrays import FloatArray
from spaces.config import Configuration
from spaces.optimizers import OPTIMIZERS, Adam, Momentum


class HeadOptimizer:
    """Adam, AdamW, or SGD with Nesterov momentum, as the configuration says.

    Args:
        configuration: gives the optimizer and its weight decay.
        decays: `(weights,)` bool, which weights are subject to weight decay.

    Attributes:
        memory: `(2, weights)` float32 moments of Adam, or `(1, weights)` momentum of SGD.
        steps: number of steps since `begin`.
    """

    def __init__(self, configuration: Configuration, decays: npt.NDArray[np.bool]) -> None:
        size = len(decays)
        self._optimizer = OPTIMIZERS[configuration.optimizer]
        self._decay = configuration.weight_decay if self._optimizer.takes_weight_decay else 0.0
        edges = np.flatnonzero(np.diff(decays, prepend=False, append=False)).reshape(-1, 2)
        self._decaying = [slice(*edge) for edge in edges.tolist()]
        self.memory = np.zeros((2 if isinstance(self._optimizer, Adam) else 1, size), np.float32)
        self.steps = 0
        self._spare = np.empty(size, np.float32)

    def begin(self) -> None:
        """Reset the optimizer's state and step count to zero."""
        self.memory[:] = 0
        self.steps = 0

    def step(self, weights: FloatArray, slopes: FloatArray, rate: float) -> None:
        """Do one step, in place.

        Args:
            weights: `(weights,)` float32, contiguous; changed.
            slopes: `(weights,)` float32 gradient of the loss.
            rate: learning rate.
        """
        if self._decay:
            for part in self._decaying:
                weights[part] *= np.float32(1 - self._decay * rate)
        self.steps += 1
        match self._optimizer:
            case Adam() as adam:
                self._adam(adam, weights, slopes, rate)
            case Momentum() as sgd:
                self._momentum(sgd, weights, slopes, rate)

    def _adam(self, adam: Adam, weights: FloatArray, slopes: FloatArray, rate: float) -> None:
        """Algorithm 1 of the paper, in the order at the end of its section 2.

        In memory are the sums whose shares 1 - beta are the moving means of the slopes and of their squares.
        """
        (mean, square), spare = self.memory, self._spare
        first, second = adam.beta_1, adam.beta_2
        mean *= np.float32(first)
        saxpy(slopes, mean)
        np.multiply(slopes, slopes, out=spare)
        square *= np.float32(second)
        square += spare
        root = math.sqrt(1 - second)  # of the share, taken out of the denominator
        np.sqrt(square, out=spare)
        spare += np.float32(adam.epsilon / root)
        np.divide(mean, spare, out=spare)
        unbiased = math.sqrt(1 - second**self.steps) / (1 - first**self.steps)
        saxpy(spare, weights, a=-rate * unbiased * (1 - first) / root)

    def _momentum(self, sgd: Momentum, weights: FloatArray, slopes: FloatArray, rate: float) -> None:
        (speed,) = self.memory
        speed *= np.float32(sgd.momentum)
        saxpy(slopes, speed, a=-rate)
        saxpy(slopes, weights, a=-rate)
        saxpy(speed, weights, a=sgd.momentum)
