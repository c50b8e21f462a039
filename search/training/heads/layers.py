"""The layers of a dense network, forwards and backwards. Pure NumPy, float32.

Each computes what Keras' layer of its name does, within rounding. Weights and their gradients are views of longer
vectors that the network holds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Final, Protocol

import numpy as np
from scipy.special import erfc  # type: ignore[import-untyped]

from search.arrays import FloatArray

_LEAK: Final = np.float32(0.2)  # Keras' own
_CURVE: Final = np.float32(1 / math.sqrt(2))
_DENSITY: Final = np.float32(1 / math.sqrt(2 * math.pi))


class Layer(Protocol):
    """A layer that computes its outputs and, after a forward pass in training mode, its gradients."""

    def weight_shapes(self) -> tuple[tuple[int, ...], ...]:
        """Return the shape of each trainable weight."""

    def bind(self, weights: Sequence[FloatArray], gradients: Sequence[FloatArray]) -> None:
        """Use these arrays, of `weight_shapes`, for the weights and their gradients from now on."""

    def forward(self, x: FloatArray, *, training: bool) -> FloatArray:
        """Return outputs `(batch, units out)` of inputs `(batch, units in)`; `training` also prepares `backward`."""

    def backward(self, gradient: FloatArray, *, needs_input_gradient: bool) -> FloatArray:
        """Write the gradients of the weights into the bound arrays, and return the gradient of the inputs.

        Args:
            gradient: `(batch, units out)` gradient of the loss by the outputs of the last `forward` in training.
            needs_input_gradient: whether the result is used; if False, it may be any array.

        Returns:
            `(batch, units in)` gradient of the loss by the inputs.
        """


class _Weightless:
    def weight_shapes(self) -> tuple[tuple[int, ...], ...]:
        return ()

    def bind(self, weights: Sequence[FloatArray], gradients: Sequence[FloatArray]) -> None: ...


class Dense:
    """Dense layer without activation: x @ kernel + bias."""

    def __init__(self, inputs: int, units: int) -> None:
        self._shapes = (inputs, units), (units,)
        self.kernel: FloatArray
        self.kernel_gradient: FloatArray

    def weight_shapes(self) -> tuple[tuple[int, ...], ...]:
        """Return the shapes of kernel and bias."""
        return self._shapes

    def bind(self, weights: Sequence[FloatArray], gradients: Sequence[FloatArray]) -> None:
        """Use these arrays for kernel and bias, and for their gradients."""
        self.kernel, self.bias = weights
        self.kernel_gradient, self._bias_gradient = gradients

    def forward(self, x: FloatArray, *, training: bool) -> FloatArray:
        """Return `(batch, units)` of inputs `(batch, inputs)`."""
        if training:
            self._x = x
        return x @ self.kernel + self.bias

    def backward(self, gradient: FloatArray, *, needs_input_gradient: bool) -> FloatArray:
        """Apply the chain rule; see `Layer.backward`."""
        np.matmul(self._x.T, gradient, out=self.kernel_gradient)
        np.add.reduce(gradient, axis=0, out=self._bias_gradient)
        return gradient @ self.kernel.T if needs_input_gradient else gradient


class _Normalization:
    """(x - mean) / deviation x gamma + beta, over the batch or over groups of units."""

    def __init__(self, units: int, epsilon: float) -> None:
        self._units, self._epsilon = units, np.float32(epsilon)

    def weight_shapes(self) -> tuple[tuple[int, ...], ...]:
        return (self._units,), (self._units,)

    def bind(self, weights: Sequence[FloatArray], gradients: Sequence[FloatArray]) -> None:
        self.gamma, self.beta = weights
        self._gamma_gradient, self._beta_gradient = gradients

    def _normal(self, x: FloatArray, axis: int) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
        """Normalized values, and the mean, variance and factor that made them, kept in dimension."""
        mean = _mean(x, axis)
        centred = x - mean
        variance = _mean(centred * centred, axis)
        factor = 1 / np.sqrt(variance + self._epsilon)
        return centred * factor, mean, variance, factor

    def _weighted(self, normal: FloatArray) -> FloatArray:
        return normal * self.gamma + self.beta

    def _learn(self, gradient: FloatArray, normal: FloatArray) -> FloatArray:
        """The gradients of gamma and beta; gives that of the normalized values."""
        np.add.reduce(gradient * normal, axis=0, out=self._gamma_gradient)
        np.add.reduce(gradient, axis=0, out=self._beta_gradient)
        return gradient * self.gamma


def _through(gradient: FloatArray, normal: FloatArray, factor: FloatArray, axis: int) -> FloatArray:
    """Back through a normalization by mean and deviation along an axis (Ioffe and Szegedy, ICML 2015)."""
    mean = _mean(gradient, axis)
    along = _mean(gradient * normal, axis)
    return factor * (gradient - mean - normal * along)


def _mean(x: FloatArray, axis: int) -> FloatArray:
    """Return the mean along an axis, which is kept; on small arrays faster than `np.mean`."""
    return np.asarray(np.add.reduce(x, axis, keepdims=True) / x.dtype.type(x.shape[axis]))


class BatchNormalization(_Normalization):
    """Batch normalization: by batch statistics in training, by moving statistics otherwise."""

    def __init__(self, units: int, epsilon: float, momentum: float) -> None:
        super().__init__(units, epsilon)
        self.momentum = np.float32(momentum)
        self.moving = np.zeros((2, units), np.float32)
        self.last = np.zeros((2, units), np.float32)
        self.begin()

    def begin(self) -> None:
        """Reset the moving statistics: mean 0, variance 1."""
        self.moving[:] = [[0], [1]]

    def forward(self, x: FloatArray, *, training: bool) -> FloatArray:
        """Normalize `(batch, units)`; in training also update the moving statistics."""
        if not training:
            mean, variance = self.moving
            return self._weighted((x - mean) / np.sqrt(variance + self._epsilon))
        out = self.by_batch(x)
        self.moving *= self.momentum
        self.moving += (1 - self.momentum) * self.last
        return out

    def by_batch(self, x: FloatArray) -> FloatArray:
        """Normalize `(batch, units)` by the batch's own mean and variance, which are stored in `last`."""
        self._normalized, mean, variance, self._factor = self._normal(x, 0)
        self.last[:] = mean[0], variance[0]
        return self._weighted(self._normalized)

    def backward(self, gradient: FloatArray, *, needs_input_gradient: bool) -> FloatArray:
        """Apply the chain rule, including the batch's mean and variance; see `Layer.backward`."""
        return _through(self._learn(gradient, self._normalized), self._normalized, self._factor, 0)


class GroupNormalization(_Normalization):
    """Group normalization: each image by the mean and deviation of groups of its units (Wu and He, ECCV 2018)."""

    def __init__(self, units: int, epsilon: float, groups: int) -> None:
        super().__init__(units, epsilon)
        self._groups = groups

    def forward(self, x: FloatArray, *, training: bool) -> FloatArray:
        """Normalize `(batch, units)`; the mode makes no difference."""
        normal, _, _, factor = self._normal(self._split(x), 2)
        if training:
            self._normalized, self._factor = normal, factor
        return self._weighted(normal.reshape(x.shape))

    def backward(self, gradient: FloatArray, *, needs_input_gradient: bool) -> FloatArray:
        """Apply the chain rule, including each group's mean and deviation; see `Layer.backward`."""
        inner = self._learn(gradient, self._normalized.reshape(gradient.shape))
        return _through(self._split(inner), self._normalized, self._factor, 2).reshape(gradient.shape)

    def _split(self, x: FloatArray) -> FloatArray:
        return x.reshape(len(x), self._groups, self._units // self._groups)


class Activation(_Weightless):
    """Activation layer with Keras' function of the given name."""

    def __init__(self, name: str) -> None:
        self._function, self._slope = _ACTIVATIONS[name]

    def forward(self, x: FloatArray, *, training: bool) -> FloatArray:
        """Apply the activation to each value of `x`, of any shape."""
        out = self._function(x)
        if training:
            self._x, self._out = x, out
        return out

    def backward(self, gradient: FloatArray, *, needs_input_gradient: bool) -> FloatArray:
        """Multiply by the function's derivative; see `Layer.backward`."""
        return gradient * self._slope(self._x, self._out)


class Dropout(_Weightless):
    """Dropout: in training a share `rate` of the values is set to 0, and the others are divided by 1 - `rate`."""

    def __init__(self, rate: float) -> None:
        self._rate = np.float32(rate)
        self._scale = np.float32(1 / (1 - rate))
        self.generator = np.random.default_rng(0)

    def forward(self, x: FloatArray, *, training: bool) -> FloatArray:
        """Return `x`, of any shape; in training with dropout."""
        if not training or not self._rate:
            self._mask: FloatArray | None = None
            return x
        self._mask = (self.generator.random(x.shape, np.float32) >= self._rate) * self._scale
        return x * self._mask

    def backward(self, gradient: FloatArray, *, needs_input_gradient: bool) -> FloatArray:
        """Return the gradient with the mask of the last `forward`; see `Layer.backward`."""
        return gradient if self._mask is None else gradient * self._mask


def _below(x: FloatArray) -> FloatArray:
    """The normal distribution's share below x; not yet 0 where 1 + erf is by rounding."""
    return erfc(-x * _CURVE) * np.float32(0.5)  # type: ignore[no-any-return]


def _gelu_slope(x: FloatArray, out: FloatArray) -> FloatArray:
    below = np.divide(out, x, out=np.full_like(x, 0.5), where=x != 0)  # from the forward pass: costly to compute again
    return np.asarray(below + x * _DENSITY * np.exp(x * x * np.float32(-0.5)))


_Function = Callable[[FloatArray], FloatArray]
_Slope = Callable[[FloatArray, FloatArray], FloatArray]
_ACTIVATIONS: Final[dict[str, tuple[_Function, _Slope]]] = {
    "relu": (lambda x: np.maximum(x, 0), lambda x, _: (x > 0).astype(np.float32)),
    "leaky_relu": (lambda x: np.where(x > 0, x, _LEAK * x), lambda x, _: np.where(x > 0, np.float32(1), _LEAK)),
    "elu": (
        lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
        lambda x, out: np.where(x > 0, np.float32(1), out + 1),
    ),
    "gelu": (lambda x: x * _below(x), _gelu_slope),
    "tanh": (np.tanh, lambda _, out: 1 - out * out),
}
