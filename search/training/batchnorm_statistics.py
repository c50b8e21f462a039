"""Re-estimation of BatchNorm's moving statistics from some batches."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from search.training.chain import Chain
from search.training.inputs import Inputs


class BatchNormStatistics:
    """Replaces the moving statistics of a network's BatchNorm layers.

    Args:
        chain: the network.
        inputs: the images it is trained on.
        labels: `(n,)` int32 tensor, of those images.
    """

    def __init__(self, chain: Chain, inputs: Inputs, labels: Any) -> None:
        self._chain, self._inputs, self._labels = chain, inputs, labels

    @tf.function(input_signature=[tf.TensorSpec([None, None], tf.int32)], jit_compile=False)  # type: ignore[untyped-decorator]
    def reestimate(self, rows: Any) -> Any:
        """Replace those of all layers that use batch statistics in training, dropout off.

        Args:
            rows: `(steps, batch)` int32 images of each batch.

        Returns:
            Scalar float32: mean plain cross-entropy of the batches, each with its own statistics, nats.
        """
        return self._replaced(self._chain.gathering, rows)

    @tf.function(input_signature=[tf.TensorSpec([None, None], tf.int32)], jit_compile=False)  # type: ignore[untyped-decorator]
    def reestimate_backbone(self, rows: Any) -> Any:
        """Replace those of the backbone's layers; see `reestimate`."""
        return self._replaced(self._chain.backbone_norms, rows)

    def _replaced(self, layers: list[Any], rows: Any) -> Any:
        moving = [variable for layer in layers for variable in (layer.moving_mean, layer.moving_variance)]
        shares = [1.0 - float(layer.momentum) for layer in layers for _ in range(2)]
        sums = [tf.zeros_like(variable.value) for variable in moving]
        loss = tf.constant(0.0)
        for i in tf.range(tf.shape(rows)[0]):
            for variable in moving:  # with zeros in place, one update leaves its share of the batch's own statistics
                variable.assign(tf.zeros_like(variable.value))
            self._chain.batches_done.assign_add(1)
            images = self._inputs.scaled(self._inputs.images, rows[i], self._inputs.shapes[0])
            logits = self._chain.forward_by_batch(images, layers)
            labels = tf.gather(self._labels, rows[i])
            loss += tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))
            sums = [total + variable.value for total, variable in zip(sums, moving, strict=True)]
        count = tf.cast(tf.shape(rows)[0], tf.float32)
        for variable, total, share in zip(moving, sums, shares, strict=True):
            variable.assign(total / (count * share))
        return loss / count
