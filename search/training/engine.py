"""Trainer of a network on images: each epoch is one call of a TensorFlow graph.

An `Engine` is one traced network. Fits, folds and seeds differ in tensors only (row indices, learning rates, class
weights, statistics, seeds), so that a trial is traced once. Pixels stay on the device as uint8.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from search import seeds
from search.arrays import FloatArray, IntArray
from search.fit_checks import LAYER_SIGNALS
from search.settings import TrainingProtocol
from search.training import layer_signals, network
from search.training.batchnorm_statistics import BatchNormStatistics
from search.training.chain import Chain
from search.training.epoch import EpochSums, LayerProbe
from search.training.evaluation import Evaluation
from search.training.gradients import BatchGradients
from search.training.inputs import Inputs
from search.training.optimizer import WeightUpdates
from search.training.prefetch import Prefetcher
from search.training.sampling import Balance
from spaces.config import Configuration

_TIMED_STEPS: Final = 2
_NO_STEP: Final = -1  # no step of the epoch has its gradients measured


class Engine:
    """Trains the network of a configuration on images. Implements `Trainer`.

    Images of several sizes are stored in the upper left corners of squares as large as the longest side; the network
    gets them without the padding. A batch then goes through the network shape by shape, and its gradients are those of
    the whole batch.

    Args:
        configuration: configuration of the network to build.
        protocol: gives the image format, the number of classes and the precision.
        images: `(n, side, side, channels)` uint8 tensor, all images of the study.
        labels: `(n,)` int32 tensor, class of each image.
        updates: optimizer steps of a whole fit, which set BatchNorm's momentum and how long a backbone stays frozen.
        microbatches: number of parts that each batch is split into to save memory, a divisor of the batch size. The
            gradients are those of the whole batch; BatchNorm's statistics are those of each part.
        shape_ids: `(n,)` index of each image's shape in the image format; None if all images are squares.
        pretrained: initial weights of the backbone; empty without a backbone.
        prefetcher: reads images of coming steps from the disk; None if they are in memory.

    Attributes:
        network: the Keras model.
        traces: number of times that the training graph was traced.

    Raises:
        ValueError: the configuration has batch normalization, but images have several sizes: a batch would be
            normalized shape by shape, by the statistics of a few images.
    """

    def __init__(
        self,
        configuration: Configuration,
        protocol: TrainingProtocol,
        images: Any,
        labels: Any,
        updates: int,
        microbatches: int = 1,
        shape_ids: IntArray | None = None,
        pretrained: Sequence[npt.NDArray[Any]] = (),
        prefetcher: Prefetcher | None = None,
    ) -> None:
        if protocol.images.any_size and configuration.normalized:
            raise ValueError("batch normalization needs images of one size, but this study has images of several sizes")
        self.configuration = configuration
        self.protocol = protocol
        self.microbatches = microbatches
        self.network = network.build_network(
            configuration,
            protocol.images.image_size,
            protocol.images.channels,
            protocol.classes,
            updates,
            protocol.precision,
            any_size=protocol.images.any_size,
        )
        self._pretrained = pretrained
        self._prefetcher = prefetcher
        self._inputs = Inputs(configuration, protocol, images, shape_ids)
        self.chain = Chain(self.network, configuration, updates)
        self.evaluation = Evaluation(self.chain, self._inputs, protocol, microbatches, prefetcher)
        self.statistics = BatchNormStatistics(self.chain, self._inputs, labels)
        self._weights = self.chain.weights
        self._kernels = [self._index(layer.kernel) for layer in self.chain.weighted]
        self._updates = WeightUpdates(configuration, self.chain, updates)
        self._gradients = BatchGradients(configuration, protocol, self.chain, self._inputs, labels, microbatches)
        self._step_seconds: float | None = None
        self.traces = 0

    def _index(self, variable: Any) -> int:
        return next(i for i, other in enumerate(self._weights) if other is variable)

    @property
    def microbatch_size(self) -> int:
        """Number of images of a forward pass in training: the batch size / `microbatches`."""
        return self.configuration.batch_size // self.microbatches

    @property
    def batchnorm(self) -> bool:
        """Whether the network has batch normalization that uses batch statistics in training."""
        return bool(self.chain.gathering)

    @property
    def batchnorm_momentum(self) -> float:
        """Momentum of BatchNorm's moving statistics, 0.5..0.99; 0 without batch normalization."""
        gathering = self.chain.gathering
        return float(gathering[0].momentum) if gathering else 0.0

    @property
    def parameters(self) -> int:
        """Number of trainable weights."""
        return sum(int(np.prod(weight.shape)) for weight in self._weights)

    @property
    def weights(self) -> list[npt.NDArray[Any]]:
        """Weights of the whole network, in the order of `build_network`."""
        return self.network.get_weights()  # type: ignore[no-any-return]

    def step_seconds(self, rows: IntArray) -> float:
        """Return the seconds of a training step, measured on the first batch of `rows` at the first call only.

        It changes weights and optimizer state: call `begin` afterwards.
        """
        if self._step_seconds is None:
            batch = rows[: self.configuration.batch_size].astype(np.int32)[None]
            self.train_epoch(batch, np.zeros(1, np.float32), 0)
            began = time.monotonic()
            self.train_epoch(np.repeat(batch, _TIMED_STEPS, 0), np.zeros(_TIMED_STEPS, np.float32), 0)
            self._step_seconds = (time.monotonic() - began) / _TIMED_STEPS
        return self._step_seconds

    def begin(self, seed: int, rows: IntArray, balance: Balance) -> None:
        """Start a new fit: set initial weights, optimizer state and pixel statistics; see `Trainer.begin`."""
        network.reset(self.network, seed, balance.prior, self._pretrained)
        self._updates.reset()
        self._gradients.begin(balance)
        self._inputs.begin(rows)
        if self.chain.backbone_norms and self.configuration.statistics == "re_estimated":
            shuffled = seeds.generator(seed, "statistics").permutation(rows)  # rows are ordered by class
            whole = len(rows) // self.microbatch_size * self.microbatch_size
            self.statistics.reestimate_backbone(
                tf.constant(shuffled[:whole].reshape(-1, self.microbatch_size), tf.int32)
            )

    def state(self) -> tuple[npt.NDArray[Any], ...]:
        """Return copies of all that epochs change: weights, statistics, dropout's counters, optimizer state."""
        return tuple(variable.numpy() for variable in self._changing)

    def restore(self, state: Sequence[npt.NDArray[Any]]) -> None:
        """Set everything that epochs change to a result of `state`. Call `begin` first.

        Raises:
            ValueError: the state is of a network with other shapes.
        """
        expected = [(tuple(variable.shape), str(variable.dtype)) for variable in self._changing]
        if [(values.shape, str(values.dtype)) for values in state] != expected:
            raise ValueError("the state has other shapes than this network's")
        for variable, values in zip(self._changing, state, strict=True):
            variable.assign(values)

    @property
    def _changing(self) -> list[Any]:
        return [*(variable for layer in self.chain.layers for variable in layer.variables), *self._updates.variables]

    def scaling(self) -> tuple[FloatArray, FloatArray]:
        """Return offset and factor, each `(channels,)` float32: the network gets (pixels - offset) x factor."""
        return self._inputs.scaling()

    def train_epoch(
        self,
        rows: npt.NDArray[np.int32],
        rates: FloatArray,
        seed: int,
        probe: IntArray | None = None,
        *,
        gradients: bool = False,
    ) -> EpochSums:
        """Train one epoch.

        Args:
            rows: `(steps, batch)` int32 row numbers of the images of each step.
            rates: `(steps,)` float32 learning rate of each step.
            seed: seed of the epoch's augmentation.
            probe: `(p,)` row numbers of images to measure the layers on after the epoch; None: no measurement.
            gradients: whether to measure the gradients of each layer in the first step.
        """
        images = np.zeros(1, np.int32) if probe is None else probe.astype(np.int32)
        before = self._updates.steps
        prefetcher = self._prefetcher
        with nullcontext() if prefetcher is None else prefetcher.epoch(rows, lambda: self._updates.steps - before):
            sums, layers, logits = self._train(
                tf.constant(rows),
                tf.constant(rates),
                tf.constant(seed, tf.int32),
                tf.constant(images),
                tf.constant(probe is not None),
                tf.constant(0 if gradients else _NO_STEP),
            )
        loss, first, last, ratio, finite = (float(value) for value in sums.numpy())
        measured = LayerProbe(layers.numpy(), logits.numpy()) if probe is not None or gradients else None
        return EpochSums(loss, first, last, ratio, bool(finite), measured)

    def work_done(self) -> int:
        """Return a count that grows with each batch that goes through the network. Thread-safe."""
        return self._updates.steps + int(self.chain.batches_done.numpy())

    def probe_layers(self, probe: IntArray) -> LayerProbe:
        """Return the layers' signals and the logits of the images with the row numbers `probe`, all of one shape."""
        steps = np.zeros((0, self.configuration.batch_size), np.int32)
        measured = self.train_epoch(steps, np.zeros(0, np.float32), 0, probe).probe
        assert measured is not None
        return measured

    def logits(self, rows: IntArray) -> FloatArray:
        """Return logits `(len(rows), K)` float32 of the images with these row numbers, in evaluation mode."""
        return self.evaluation.logits(rows)

    def logits_of(self, images: Any, rows: IntArray, shape_ids: IntArray | None = None) -> FloatArray:
        """Return logits `(len(rows), K)` float32 of any images in the study's format, in evaluation mode.

        Args:
            images: `(m, side, side, channels)` uint8 tensor.
            rows: `(r,)` indices 0..m-1 of the images to evaluate.
            shape_ids: `(m,)` index of each image's shape in the image format; None if all images are squares.
        """
        return self.evaluation.logits_of(images, rows, shape_ids)

    def rows_of_one_shape(self, rows: IntArray) -> IntArray:
        """Select from `rows` the images of the most frequent shape; only images of one shape fit into one batch."""
        if self._inputs.shape_ids is None:
            return rows
        shapes = self._inputs.shape_ids[rows]
        return np.asarray(rows[shapes == np.bincount(shapes).argmax()], np.int64)

    def reestimate_batchnorm(self, rows: npt.NDArray[np.int32]) -> float:
        """Replace BatchNorm's moving statistics by the mean of those of the batches `rows` `(steps, batch)`.

        Returns:
            Mean cross-entropy in nats of the batches, each normalized by its own statistics; NaN without BatchNorm.
        """
        if not self.batchnorm:
            return float("nan")
        return float(self.statistics.reestimate(tf.constant(rows.reshape(-1, self.microbatch_size))))

    @tf.function(  # type: ignore[untyped-decorator]
        input_signature=[
            tf.TensorSpec([None, None], tf.int32),
            tf.TensorSpec([None], tf.float32),
            tf.TensorSpec([], tf.int32),
            tf.TensorSpec([None], tf.int32),
            tf.TensorSpec([], tf.bool),
            tf.TensorSpec([], tf.int32),
        ],
        jit_compile=False,
    )
    def _train(self, rows: Any, rates: Any, seed: Any, probe: Any, is_probed: Any, measured_step: Any) -> Any:
        self.traces += 1
        before = [tf.identity(self._weights[index].value) for index in self._kernels]
        steps = tf.shape(rows)[0]
        loss_sum, first, last = tf.constant(0.0), tf.constant(0.0), tf.constant(0.0)
        of_gradients = tf.fill([len(self._kernels), 2], float("nan"))
        for i in tf.range(steps):
            batch = tf.ensure_shape(rows[i], [self.configuration.batch_size])
            cross_entropy, gradients = self._gradients.of_batch(batch, seed, i)
            self._updates.apply(gradients, rates[i])
            loss_sum += cross_entropy
            kernels = [gradients[index] for index in self._kernels]
            first = tf.maximum(first, tf.norm(kernels[0]))
            last = tf.maximum(last, tf.norm(kernels[-1]))
            if i == measured_step:  # whole numbers lie on the host: no step waits for the device to decide
                of_gradients = layer_signals.gradient_signals(kernels)
        after = [self._weights[index].value for index in self._kernels]
        count = tf.cast(tf.maximum(steps, 1), tf.float32)
        of_weights = layer_signals.weight_signals(before, after, count)
        sums = tf.stack([loss_sum / count, first, last, of_weights[0, 1]])
        # tf.maximum drops no NaN that comes last, but may drop an earlier one: the weights keep it.
        finite = tf.reduce_all(tf.math.is_finite(sums)) & tf.reduce_all(tf.math.is_finite(after[0]))
        if is_probed:
            of_outputs, logits = self._probe(probe)
        else:
            of_outputs = tf.fill([len(self._kernels), 3], float("nan"))
            logits = tf.zeros([0, self.protocol.classes])
        layers = tf.ensure_shape(
            tf.concat([of_outputs, of_weights, of_gradients], 1), [len(self._kernels), len(LAYER_SIGNALS)]
        )
        return tf.concat([sums, [tf.cast(finite, tf.float32)]], 0), layers, logits

    def _probe(self, rows: Any) -> tuple[Any, Any]:
        """The layers' signals on some images of one shape, and their logits."""
        shape = self._inputs.shapes[0 if self._inputs.shape_id_of is None else self._inputs.shape_id_of[rows[0]]]
        return self.chain.probe(self._inputs.scaled(self._inputs.images, rows, shape))
