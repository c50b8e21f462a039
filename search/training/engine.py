"""Whole epochs in one graph: the thin layer between the arithmetic of a fit and TensorFlow.

One `Engine` is one traced network. Fits, folds and seeds differ in tensors only (row indices, rates, class weights,
statistics, seeds), so that a trial is traced once. Pixels stay on the device as uint8.
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
from search.training import layer_signals, network, optimizer
from search.training.batchnorm_statistics import BatchNormStatistics
from search.training.chain import Chain
from search.training.epoch import EpochSums, LayerProbe
from search.training.evaluation import Evaluation
from search.training.gradients import BatchGradients
from search.training.inputs import Inputs
from search.training.prefetch import Prefetcher
from search.training.sampling import Balance
from spaces.config import Configuration

_TRIED: Final = 2  # steps that are timed
_NO_STEP: Final = -1  # of an epoch: none is measured


class Engine:
    """A network with its optimizer and its traced functions.

    Images of every size lie in squares as large as the longest side, each in the upper left corner; the network sees
    what is theirs. A batch then goes through it shape by shape, and its gradients are those of the whole batch.

    A backbone that learns rests for the first quarter of the updates, while the layers on it find their place; then it
    learns at its own, lower rate.

    Args:
        configuration: what to build.
        protocol: image size, shapes, channels, classes, epochs, precision.
        images: (n, side, side, channels) uint8 tensor, all images.
        labels: (n,) int32 tensor.
        updates: optimizer steps of a whole fit (for BatchNorm's momentum, and a backbone's rest).
        parts: that each batch is passed through the network in, a divisor of its size: more where memory is short. The
            gradients are those of the whole batch; BatchNorm's statistics are those of each part.
        shape_ids: (n,) index of each image's shape among the protocol's; None where all are squares.
        pretrained: weights of its backbone, if it has one.
        ahead: fetches images of coming steps from the disk; None: they are in memory.

    Raises:
        ValueError: images of every size and batch normalization: its statistics would be those of a few images.
    """

    def __init__(
        self,
        configuration: Configuration,
        protocol: TrainingProtocol,
        images: Any,
        labels: Any,
        updates: int,
        parts: int = 1,
        shape_ids: IntArray | None = None,
        pretrained: Sequence[npt.NDArray[Any]] = (),
        ahead: Prefetcher | None = None,
    ) -> None:
        if protocol.images.any_size and configuration.normalized:
            raise ValueError("normalization by batches needs images of one size.")
        self.configuration = configuration
        self.protocol = protocol
        self.parts = parts
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
        self._ahead = ahead
        self._inputs = Inputs(configuration, protocol, images, shape_ids)
        self.chain = Chain(self.network, configuration, updates)
        self.evaluation = Evaluation(self.chain, self._inputs, protocol, parts, ahead)
        self.statistics = BatchNormStatistics(self.chain, self._inputs, labels)
        self._weights, self._deep, self._rest = self.chain.weights, len(self.chain.deep), updates / 4
        self._kernels = [self._place(layer.kernel) for layer in self.chain.weighted]
        self._optimizer = optimizer.build_optimizer(configuration)
        self._optimizer.build(self._weights)
        self._gradients = BatchGradients(configuration, protocol, self.chain, self._inputs, labels, parts)
        self._step_seconds: float | None = None
        self.traces = 0

    def _place(self, variable: Any) -> int:
        return next(i for i, other in enumerate(self._weights) if other is variable)

    @property
    def microbatch_size(self) -> int:
        """Images of a batch that go through the network at once."""
        return self.configuration.batch_size // self.parts

    @property
    def batchnorm(self) -> bool:
        """Whether statistics of batches are gathered in training."""
        return bool(self.chain.gathering)

    @property
    def batchnorm_momentum(self) -> float:
        """Of these; 0 without."""
        gathering = self.chain.gathering
        return float(gathering[0].momentum) if gathering else 0.0

    @property
    def parameters(self) -> int:
        """Number of trainable weights."""
        return sum(int(np.prod(weight.shape)) for weight in self._weights)

    @property
    def weights(self) -> list[npt.NDArray[Any]]:
        """Of the whole network, in the order of `build_network`."""
        return self.network.get_weights()  # type: ignore[no-any-return]

    def step_seconds(self, rows: IntArray) -> float:
        """What a step on these images takes, the network traced; `begin` forgets what it changes. Measured once."""
        if self._step_seconds is None:
            batch = rows[: self.configuration.batch_size].astype(np.int32)[None]
            self.train_epoch(batch, np.zeros(1, np.float32), 0)
            began = time.monotonic()
            self.train_epoch(np.repeat(batch, _TRIED, 0), np.zeros(_TRIED, np.float32), 0)
            self._step_seconds = (time.monotonic() - began) / _TRIED
        return self._step_seconds

    def begin(self, seed: int, rows: IntArray, balance: Balance) -> None:
        """Start a new fit: initial weights, optimizer state, statistics of the training images `rows`."""
        network.reset(self.network, seed, balance.prior, self._pretrained)
        optimizer.reset(self._optimizer)
        self._gradients.begin(balance)
        self._inputs.begin(rows)
        if self.chain.deep_norms and self.configuration.statistics == "re_estimated":
            shuffled = seeds.generator(seed, "statistics").permutation(rows)  # rows are ordered by class
            whole = len(rows) // self.microbatch_size * self.microbatch_size
            self.statistics.reestimate_backbone(
                tf.constant(shuffled[:whole].reshape(-1, self.microbatch_size), tf.int32)
            )

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
        return [*(variable for layer in self.chain.layers for variable in layer.variables), *self._optimizer.variables]

    def scaling(self) -> tuple[FloatArray, FloatArray]:
        """Offset and factor `(channels,)` of this fit: the network sees (pixels - offset) x factor."""
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
        """One epoch.

        Args:
            rows: (steps, batch) images of each step.
            rates: (steps,) learning rate of each step.
            seed: of the epoch's augmentation.
            probe: images to measure the layers on afterwards, None for not at all.
            gradients: whether to measure the gradients of the first step, layer by layer.
        """
        images = np.zeros(1, np.int32) if probe is None else probe.astype(np.int32)
        before = self._steps_done()
        with nullcontext() if self._ahead is None else self._ahead.epoch(rows, lambda: self._steps_done() - before):
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

    def _steps_done(self) -> int:
        return int(self._optimizer.iterations.numpy())

    def work_done(self) -> int:
        """A number that grows with each batch, to be asked from other threads: whether it is at work at all."""
        return self._steps_done() + int(self.chain.passed.numpy())

    def probe_layers(self, probe: IntArray) -> LayerProbe:
        """The layers' signals and the logits of some images with the weights as they are."""
        steps = np.zeros((0, self.configuration.batch_size), np.int32)
        measured = self.train_epoch(steps, np.zeros(0, np.float32), 0, probe).probe
        assert measured is not None
        return measured

    def logits(self, rows: IntArray) -> FloatArray:
        """Logits `(len(rows), K)` float32 in evaluation mode."""
        return self.evaluation.logits(rows)

    def logits_of(self, images: Any, rows: IntArray, shape_ids: IntArray | None = None) -> FloatArray:
        """Logits `(len(rows), K)` float32 in evaluation mode of rows of any uint8 image tensor of the same size.

        Args:
            images: (m, side, side, channels) uint8 tensor.
            rows: of them.
            shape_ids: (m,) index of the shape of each image; None where all are squares.
        """
        return self.evaluation.logits_of(images, rows, shape_ids)

    def rows_of_one_shape(self, rows: IntArray) -> IntArray:
        """Those of the rows whose images have the most frequent shape: what can be shown all at once."""
        if self._inputs.shape_ids is None:
            return rows
        found = self._inputs.shape_ids[rows]
        return np.asarray(rows[found == np.bincount(found).argmax()], np.int64)

    def reestimate_batchnorm(self, rows: npt.NDArray[np.int32]) -> float:
        """Replace BatchNorm's moving statistics by those of the training batches `(steps, batch)`, dropout off.

        Returns:
            Mean plain cross-entropy of these batches with their own statistics, nats (NaN without BatchNorm).
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
    def _train(self, rows: Any, rates: Any, seed: Any, probe: Any, looks: Any, measured: Any) -> Any:
        self.traces += 1
        before = [tf.identity(self._weights[place].value) for place in self._kernels]
        steps = tf.shape(rows)[0]
        loss_sum, first, last = tf.constant(0.0), tf.constant(0.0), tf.constant(0.0)
        slopes = tf.fill([len(self._kernels), 2], float("nan"))
        for i in tf.range(steps):
            batch = tf.ensure_shape(rows[i], [self.configuration.batch_size])
            plain, gradients = self._gradients.of_batch(batch, seed, i)
            optimizer.apply(self._optimizer, gradients, self._weights, self._rates(rates[i]))
            loss_sum += plain
            kernels = [gradients[place] for place in self._kernels]
            first = tf.maximum(first, tf.norm(kernels[0]))
            last = tf.maximum(last, tf.norm(kernels[-1]))
            if i == measured:  # whole numbers lie on the host: no step waits for the device to decide
                slopes = layer_signals.of_gradients(kernels)
        after = [self._weights[place].value for place in self._kernels]
        count = tf.cast(tf.maximum(steps, 1), tf.float32)
        moved = layer_signals.of_weights(before, after, count)
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

    def _rates(self, rate: Any) -> list[Any]:
        """Of each weight: a backbone's are lower, and nothing at first."""
        own = [rate] * (len(self._weights) - self._deep)
        if not self._deep:
            return own
        awake = tf.cast(tf.cast(self._optimizer.iterations.value, tf.float32) >= self._rest, tf.float32)
        return [awake * self.configuration.backbone_rate * rate] * self._deep + own

    def _look(self, rows: Any) -> tuple[Any, Any]:
        """The layers' signals on some images alike in shape, and their logits."""
        shape = self._inputs.shapes[0 if self._inputs.shape_id_of is None else self._inputs.shape_id_of[rows[0]]]
        return self.chain.looked_through(self._inputs.shown(self._inputs.images, rows, shape))
