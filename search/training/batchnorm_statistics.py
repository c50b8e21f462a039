"""Re-estimation of BatchNorm's moving statistics from a few batches."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from search.training.chain import Chain
from search.training.inputs import Inputs


class BatchNormStatistics:
    """Replaces the moving statistics of a network's BatchNorm layers.

    Args:
        chain: the network.
        inputs: the study's images as inputs of the network.
        labels: `(n,)` int32 tensor, class of each image.
    """

    def __init__(self, chain: Chain, inputs: Inputs, labels: Any) -> None:
        self._chain, self._inputs, self._labels = chain, inputs, labels

    @tf.function(input_signature=[tf.TensorSpec([None, None], tf.int32)], jit_compile=False)  # type: ignore[untyped-decorator]
    def reestimate(self, rows: Any) -> Any:
        """Replace the moving statistics of the layers in `Chain.gathering` by the mean over the batches.

        Dropout is off.

        Args:
            rows: `(steps, batch)` int32 row numbers of the images of each batch.

        Returns:
            Scalar float32: mean cross-entropy in nats of the batches, each normalized by its own statistics.
        """
        return self._replaced(self._chain.gathering, rows)

    @tf.function(input_signature=[tf.TensorSpec([None, None], tf.int32)], jit_compile=False)  # type: ignore[untyped-decorator]
    def reestimate_backbone(self, rows: Any) -> Any:
        """Replace the moving statistics of the backbone's BatchNorm layers; otherwise like `reestimate`."""
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
