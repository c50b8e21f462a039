"""A network as its layers one after the other: what training, evaluation and every look at it go through."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from search.training import fused_batchnorm, layer_signals, network
from search.training.backbones import prepare
from spaces.backbones import BACKBONES
from spaces.config import Configuration


class Chain:
    """The layers of a network, and which of them do what.

    Args:
        model: of `build_network`.
        configuration: that it was built of.
        updates: optimizer steps of a whole fit (for the momentum of a backbone's BatchNorm).
    """

    def __init__(self, model: Any, configuration: Configuration, updates: int) -> None:
        self.layers = model.layers
        self.backbone = next((layer for layer in self.layers if layer.name in BACKBONES), None)
        self.deep_norms, self.deep = (
            ([], []) if self.backbone is None else prepare(self.backbone, configuration, updates)
        )
        self.weighted = network.weight_layers(model)
        self._norms = network.batchnorms(model)
        self.passed = tf.Variable(0, dtype=tf.int64, trainable=False)  # batches, in evaluation and the like
        self.gathering = [*(self.deep_norms if configuration.statistics == "adapted" else []), *self._norms]
        own = [layer for layer in self.layers if layer is not self.backbone]
        self.weights = [*self.deep, *(weight for layer in own for weight in layer.trainable_variables)]

    def forward(self, x: Any, *, training: bool) -> Any:
        """The logits `(batch, K)` of what goes in."""
        for layer in self.layers:
            x = self._through(layer, x, training=training)
        return x

    def forward_by_batch(self, x: Any, layers: Sequence[Any]) -> Any:
        """The same, these BatchNorm layers in training mode and all else, dropout too, in evaluation mode."""
        inside = any(layer in self.deep_norms for layer in layers)
        with fused_batchnorm.listening(layers):
            for layer in self.layers:
                x = self._through(layer, x, training=layer in layers or (inside and layer is self.backbone))
        return x

    def looked_through(self, x: Any) -> tuple[Any, Any]:
        """What each weight layer gives (after normalization and activation), as `signals.of_outputs`, and the logits.

        BatchNorm uses the images' own statistics, so that its moving ones, cold or warm, play no part.
        """
        outputs, pending = [], False
        for layer in self.layers:
            x = fused_batchnorm.by_batch(layer, x) if layer in self._norms else layer(x, training=False)
            pending = pending or layer in self.weighted
            if pending and type(layer).__name__ == "Activation":
                outputs.append(layer_signals.of_outputs(x))
                pending = False
        return tf.stack([*outputs, layer_signals.of_outputs(x)]), tf.cast(x, tf.float32)

    def _through(self, layer: Any, x: Any, *, training: bool) -> Any:
        if training and layer in self._norms and fused_batchnorm.is_fusible(layer, x):
            return fused_batchnorm.apply(layer, x)
        return layer(x, training=training)
