"""The steps of the optimizers, on all weights at once as one vector. Pure NumPy; formulas and defaults are Keras'."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import numpy.typing as npt

from search.arrays import FloatArray
from spaces.config import Configuration

_MOMENTUM: Final = np.float32(0.9)
_BETAS: Final = (0.9, 0.999)
_EPSILON: Final = np.float32(1e-7)


class Updater:
    """Adam, AdamW, or SGD with Nesterov's momentum, after a configuration.

    Args:
        configuration: which, and its weight decay.
        decays: (weights,) bool, which of the vector decay.
    """

    def __init__(self, configuration: Configuration, decays: npt.NDArray[np.bool]) -> None:
        if configuration.optimizer not in ("adam", "adamw", "sgd"):
            raise ValueError(f"no step of the optimizer {configuration.optimizer!r} is known")
        size = len(decays)
        self._is_adam = configuration.optimizer != "sgd"
        decay = 0.0 if configuration.optimizer == "adam" else configuration.weight_decay
        self._decay = np.where(decays, np.float32(decay), np.float32(0)) if decay else None
        self.memory = np.zeros((2 if self._is_adam else 1, size), np.float32)
        self.steps = 0
        self._spare = np.empty(size, np.float32)

    def begin(self) -> None:
        """Forget everything."""
        self.memory[:] = 0
        self.steps = 0

    def step(self, weights: FloatArray, slopes: FloatArray, rate: float) -> None:
        """Change the weights `(size,)` in place."""
        if self._decay is not None:
            weights *= 1 - self._decay * np.float32(rate)
        self.steps += 1
        if self._is_adam:
            self._adam(weights, slopes, rate)
        else:
            self._sgd(weights, slopes, rate)

    def _adam(self, weights: FloatArray, slopes: FloatArray, rate: float) -> None:
        """Kingma and Ba, ICLR 2015, algorithm 1 in the order at the end of its section 2."""
        (mean, square), spare = self.memory, self._spare
        first, second = (np.float32(1 - beta) for beta in _BETAS)
        np.subtract(slopes, mean, out=spare)
        spare *= first
        mean += spare
        np.multiply(slopes, slopes, out=spare)
        spare -= square
        spare *= second
        square += spare
        np.sqrt(square, out=spare)
        spare += _EPSILON
        np.divide(mean, spare, out=spare)
        biases = [1 - beta**self.steps for beta in _BETAS]
        spare *= np.float32(rate * math.sqrt(biases[1]) / biases[0])
        weights -= spare

    def _sgd(self, weights: FloatArray, slopes: FloatArray, rate: float) -> None:
        (speed,), spare = self.memory, self._spare
        np.multiply(slopes, np.float32(rate), out=spare)
        speed *= _MOMENTUM
        speed -= spare
        weights -= spare
        np.multiply(speed, _MOMENTUM, out=spare)
        weights += spare
