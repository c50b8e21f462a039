"""Trainer of a head on a frozen backbone's embeddings.

Keras builds the network and draws its initial weights; the steps are NumPy's. A step of a dense network on a few
embeddings takes some ten microseconds of arithmetic: a graph would spend ten times that on its own calls, and more than
the whole fit on being traced.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from search import seeds
from search.arrays import FloatArray, IntArray
from search.fit_checks import LAYER_SIGNALS
from search.settings import TrainingProtocol
from search.training import network
from search.training.embeddings import FrozenBackbone
from search.training.epoch import EpochSums, LayerProbe
from search.training.heads.blas_threads import one_thread
from search.training.heads.dense_network import DenseNetwork, gradient_signals, squared_norm, weight_signals
from search.training.heads.loss import HeadLoss
from search.training.heads.optimizers import HeadOptimizer
from search.training.measures import log_loss, log_softmax
from search.training.sampling import Balance
from spaces.config import Configuration

_CHUNK: Final = 1024  # embeddings of a forward pass without gradients
_GATHERED_BYTES: Final = 1 << 22  # of embeddings that are gathered at once, for as many steps as that makes
_UNMEASURED: Final = float("nan")


class HeadTrainer:
    """Trains the layers on a frozen backbone, with the backbone's embeddings as inputs. Implements `Trainer`.

    Augmentation by flips draws one of the embeddings of an image and its mirror images.

    Args:
        configuration: configuration with a frozen backbone (`Configuration.embeds` is True).
        protocol: gives the image format and the number of classes.
        backbone: the backbone, with its embeddings of all images.
        labels: `(n,)` class of each image of the study, 0..K-1.
        updates: optimizer steps of a whole fit, which set BatchNorm's momentum.
    """

    microbatches = 1

    def __init__(
        self,
        configuration: Configuration,
        protocol: TrainingProtocol,
        backbone: FrozenBackbone,
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
        self._backbone, self._labels = backbone, labels
        self._views = backbone.views(configuration)
        self._head = DenseNetwork(self.network)
        self._optimizer = HeadOptimizer(configuration, self._head.is_kernel)

    @property
    def microbatch_size(self) -> int:
        """Images of a forward pass in training: the batch size, as a batch of embeddings always fits into memory."""
        return self.configuration.batch_size

    @property
    def batchnorm_momentum(self) -> float:
        """Momentum of BatchNorm's moving statistics; 0 without batch normalization."""
        norms = self._head.batchnorms
        return float(norms[0].momentum) if norms else 0.0

    @property
    def parameters(self) -> int:
        """Number of trainable weights."""
        return len(self._head.weights)

    @property
    def weights(self) -> list[npt.NDArray[Any]]:
        """Weights of backbone and head, in the order of `build_network`."""
        return [*self._backbone.weights, *self._head.keras_weights()]

    def scaling(self) -> tuple[FloatArray, FloatArray]:
        """Return offset 0 and factor 1, each `(channels,)` float32: backbones scale the pixels themselves."""
        channels = self.protocol.images.channels
        return np.zeros(channels, np.float32), np.ones(channels, np.float32)

    def step_seconds(self, rows: IntArray) -> None:
        """Return None: the time of a step is negligible."""

    def begin(self, seed: int, rows: IntArray, balance: Balance) -> None:
        """Start a new fit with the initial weights of this seed; see `Trainer.begin`."""
        network.reset(self.network, seed, balance.prior)
        self._head.reset()
        self._optimizer.begin()
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
        """Train one epoch of batches `(steps, batch)`; see `Trainer.train_epoch`."""
        generator = seeds.generator(seed, "head")
        for index, dropout in enumerate(self._head.dropouts):
            dropout.generator = seeds.generator(seed, "dropout", index)
        before = [kernel.copy() for kernel in self._head.kernels]
        of_gradients = np.full((len(before), 2), _UNMEASURED, np.float32)
        loss = first = last = 0.0
        # Threads would wait for each other, at a few rows; what is not finite ends the fit, not the process.
        with one_thread(), np.errstate(all="ignore"):
            batches = zip(rows, self._gathered(rows, generator), rates.tolist(), strict=True)
            for step, (batch, x, rate) in enumerate(batches):
                loss += self._step(batch, x, rate)
                kernel_gradients = self._head.kernel_gradients
                first = max(first, squared_norm(kernel_gradients[0]))
                last = max(last, squared_norm(kernel_gradients[-1]))
                if gradients and step == 0:
                    of_gradients[:] = [gradient_signals(gradient) for gradient in kernel_gradients]
            steps = max(1, len(rows))
            pairs = zip(before, self._head.kernels, strict=True)
            of_weights = np.array([weight_signals(*pair, steps) for pair in pairs], np.float32)
            sums = loss / steps, math.sqrt(first), math.sqrt(last), float(of_weights[0, 1])
            finite = bool(np.isfinite(sums).all() and np.isfinite(self._head.weights).all())
            measured = None
            if probe is not None or gradients:
                logits, of_outputs = self._probe(probe)
                columns = np.concatenate([of_outputs, of_weights, of_gradients], 1)
                assert columns.shape[1] == len(LAYER_SIGNALS)
                measured = LayerProbe(columns, logits)
        return EpochSums(*sums, finite, measured)

    def _step(self, batch: npt.NDArray[np.int32], x: FloatArray, rate: float) -> float:
        logits = self._head.forward(x, training=True)
        cross_entropy, gradient = self._loss(logits, self._labels[batch])
        self._head.backward(gradient)
        self._optimizer.step(self._head.weights, self._head.gradients, rate)
        return cross_entropy

    def _gathered(self, rows: npt.NDArray[np.int32], generator: np.random.Generator) -> Iterator[FloatArray]:
        """Embeddings `(batch, features)` of each step's images, each in one of its views, all equally likely."""
        steps = max(1, _GATHERED_BYTES // max(1, self._views[0][0].nbytes * rows.shape[1]))
        for first in range(0, len(rows), steps):
            chunk = rows[first : first + steps]
            x = self._views[0][chunk]
            if len(self._views) > 1:
                view_of = generator.integers(len(self._views), size=chunk.shape)
                for number, view in enumerate(self._views[1:], start=1):
                    here = view_of == number
                    x[here] = view[chunk[here]]
            yield from x

    def work_done(self) -> int:
        """Return the number of steps of this fit. Thread-safe."""
        return self._optimizer.steps

    def probe_layers(self, probe: IntArray) -> LayerProbe:
        """Return the layers' signals and the logits of the images with the row numbers `probe`."""
        steps = np.zeros((0, self.configuration.batch_size), np.int32)
        measured = self.train_epoch(steps, np.zeros(0, np.float32), 0, probe).probe
        assert measured is not None
        return measured

    def _probe(self, probe: IntArray | None) -> tuple[FloatArray, FloatArray]:
        if probe is not None:
            return self._head.probe(self._views[0][probe])
        unmeasured = np.full((len(self._head.dense), 3), _UNMEASURED, np.float32)
        return np.zeros((0, self.protocol.classes), np.float32), unmeasured

    def logits(self, rows: IntArray) -> FloatArray:
        """Return logits `(len(rows), K)` float32 of images of the study, in evaluation mode."""
        return self._logits(self._views[0], rows)

    def logits_of(self, images: Any, rows: IntArray, shape_ids: IntArray | None = None) -> FloatArray:
        """Return logits `(len(rows), K)` float32 of any images, embedded first; see `Engine.logits_of`."""
        embeddings = self._backbone.embed_again(images, rows, shape_ids)
        return self._logits(embeddings[:, self._backbone.columns(self.configuration.head)], np.arange(len(rows)))

    def _logits(self, features: FloatArray, rows: IntArray) -> FloatArray:
        logits = np.zeros((len(rows), self.protocol.classes), np.float32)
        with np.errstate(all="ignore"):
            for start in range(0, len(rows), _CHUNK):
                x = features[rows[start : start + _CHUNK]]
                logits[start : start + _CHUNK] = self._head.forward(x, training=False)
        return logits

    def rows_of_one_shape(self, rows: IntArray) -> IntArray:
        """Return all rows: embeddings have one shape."""
        return rows

    def reestimate_batchnorm(self, rows: npt.NDArray[np.int32]) -> float:
        """Replace BatchNorm's moving statistics by the mean of those of the batches; see `Trainer`."""
        norms = self._head.batchnorms
        if not norms:
            return _UNMEASURED
        sums = [np.zeros_like(norm.moving) for norm in norms]
        loss = 0.0
        for batch in rows:
            logits = self._head.forward_by_batch(self._views[0][batch])
            loss += log_loss(log_softmax(logits), self._labels[batch])
            for total, norm in zip(sums, norms, strict=True):
                total += norm.last
        for total, norm in zip(sums, norms, strict=True):
            norm.moving[:] = total / len(rows)
        return loss / len(rows)

    def state(self) -> tuple[npt.NDArray[Any], ...]:
        """Return copies of weights, moving statistics and optimizer state."""
        moving = [norm.moving.copy() for norm in self._head.batchnorms]
        optimizer = self._optimizer
        return self._head.weights.copy(), *moving, optimizer.memory.copy(), np.array(optimizer.steps)

    def restore(self, state: Sequence[npt.NDArray[Any]]) -> None:
        """Set weights, moving statistics and optimizer state to a result of `state`. Call `begin` first.

        Raises:
            ValueError: the state is of a network with other shapes.
        """
        if [values.shape for values in state] != [values.shape for values in self.state()]:
            raise ValueError("the state has other shapes than this network's")
        weights, *moving, memory, steps = state
        self._head.weights[:] = weights
        for norm, values in zip(self._head.batchnorms, moving, strict=True):
            norm.moving[:] = values
        self._optimizer.memory[:] = memory
        self._optimizer.steps = int(steps)
