"""Whole epochs in one graph: the thin layer between the arithmetic of a fit and TensorFlow.

One `Engine` is one traced network. Fits, folds and seeds differ in tensors only (row indices, rates, class weights,
statistics, seeds), so that a trial is traced once. Pixels stay on the device as uint8.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from search.arrays import FloatArray, IntArray
from search.checks import LAYER_SIGNALS
from search.settings import Protocol
from search.training import batchnorm, network, optimizer, pixels, signals
from search.training.outcome import EpochSums, LayerProbe
from spaces.config import Configuration

_MOST_AT_ONCE: Final = 128  # images of a forward pass without gradients


class Engine:
    """A network with its optimizer and its traced functions.

    Args:
        configuration: what to build.
        protocol: image size, channels, classes, epochs, precision.
        images: (n, side, side, channels) uint8 tensor, all images.
        labels: (n,) int32 tensor.
        updates: optimizer steps of a whole fit (for BatchNorm's momentum).
        parts: that each batch is passed through the network in, a divisor of its size: more where memory is short. The
            gradients are those of the whole batch; BatchNorm's statistics are those of each part.
    """

    def __init__(
        self, configuration: Configuration, protocol: Protocol, images: Any, labels: Any, updates: int, parts: int = 1
    ) -> None:
        self.configuration = configuration
        self.protocol = protocol
        self.parts = parts
        self.network = network.build_network(
            configuration, protocol.image_size, protocol.channels, protocol.classes, updates, protocol.precision
        )
        self._images = images
        self._labels = labels
        self._layers = self.network.layers
        self._batchnorms = network.batchnorms(self.network)
        self._weighted = network.weight_layers(self.network)
        self._weights = self.network.trainable_variables
        self._kernels = [self._place(layer.kernel) for layer in self._weighted]
        self._optimizer = optimizer.build_optimizer(configuration)
        self._optimizer.build(self._weights)
        self._class_weights = tf.Variable(tf.ones(protocol.classes))
        self._offset = tf.Variable(tf.zeros(protocol.channels))
        self._factor = tf.Variable(tf.ones(protocol.channels))
        self.traces = 0

    def _place(self, variable: Any) -> int:
        return next(i for i, other in enumerate(self._weights) if other is variable)

    @property
    def at_once(self) -> int:
        """Images of a batch that go through the network at once."""
        return self.configuration.batch_size // self.parts

    @property
    def batchnorm(self) -> bool:
        """Whether the network has batch normalization."""
        return bool(self._batchnorms)

    @property
    def batchnorm_momentum(self) -> float:
        """Its momentum; 0 without."""
        return float(self._batchnorms[0].momentum) if self._batchnorms else 0.0

    @property
    def parameters(self) -> int:
        """Number of trainable weights."""
        return sum(int(np.prod(weight.shape)) for weight in self._weights)

    def begin(
        self, seed: int, rows: IntArray, class_weights: npt.NDArray[np.float64], prior: npt.NDArray[np.float64]
    ) -> None:
        """Start a new fit: initial weights, optimizer state, input statistics of the training images `rows`."""
        network.reset(self.network, seed, prior)
        optimizer.reset(self._optimizer)
        self._class_weights.assign(class_weights.astype(np.float32))
        offset, factor = self._scale(tf.constant(rows, tf.int32))
        self._offset.assign(offset)
        self._factor.assign(factor)

    def state(self) -> tuple[npt.NDArray[Any], ...]:
        """All that an epoch changes: weights, BatchNorm's statistics, dropout's counters, the optimizer's memory."""
        return tuple(variable.numpy() for variable in self._changing)

    def restore(self, state: Sequence[npt.NDArray[Any]]) -> None:
        """After `begin`, stand where `state` was taken.

        Raises:
            ValueError: it is of another network.
        """
        ours = [(tuple(variable.shape), str(variable.dtype)) for variable in self._changing]
        if [(values.shape, str(values.dtype)) for values in state] != ours:
            raise ValueError("other shapes")
        for variable, values in zip(self._changing, state, strict=True):
            variable.assign(values)

    @property
    def _changing(self) -> list[Any]:
        return [*(variable for layer in self._layers for variable in layer.variables), *self._optimizer.variables]

    def _scale(self, rows: Any) -> tuple[Any, Any]:
        if self.configuration.input_scaling != "standardized":
            some = tf.zeros(self.protocol.channels)
            return pixels.scaling(self.configuration, some, some)
        return pixels.scaling(self.configuration, *pixels.statistics(self._images, rows))

    def scaling(self) -> tuple[FloatArray, FloatArray]:
        """Offset and factor `(channels,)` of this fit: the network sees (pixels - offset) x factor."""
        return self._offset.numpy(), self._factor.numpy()

    def train_epoch(
        self,
        rows: npt.NDArray[np.int32],
        rates: FloatArray,
        seed: int,
        probe: IntArray | None = None,
        *,
        gradients: bool = False,
    ) -> EpochSums:
        """One epoch.

        Args:
            rows: (steps, batch) images of each step.
            rates: (steps,) learning rate of each step.
            seed: of the epoch's augmentation.
            probe: images to measure the layers on afterwards, None for not at all.
            gradients: whether to measure the gradients of the first step, layer by layer.
        """
        images = np.zeros(1, np.int32) if probe is None else probe.astype(np.int32)
        sums, layers, logits = self._train(
            tf.constant(rows),
            tf.constant(rates),
            tf.constant(seed, tf.int32),
            tf.constant(images),
            tf.constant(probe is not None),
            tf.constant(gradients),
        )
        loss, first, last, ratio, finite = (float(value) for value in sums.numpy())
        measured = LayerProbe(layers.numpy(), logits.numpy()) if probe is not None or gradients else None
        return EpochSums(loss, first, last, ratio, bool(finite), measured)

    def look(self, probe: IntArray) -> LayerProbe:
        """The layers' signals and the logits of some images with the weights as they are."""
        steps = np.zeros((0, self.configuration.batch_size), np.int32)
        measured = self.train_epoch(steps, np.zeros(0, np.float32), 0, probe).probe
        assert measured is not None
        return measured

    def logits(self, rows: IntArray) -> FloatArray:
        """Logits `(len(rows), K)` float32 in evaluation mode."""
        return self.logits_of(self._images, rows)

    def logits_of(self, images: Any, rows: IntArray) -> FloatArray:
        """Logits `(len(rows), K)` float32 in evaluation mode of rows of any uint8 image tensor of the same size."""
        batches = np.array_split(rows, max(1, -(-len(rows) // max(1, _MOST_AT_ONCE // self.parts))))
        width = len(batches[0])
        padded = np.stack([np.pad(batch, (0, width - len(batch)), mode="edge") for batch in batches])
        values = self._evaluate(images, tf.constant(padded, tf.int32)).numpy()
        return np.concatenate([values[i, : len(batch)] for i, batch in enumerate(batches)])

    def reestimate_batchnorm(self, rows: npt.NDArray[np.int32]) -> float:
        """Replace BatchNorm's moving statistics by those of the training batches `(steps, batch)`, dropout off.

        Returns:
            Mean plain cross-entropy of these batches with their own statistics, nats (NaN without BatchNorm).
        """
        if not self._batchnorms:
            return float("nan")
        return float(self._reestimate(tf.constant(rows.reshape(-1, self.at_once))))

    def _scaled(self, images: Any, rows: Any) -> Any:
        values = tf.cast(tf.gather(images, rows), tf.float32)
        return (values - self._offset) * self._factor

    def _forward(self, x: Any, *, training: bool) -> Any:
        for layer in self._layers:
            x = self._through(layer, x, training=training)
        return x

    def _through(self, layer: Any, x: Any, *, training: bool) -> Any:
        if training and layer in self._batchnorms and batchnorm.is_fusible(layer, x):
            return batchnorm.apply(layer, x)
        return layer(x, training=training)

    @tf.function(  # type: ignore[untyped-decorator]
        input_signature=[
            tf.TensorSpec([None, None], tf.int32),
            tf.TensorSpec([None], tf.float32),
            tf.TensorSpec([], tf.int32),
            tf.TensorSpec([None], tf.int32),
            tf.TensorSpec([], tf.bool),
            tf.TensorSpec([], tf.bool),
        ],
        jit_compile=False,
    )
    def _train(self, rows: Any, rates: Any, seed: Any, probe: Any, looks: Any, measures: Any) -> Any:
        self.traces += 1
        before = [tf.identity(self._weights[place].value) for place in self._kernels]
        steps = tf.shape(rows)[0]
        loss_sum, first, last = tf.constant(0.0), tf.constant(0.0), tf.constant(0.0)
        slopes = tf.fill([len(self._kernels), 2], float("nan"))
        for i in tf.range(steps):
            batch = tf.ensure_shape(rows[i], [self.configuration.batch_size])
            plain, gradients = self._gradients(batch, seed, i)
            optimizer.apply(self._optimizer, gradients, self._weights, rates[i])
            loss_sum += plain
            kernels = [gradients[place] for place in self._kernels]
            first = tf.maximum(first, tf.norm(kernels[0]))
            last = tf.maximum(last, tf.norm(kernels[-1]))
            if measures & (i == 0):
                slopes = signals.of_gradients(kernels)
        after = [self._weights[place].value for place in self._kernels]
        count = tf.cast(tf.maximum(steps, 1), tf.float32)
        moved = signals.of_weights(before, after, count)
        sums = tf.stack([loss_sum / count, first, last, moved[0, 1]])
        # tf.maximum drops no NaN that comes last, but may drop an earlier one: the weights keep it.
        finite = tf.reduce_all(tf.math.is_finite(sums)) & tf.reduce_all(tf.math.is_finite(after[0]))
        if looks:
            outputs, logits = self._look(probe)
        else:
            outputs = tf.fill([len(self._kernels), 3], float("nan"))
            logits = tf.zeros([0, self.protocol.classes])
        layers = tf.ensure_shape(tf.concat([outputs, moved, slopes], 1), [len(self._kernels), len(LAYER_SIGNALS)])
        return tf.concat([sums, [tf.cast(finite, tf.float32)]], 0), layers, logits

    def _gradients(self, batch: Any, seed: Any, step: Any) -> tuple[Any, Any]:
        """Mean plain cross-entropy of a batch, and the gradients of its loss."""
        if self.parts == 1:
            return self._gradients_at_once(batch, tf.stack([seed, step]))
        size = self.at_once
        loss, sums = tf.constant(0.0), [tf.zeros_like(weight.value) for weight in self._weights]
        for part in tf.range(self.parts):
            some = tf.ensure_shape(batch[part * size : (part + 1) * size], [size])
            plain, gradients = self._gradients_at_once(some, tf.stack([seed, step * self.parts + part]))
            loss += plain / self.parts
            sums = [total + gradient / self.parts for total, gradient in zip(sums, gradients, strict=True)]
        return loss, sums

    def _gradients_at_once(self, batch: Any, seed: Any) -> tuple[Any, Any]:
        smoothing, classes = self.configuration.label_smoothing, self.protocol.classes
        labels = tf.gather(self._labels, batch)
        x = pixels.augment(self._scaled(self._images, batch), self.configuration, seed)
        with tf.GradientTape() as tape:
            logits = self._forward(x, training=True)
            plain = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
            if smoothing:
                targets = tf.one_hot(labels, classes) * (1.0 - smoothing) + smoothing / classes
                each = tf.nn.softmax_cross_entropy_with_logits(targets, logits)
            else:
                each = plain
            loss = tf.reduce_mean(each * tf.gather(self._class_weights, labels))
        return tf.reduce_mean(plain), tape.gradient(loss, self._weights)

    def _look(self, rows: Any) -> tuple[Any, Any]:
        """What each weight layer gives (after normalization and activation) for some images, and the logits.

        BatchNorm uses the images' own statistics, so that its moving ones, cold or warm, play no part.
        """
        x, outputs, pending = self._scaled(self._images, rows), [], False
        for layer in self._layers:
            x = batchnorm.by_batch(layer, x) if layer in self._batchnorms else layer(x, training=False)
            pending = pending or layer in self._weighted
            if pending and type(layer).__name__ == "Activation":
                outputs.append(signals.of_outputs(x))
                pending = False
        return tf.stack([*outputs, signals.of_outputs(x)]), tf.cast(x, tf.float32)

    @tf.function(reduce_retracing=True, jit_compile=False)  # type: ignore[untyped-decorator]
    def _evaluate(self, images: Any, rows: Any) -> Any:
        spec = tf.TensorSpec([None, self.protocol.classes], tf.float32)
        return tf.map_fn(
            lambda batch: self._forward(self._scaled(images, batch), training=False), rows, fn_output_signature=spec
        )

    @tf.function(input_signature=[tf.TensorSpec([None, None], tf.int32)], jit_compile=False)  # type: ignore[untyped-decorator]
    def _reestimate(self, rows: Any) -> Any:
        moving = [variable for layer in self._batchnorms for variable in (layer.moving_mean, layer.moving_variance)]
        sums = [tf.zeros_like(variable.value) for variable in moving]
        loss = tf.constant(0.0)
        for i in tf.range(tf.shape(rows)[0]):
            for (
                variable
            ) in moving:  # with zeros in place, one update leaves (1 - momentum) x the batch's own statistics
                variable.assign(tf.zeros_like(variable.value))
            x = self._scaled(self._images, rows[i])
            for layer in self._layers:
                x = self._through(layer, x, training=layer in self._batchnorms)
            labels = tf.gather(self._labels, rows[i])
            loss += tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, x))
            sums = [total + variable.value for total, variable in zip(sums, moving, strict=True)]
        count = tf.cast(tf.shape(rows)[0], tf.float32)
        for variable, total in zip(moving, sums, strict=True):
            variable.assign(total / (count * (1.0 - self.batchnorm_momentum)))
        return loss / count
