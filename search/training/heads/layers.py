"""The layers of a dense network, forwards and backwards. Pure NumPy, float32.

Each says the same as Keras' layer of its name, within rounding. `forward` with `training` keeps what `backward` needs;
`backward` takes the gradient of the loss by what came out, puts that by its weights into `slopes`, and gives that by
what went in. Weights and slopes are views of longer vectors that the network holds.
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
    """One of a chain."""

    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """Of its trainable weights."""

    def place(self, weights: Sequence[FloatArray], slopes: Sequence[FloatArray]) -> None:
        """From now on its weights, and their gradients, lie here."""

    def forward(self, x: FloatArray, *, training: bool) -> FloatArray:
        """`(batch, units in)` -> `(batch, units out)`."""

    def backward(self, slope: FloatArray, *, further: bool) -> FloatArray:
        """`(batch, units out)` -> `(batch, units in)`; unless `further`, nobody looks at what it gives."""


class _Weightless:
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        return ()

    def place(self, weights: Sequence[FloatArray], slopes: Sequence[FloatArray]) -> None: ...


class Dense:
    """x @ kernel + bias."""

    def __init__(self, inputs: int, units: int) -> None:
        self._shapes = (inputs, units), (units,)
        self.kernel: FloatArray
        self.kernel_slope: FloatArray

    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """Kernel and bias."""
        return self._shapes

    def place(self, weights: Sequence[FloatArray], slopes: Sequence[FloatArray]) -> None:
        """Kernel and bias."""
        self.kernel, self.bias = weights
        self.kernel_slope, self._bias_slope = slopes

    def forward(self, x: FloatArray, *, training: bool) -> FloatArray:
        """`(batch, inputs)` -> `(batch, units)`."""
        if training:
            self._x = x
        return x @ self.kernel + self.bias

    def backward(self, slope: FloatArray, *, further: bool) -> FloatArray:
        """The matrix products of the chain rule."""
        np.matmul(self._x.T, slope, out=self.kernel_slope)
        np.add.reduce(slope, axis=0, out=self._bias_slope)
        return slope @ self.kernel.T if further else slope


class _Normalization:
    """(x - mean) / deviation x gamma + beta, over the batch or over groups of units."""

    def __init__(self, units: int, epsilon: float) -> None:
        self._units, self._epsilon = units, np.float32(epsilon)

    def shapes(self) -> tuple[tuple[int, ...], ...]:
        return (self._units,), (self._units,)

    def place(self, weights: Sequence[FloatArray], slopes: Sequence[FloatArray]) -> None:
        self.gamma, self.beta = weights
        self._gamma_slope, self._beta_slope = slopes

    def _normal(self, x: FloatArray, axis: int) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
        """Normalized values, and the mean, variance and factor that made them, kept in dimension."""
        mean = _mean(x, axis)
        centred = x - mean
        variance = _mean(centred * centred, axis)
        factor = 1 / np.sqrt(variance + self._epsilon)
        return centred * factor, mean, variance, factor

    def _weighted(self, normal: FloatArray) -> FloatArray:
        return normal * self.gamma + self.beta

    def _learn(self, slope: FloatArray, normal: FloatArray) -> FloatArray:
        """The gradients of gamma and beta; gives that of the normalized values."""
        np.add.reduce(slope * normal, axis=0, out=self._gamma_slope)
        np.add.reduce(slope, axis=0, out=self._beta_slope)
        return slope * self.gamma


def _through(slope: FloatArray, normal: FloatArray, factor: FloatArray, axis: int) -> FloatArray:
    """Back through a normalization by mean and deviation along an axis (Ioffe and Szegedy, ICML 2015)."""
    mean = _mean(slope, axis)
    along = _mean(slope * normal, axis)
    return factor * (slope - mean - normal * along)


def _mean(x: FloatArray, axis: int) -> FloatArray:
    """As `np.mean`, which takes several times as long to begin."""
    return np.asarray(np.add.reduce(x, axis, keepdims=True) / x.dtype.type(x.shape[axis]))


class BatchNormalization(_Normalization):
    """By the batch in training, by its moving statistics otherwise."""

    def __init__(self, units: int, epsilon: float, momentum: float) -> None:
        super().__init__(units, epsilon)
        self.momentum = np.float32(momentum)
        self.moving = np.zeros((2, units), np.float32)
        self.last = np.zeros((2, units), np.float32)
        self.begin()

    def begin(self) -> None:
        """Moving statistics of nothing seen: mean 0, variance 1."""
        self.moving[:] = [[0], [1]]

    def forward(self, x: FloatArray, *, training: bool) -> FloatArray:
        """`(batch, units)`, the same shape out; in training the moving statistics follow."""
        if not training:
            mean, variance = self.moving
            return self._weighted((x - mean) / np.sqrt(variance + self._epsilon))
        out = self.by_batch(x)
        self.moving *= self.momentum
        self.moving += (1 - self.momentum) * self.last
        return out

    def by_batch(self, x: FloatArray) -> FloatArray:
        """By the batch's own mean and variance, which are noted in `last`."""
        self._scaled, mean, variance, self._factor = self._normal(x, 0)
        self.last[:] = mean[0], variance[0]
        return self._weighted(self._scaled)

    def backward(self, slope: FloatArray, *, further: bool) -> FloatArray:
        """Through mean and variance too."""
        return _through(self._learn(slope, self._scaled), self._scaled, self._factor, 0)


class GroupNormalization(_Normalization):
    """Image by image, by the mean and deviation of each group of units (Wu and He, ECCV 2018)."""

    def __init__(self, units: int, epsilon: float, groups: int) -> None:
        super().__init__(units, epsilon)
        self._groups = groups

    def forward(self, x: FloatArray, *, training: bool) -> FloatArray:
        """`(batch, units)`, the same shape out."""
        normal, _, _, factor = self._normal(self._split(x), 2)
        if training:
            self._scaled, self._factor = normal, factor
        return self._weighted(normal.reshape(x.shape))

    def backward(self, slope: FloatArray, *, further: bool) -> FloatArray:
        """Through each group's mean and deviation too."""
        inner = self._learn(slope, self._scaled.reshape(slope.shape))
        return _through(self._split(inner), self._scaled, self._factor, 2).reshape(slope.shape)

    def _split(self, x: FloatArray) -> FloatArray:
        return x.reshape(len(x), self._groups, self._units // self._groups)


class Activation(_Weightless):
    """Keras' function of this name."""

    def __init__(self, name: str) -> None:
        self._function, self._slope = _ACTIVATIONS[name]

    def forward(self, x: FloatArray, *, training: bool) -> FloatArray:
        """Any shape."""
        out = self._function(x)
        if training:
            self._x, self._out = x, out
        return out

    def backward(self, slope: FloatArray, *, further: bool) -> FloatArray:
        """Times the function's slope."""
        return slope * self._slope(self._x, self._out)


class Dropout(_Weightless):
    """A share of the values is 0 in training, the others are raised for it."""

    def __init__(self, rate: float) -> None:
        self._rate = np.float32(rate)
        self._raised = np.float32(1 / (1 - rate))
        self.generator = np.random.default_rng(0)

    def forward(self, x: FloatArray, *, training: bool) -> FloatArray:
        """Any shape."""
        if not training or not self._rate:
            self._kept: FloatArray | None = None
            return x
        self._kept = (self.generator.random(x.shape, np.float32) >= self._rate) * self._raised
        return x * self._kept

    def backward(self, slope: FloatArray, *, further: bool) -> FloatArray:
        """What was dropped has no slope."""
        return slope if self._kept is None else slope * self._kept


def _below(x: FloatArray) -> FloatArray:
    """The normal distribution's share below x; not yet 0 where 1 + erf is by rounding."""
    return erfc(-x * _CURVE) * np.float32(0.5)  # type: ignore[no-any-return]


def _gelu_slope(x: FloatArray, out: FloatArray) -> FloatArray:
    below = np.divide(out, x, out=np.full_like(x, 0.5), where=x != 0)  # known from the way forwards, and dear
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
