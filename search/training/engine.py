"""Whole epochs in one graph: the thin layer between the arithmetic of a fit and TensorFlow.

One `Engine` is one traced network. Fits, folds and seeds differ in tensors only (row indices, rates, class weights,
statistics, seeds), so that a trial is traced once. Pixels stay on the device as uint8.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from search.records import FloatArray, IntArray
from search.settings import Protocol
from search.training import batchnorm, network, optimizer, pixels
from search.training.fit import EpochSums
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
    """

    def __init__(
        self, configuration: Configuration, protocol: Protocol, images: Any, labels: Any, updates: int
    ) -> None:
        self.configuration = configuration
        self.protocol = protocol
        self.network = network.build_network(
            configuration, protocol.image_size, protocol.channels, protocol.classes, updates, protocol.precision
        )
        self._images = images
        self._labels = labels
        self._layers = self.network.layers
        self._batchnorms = network.batchnorms(self.network)
        self._hidden = network.weight_layers(self.network)[:-1]
        self._weights = self.network.trainable_variables
        kernels = [layer.kernel for layer in network.weight_layers(self.network)]
        self._first, self._last = (self._place(kernels[0]), self._place(kernels[-1]))
        self._optimizer = optimizer.build_optimizer(configuration)
        self._optimizer.build(self._weights)
        self._class_weights = tf.Variable(tf.ones(protocol.classes))
        self._offset = tf.Variable(tf.zeros(protocol.channels))
        self._factor = tf.Variable(tf.ones(protocol.channels))
        self.traces = 0

    def _place(self, variable: Any) -> int:
        return next(i for i, other in enumerate(self._weights) if other is variable)

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

    def _scale(self, rows: Any) -> tuple[Any, Any]:
        if self.configuration.input_scaling != "standardized":
            some = tf.zeros(self.protocol.channels)
            return pixels.scaling(self.configuration, some, some)
        return pixels.scaling(self.configuration, *pixels.statistics(self._images, rows))

    def train_epoch(self, rows: npt.NDArray[np.int32], rates: FloatArray, seed: int) -> EpochSums:
        """One epoch.

        Args:
            rows: (steps, batch) images of each step.
            rates: (steps,) learning rate of each step.
            seed: of the epoch's augmentation.
        """
        sums = self._train(tf.constant(rows), tf.constant(rates), tf.constant(seed, tf.int32)).numpy()
        loss, first, last, ratio, finite = (float(value) for value in sums)
        return EpochSums(loss, first, last, ratio, bool(finite))

    def logits(self, rows: IntArray) -> FloatArray:
        """Logits `(len(rows), K)` float32 in evaluation mode."""
        return self.logits_of(self._images, rows)

    def logits_of(self, images: Any, rows: IntArray) -> FloatArray:
        """Logits `(len(rows), K)` float32 in evaluation mode of rows of any uint8 image tensor of the same size."""
        batches = np.array_split(rows, max(1, -(-len(rows) // _MOST_AT_ONCE)))
        width = len(batches[0])
        padded = np.stack([np.pad(batch, (0, width - len(batch)), mode="edge") for batch in batches])
        values = self._evaluate(images, tf.constant(padded, tf.int32)).numpy()
        return np.concatenate([values[i, : len(batch)] for i, batch in enumerate(batches)])

    def dead_share(self, rows: IntArray) -> float:
        """Largest over hidden layers: share of units (channels) that give 0 for every one of the images `rows`."""
        return float(self._dead(tf.constant(rows, tf.int32))) if self._hidden else 0.0

    def reestimate_batchnorm(self, rows: npt.NDArray[np.int32]) -> float:
        """Replace BatchNorm's moving statistics by those of the training batches `(steps, batch)`, dropout off.

        Returns:
            Mean plain cross-entropy of these batches with their own statistics, nats (NaN without BatchNorm).
        """
        if not self._batchnorms:
            return float("nan")
        return float(self._reestimate(tf.constant(rows)))

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
        ],
        jit_compile=False,
    )
    def _train(self, rows: Any, rates: Any, seed: Any) -> Any:
        self.traces += 1
        smoothing, classes = self.configuration.label_smoothing, self.protocol.classes
        before = tf.identity(self._weights[self._first].value)
        steps = tf.shape(rows)[0]
        loss_sum, first, last = tf.constant(0.0), tf.constant(0.0), tf.constant(0.0)
        for i in tf.range(steps):
            batch = tf.ensure_shape(rows[i], [self.configuration.batch_size])
            labels = tf.gather(self._labels, batch)
            x = self._scaled(self._images, batch)
            x = pixels.augment(x, self.configuration, tf.stack([seed, i]))
            with tf.GradientTape() as tape:
                logits = self._forward(x, training=True)
                plain = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
                if smoothing:
                    targets = tf.one_hot(labels, classes) * (1.0 - smoothing) + smoothing / classes
                    each = tf.nn.softmax_cross_entropy_with_logits(targets, logits)
                else:
                    each = plain
                loss = tf.reduce_mean(each * tf.gather(self._class_weights, labels))
            gradients = tape.gradient(loss, self._weights)
            self._optimizer.learning_rate.assign(rates[i])
            self._optimizer.apply(gradients, self._weights)
            loss_sum += tf.reduce_mean(plain)
            first = tf.maximum(first, tf.norm(gradients[self._first]))
            last = tf.maximum(last, tf.norm(gradients[self._last]))
        after = self._weights[self._first].value
        count = tf.cast(steps, tf.float32)
        ratio = tf.norm(after - before) / (tf.norm(after) + 1e-12) / count
        sums = tf.stack([loss_sum / count, first, last, ratio])
        # tf.maximum drops no NaN that comes last, but may drop an earlier one: the weights keep it.
        finite = tf.reduce_all(tf.math.is_finite(sums)) & tf.reduce_all(tf.math.is_finite(after))
        return tf.concat([sums, [tf.cast(finite, tf.float32)]], 0)

    @tf.function(reduce_retracing=True, jit_compile=False)  # type: ignore[untyped-decorator]
    def _evaluate(self, images: Any, rows: Any) -> Any:
        spec = tf.TensorSpec([None, self.protocol.classes], tf.float32)
        return tf.map_fn(
            lambda batch: self._forward(self._scaled(images, batch), training=False), rows, fn_output_signature=spec
        )

    @tf.function(reduce_retracing=True, jit_compile=False)  # type: ignore[untyped-decorator]
    def _dead(self, rows: Any) -> Any:
        x, share, pending = self._scaled(self._images, rows), tf.constant(0.0), False
        for layer in self._layers:
            x = layer(x, training=False)
            pending = pending or layer in self._hidden
            if pending and type(layer).__name__ == "Activation":
                silent = tf.reduce_all(tf.equal(x, 0), axis=list(range(len(x.shape) - 1)))
                share = tf.maximum(share, tf.reduce_mean(tf.cast(silent, tf.float32)))
                pending = False
        return share

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
