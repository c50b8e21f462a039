"""A head on a frozen backbone's embeddings, as a fit needs it.

Keras builds the network and draws its first weights; the steps are NumPy's. A step of a dense network on a few
embeddings takes some ten microseconds of arithmetic: a graph would spend ten times that on its own calls, and more than
the whole fit on being traced.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any, Final

import keras
import numpy as np
import numpy.typing as npt
from threadpoolctl import ThreadpoolController

from search import seeds
from search.arrays import FloatArray, IntArray
from search.fit_checks import LAYER_SIGNALS
from search.settings import TrainingProtocol
from search.training import network
from search.training.embeddings import FrozenBackbone
from search.training.epoch import EpochSums, LayerProbe
from search.training.heads import layers
from search.training.heads.loss import HeadLoss
from search.training.heads.optimizers import HeadOptimizer
from search.training.measures import log_loss, log_softmax
from search.training.sampling import Balance
from spaces.backbones import POOLED
from spaces.config import Configuration

_MOST_AT_ONCE: Final = 1024  # embeddings of a forward pass without gradients
_DRAWN_BYTES: Final = 1 << 22  # of embeddings that are drawn at once, for as many steps as they are enough for
_UNMEASURED: Final = float("nan")


class HeadTrainer:
    """What `Engine` is for images, for what a frozen backbone made of them.

    All weights lie in one vector, and so do their gradients, so that an optimizer's step is a few operations. Flips are
    drawn between the embeddings of an image and of its mirror images.

    Args:
        configuration: one that embeds.
        protocol: classes, epochs.
        stem: the backbone, and what it gave.
        labels: (n,) of all images.
        updates: optimizer steps of a whole fit (for BatchNorm's momentum).
    """

    parts = 1

    def __init__(
        self,
        configuration: Configuration,
        protocol: TrainingProtocol,
        stem: FrozenBackbone,
        labels: IntArray,
        updates: int,
    ) -> None:
        self.configuration = configuration
        self.protocol = protocol
        self.network = network.build_network(
            configuration,
            protocol.images.image_size,
            protocol.images.channels,
            protocol.classes,
            updates,
            embedded=True,
        )
        self._stem, self._labels = stem, labels
        self._pooled = pooled = POOLED.index(configuration.head)
        self._views = [view[:, pooled] for view in stem.views(configuration)]
        self._chain: list[layers.Layer] = [_pure(layer) for layer in self.network.layers]
        self._weights, self._slopes = self._placed()
        self._dense = [layer for layer in self._chain if isinstance(layer, layers.Dense)]
        self._norms = [layer for layer in self._chain if isinstance(layer, layers.BatchNormalization)]
        self._dropouts = [layer for layer in self._chain if isinstance(layer, layers.Dropout)]
        shapes = [shape for layer in self._chain for shape in layer.shapes()]
        kernels = np.concatenate([np.full(math.prod(shape), len(shape) == 2) for shape in shapes])
        self._updater = HeadOptimizer(configuration, kernels)

    def _placed(self) -> tuple[FloatArray, FloatArray]:
        """One vector for all weights, one for their gradients, and each layer's views of them."""
        size = sum(math.prod(shape) for layer in self._chain for shape in layer.shapes())
        vectors, start = np.zeros((2, size), np.float32), 0
        for layer in self._chain:
            views: list[list[FloatArray]] = [[], []]
            for shape in layer.shapes():
                end = start + math.prod(shape)
                for vector, own in zip(vectors, views, strict=True):
                    own.append(vector[start:end].reshape(shape))
                start = end
            layer.place(*views)
        return vectors[0], vectors[1]

    @property
    def microbatch_size(self) -> int:
        """A batch always finds room."""
        return self.configuration.batch_size

    @property
    def batchnorm_momentum(self) -> float:
        """0 without batch normalization."""
        return float(self._norms[0].momentum) if self._norms else 0.0

    @property
    def parameters(self) -> int:
        """Number of trainable weights."""
        return len(self._weights)

    @property
    def weights(self) -> list[npt.NDArray[Any]]:
        """Of the whole network, the backbone's included, in the order of `build_network`."""
        for layer, pure in zip(self.network.layers, self._chain, strict=True):
            if isinstance(pure, layers.Dense):
                layer.set_weights([pure.kernel, pure.bias])
            elif isinstance(pure, layers.BatchNormalization):
                layer.set_weights([pure.gamma, pure.beta, *pure.moving])
            elif isinstance(pure, layers.GroupNormalization):
                layer.set_weights([pure.gamma, pure.beta])
        return [*self._stem.weights, *self.network.get_weights()]

    def scaling(self) -> tuple[FloatArray, FloatArray]:
        """Backbones get the pixels as they are."""
        return np.zeros(self.protocol.images.channels, np.float32), np.ones(self.protocol.images.channels, np.float32)

    def step_seconds(self, rows: IntArray) -> None:
        """Next to nothing."""

    def begin(self, seed: int, rows: IntArray, balance: Balance) -> None:
        """Start a new fit: the first weights of this seed, nothing remembered."""
        network.reset(self.network, seed, balance.prior)
        drawn = (layer.trainable_variables for layer in self.network.layers)
        values = [np.asarray(variable).ravel() for variables in drawn for variable in variables]
        self._weights[:] = np.concatenate(values)
        for norm in self._norms:
            norm.begin()
        self._updater.begin()
        self._loss = HeadLoss(self.configuration, balance.weights.astype(np.float32), balance.margin.astype(np.float32))

    def train_epoch(
        self,
        rows: npt.NDArray[np.int32],
        rates: FloatArray,
        seed: int,
        probe: IntArray | None = None,
        *,
        gradients: bool = False,
    ) -> EpochSums:
        """One epoch of batches `(steps, batch)`, as `Engine.train_epoch`."""
        generator = seeds.generator(seed, "head")
        for place, layer in enumerate(self._dropouts):
            layer.generator = seeds.generator(seed, "dropout", place)
        before = [layer.kernel.copy() for layer in self._dense]
        slopes = np.full((len(self._dense), 2), _UNMEASURED, np.float32)
        loss = first = last = 0.0
        # Threads would wait for each other, at a few rows; what is not finite ends the fit, not the process.
        with _linear_algebra().limit(limits=1), np.errstate(all="ignore"):
            for step, (batch, x, rate) in enumerate(
                zip(rows, self._drawn(rows, generator), rates.tolist(), strict=True)
            ):
                loss += self._step(batch, x, rate)
                first = max(first, _square(self._dense[0].kernel_slope))
                last = max(last, _square(self._dense[-1].kernel_slope))
                if gradients and step == 0:
                    slopes[:] = [_of_gradient(layer.kernel_slope) for layer in self._dense]
            steps = max(1, len(rows))
            moved = np.array(
                [_of_weights(*pair, steps) for pair in zip(before, self._kernels, strict=True)], np.float32
            )
            sums = loss / steps, math.sqrt(first), math.sqrt(last), float(moved[0, 1])
            finite = bool(np.isfinite(sums).all() and np.isfinite(self._weights).all())
            measured = None
            if probe is not None or gradients:
                outputs, logits = self._looked(probe)
                columns = np.concatenate([outputs, moved, slopes], 1)
                assert columns.shape[1] == len(LAYER_SIGNALS)
                measured = LayerProbe(columns, logits)
        return EpochSums(*sums, finite, measured)

    @property
    def _kernels(self) -> list[FloatArray]:
        return [layer.kernel for layer in self._dense]

    def _step(self, batch: npt.NDArray[np.int32], x: FloatArray, rate: float) -> float:
        for layer in self._chain:
            x = layer.forward(x, training=True)
        loss, slope = self._loss(x, self._labels[batch])
        for layer in reversed(self._chain):
            slope = layer.backward(slope, further=layer is not self._chain[0])
        self._updater.step(self._weights, self._slopes, rate)
        return loss

    def _drawn(self, rows: npt.NDArray[np.int32], generator: np.random.Generator) -> Iterator[FloatArray]:
        """Embeddings `(batch, features)` of each step's images, each in any of its views, which are equally likely."""
        steps = max(1, _DRAWN_BYTES // max(1, self._views[0][0].nbytes * rows.shape[1]))
        for first in range(0, len(rows), steps):
            some = rows[first : first + steps]
            x = self._views[0][some]
            if len(self._views) > 1:
                drawn = generator.integers(len(self._views), size=some.shape)
                for number, view in enumerate(self._views[1:], start=1):
                    here = drawn == number
                    x[here] = view[some[here]]
            yield from x

    def work_done(self) -> int:
        """A number that grows with each step, as `Engine.work_done`."""
        return self._updater.steps

    def probe_layers(self, probe: IntArray) -> LayerProbe:
        """The layers' signals and the logits of some images with the weights as they are."""
        steps = np.zeros((0, self.configuration.batch_size), np.int32)
        measured = self.train_epoch(steps, np.zeros(0, np.float32), 0, probe).probe
        assert measured is not None
        return measured

    def _looked(self, probe: IntArray | None) -> tuple[FloatArray, FloatArray]:
        """What each weight layer gives after its activation, and the logits; BatchNorm by these images' own."""
        if probe is None:
            unmeasured = np.full((len(self._dense), 3), _UNMEASURED, np.float32)
            return unmeasured, np.zeros((0, self.protocol.classes), np.float32)
        x, outputs = self._views[0][probe], []
        for layer in self._chain:
            x = _by_batch(layer, x)
            if isinstance(layer, layers.Activation):
                outputs.append(_of_outputs(x))
        return np.array([*outputs, _of_outputs(x)], np.float32), x

    def logits(self, rows: IntArray) -> FloatArray:
        """Logits `(len(rows), K)` float32 in evaluation mode."""
        return self._logits(self._views[0], rows)

    def logits_of(self, images: Any, rows: IntArray, shape_ids: IntArray | None = None) -> FloatArray:
        """The same of any other images, which go through the backbone first; see `Engine.logits_of`."""
        return self._logits(self._stem.embed_again(images, rows, shape_ids)[:, self._pooled], np.arange(len(rows)))

    def _logits(self, features: FloatArray, rows: IntArray) -> FloatArray:
        found = np.zeros((len(rows), self.protocol.classes), np.float32)
        with np.errstate(all="ignore"):
            for start in range(0, len(rows), _MOST_AT_ONCE):
                x = features[rows[start : start + _MOST_AT_ONCE]]
                for layer in self._chain:
                    x = layer.forward(x, training=False)
                found[start : start + _MOST_AT_ONCE] = x
        return found

    def rows_of_one_shape(self, rows: IntArray) -> IntArray:
        """All: embeddings have one shape."""
        return rows

    def reestimate_batchnorm(self, rows: npt.NDArray[np.int32]) -> float:
        """Replace BatchNorm's moving statistics by those of these batches, dropout off; see `Engine`."""
        if not self._norms:
            return _UNMEASURED
        sums = [np.zeros_like(norm.moving) for norm in self._norms]
        loss = 0.0
        for batch in rows:
            x = self._views[0][batch]
            for layer in self._chain:
                x = _by_batch(layer, x)
            loss += log_loss(log_softmax(x), self._labels[batch])
            for total, norm in zip(sums, self._norms, strict=True):
                total += norm.last
        for total, norm in zip(sums, self._norms, strict=True):
            norm.moving[:] = total / len(rows)
        return loss / len(rows)

    def state(self) -> tuple[npt.NDArray[Any], ...]:
        """Everything that epochs change. What is drawn comes from each epoch's own seed."""
        moving = [norm.moving.copy() for norm in self._norms]
        return self._weights.copy(), *moving, self._updater.memory.copy(), np.array(self._updater.steps)

    def restore(self, state: Sequence[npt.NDArray[Any]]) -> None:
        """After `begin`, stand where `state` was taken. Raises ValueError if it is another network's."""
        if [values.shape for values in state] != [values.shape for values in self.state()]:
            raise ValueError("other shapes")
        weights, *moving, memory, steps = state
        self._weights[:] = weights
        for norm, values in zip(self._norms, moving, strict=True):
            norm.moving[:] = values
        self._updater.memory[:] = memory
        self._updater.steps = int(steps)


@cache
def _linear_algebra() -> ThreadpoolController:
    """The threads of NumPy's and SciPy's own copies of BLAS; looking for them takes longer than an epoch."""
    return ThreadpoolController()


def _pure(layer: Any) -> layers.Layer:
    """The same layer in NumPy, its weights not yet placed."""
    units = layer.input.shape[-1]
    match layer:
        case keras.layers.Dense():
            return layers.Dense(units, layer.units)
        case keras.layers.BatchNormalization():
            return layers.BatchNormalization(units, layer.epsilon, layer.momentum)
        case keras.layers.GroupNormalization():
            return layers.GroupNormalization(units, layer.epsilon, layer.groups)
        case keras.layers.Dropout():
            return layers.Dropout(layer.rate)
        case keras.layers.Activation():
            return layers.Activation(layer.activation.__name__)
        case _:
            raise ValueError(f"no head has a {type(layer).__name__}: layers.py has to say what it computes")


def _by_batch(layer: layers.Layer, x: FloatArray) -> FloatArray:
    """Without dropout, and batch normalization by these images' own statistics."""
    return layer.by_batch(x) if isinstance(layer, layers.BatchNormalization) else layer.forward(x, training=False)


def _square(values: FloatArray) -> float:
    """Sum of the squares."""
    flat = values.ravel()
    return float(flat @ flat)


def _norm(values: FloatArray) -> float:
    return math.sqrt(_square(values))


def _of_outputs(x: FloatArray) -> tuple[float, float, float]:
    """`dead_share`, `zero_share`, `scale`, as `signals.of_outputs`."""
    zero = x == 0
    return float(zero.all(0).mean()), float(zero.mean()), float(x.std())


def _of_weights(before: FloatArray, after: FloatArray, steps: int) -> tuple[float, float]:
    """`weight_scale` and `update_ratio`, as `signals.of_weights`."""
    size = _norm(after)
    return size / after.size**0.5, _norm(after - before) / (size + 1e-12) / steps


def _of_gradient(slope: FloatArray) -> tuple[float, float]:
    """`gradient` and `zero_gradients`, as `signals.of_gradients`."""
    return float(np.abs(slope).mean()), float((slope == 0).mean())
