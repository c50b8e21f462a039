"""Network as a chain of layers, with forward passes for training, evaluation, BatchNorm statistics and probes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from search.training import fused_batchnorm, layer_signals, network
from search.training.backbones import prepare
from spaces.backbones import BACKBONES
from spaces.config import Configuration


class Chain:
    """The layers of a network by their roles, and its forward passes.

    Args:
        model: a Keras model from `build_network`.
        configuration: configuration that the model was built from.
        updates: optimizer steps of a whole fit, which set the momentum of a backbone's BatchNorm layers.

    Attributes:
        layers: all layers in order; a backbone counts as one layer.
        backbone: the backbone; None without one.
        backbone_norms: BatchNorm layers inside the backbone.
        backbone_weights: trainable weights inside the backbone.
        weighted: layers with kernels outside the backbone, the output layer last.
        gathering: BatchNorm layers that use batch statistics in training.
        weights: all trainable weights, the backbone's first.
        batches_done: int64 variable, number of batches evaluated outside training.
    """

    def __init__(self, model: Any, configuration: Configuration, updates: int) -> None:
        self.layers = model.layers
        self.backbone = next((layer for layer in self.layers if layer.name in BACKBONES), None)
        self.backbone_norms, self.backbone_weights = (
            ([], []) if self.backbone is None else prepare(self.backbone, configuration, updates)
        )
        self.weighted = network.weight_layers(model)
        self._norms = network.batchnorms(model)
        self.batches_done = tf.Variable(0, dtype=tf.int64, trainable=False)
        self.gathering = [*(self.backbone_norms if configuration.statistics == "adapted" else []), *self._norms]
        others = [layer for layer in self.layers if layer is not self.backbone]
        self.weights = [*self.backbone_weights, *(weight for layer in others for weight in layer.trainable_variables)]

    def forward(self, x: Any, *, training: bool) -> Any:
        """Return logits `(batch, K)` of scaled images `(batch, height, width, channels)`."""
        for layer in self.layers:
            x = self._through(layer, x, training=training)
        return x

    def forward_by_batch(self, x: Any, layers: Sequence[Any]) -> Any:
        """Return logits `(batch, K)` with `layers` (BatchNorm) in training mode and all others in evaluation mode."""
        inside = any(layer in self.backbone_norms for layer in layers)
        with fused_batchnorm.unfrozen(layers):
            for layer in self.layers:
                x = self._through(layer, x, training=layer in layers or (inside and layer is self.backbone))
        return x

    def probe(self, x: Any) -> tuple[Any, Any]:
        """Measure the outputs of the layers on scaled images `(images, height, width, channels)`.

        BatchNorm uses the statistics of these images, so the moving statistics don't matter.

        Returns:
            `(weight layers, 3)` float32 `layer_signals.output_signals` of each weight layer after its activation, and
            the logits `(images, K)` float32.
        """
        signals, pending = [], False
        for layer in self.layers:
            x = fused_batchnorm.by_batch(layer, x) if layer in self._norms else layer(x, training=False)
            pending = pending or layer in self.weighted
            if pending and type(layer).__name__ == "Activation":
                signals.append(layer_signals.output_signals(x))
                pending = False
        return tf.stack([*signals, layer_signals.output_signals(x)]), tf.cast(x, tf.float32)

    def _through(self, layer: Any, x: Any, *, training: bool) -> Any:
        if training and layer in self._norms and fused_batchnorm.is_fusible(layer, x):
            return fused_batchnorm.apply(layer, x)
        return layer(x, training=training)
