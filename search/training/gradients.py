"""Gradients of a batch's loss in TensorFlow: for the whole batch, by microbatches, or shape by shape."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from search.settings import TrainingProtocol
from search.training.chain import Chain
from search.training.inputs import Inputs
from search.training.sampling import Balance
from spaces.config import Configuration
from spaces.losses import LOSSES, Loss


class BatchGradients:
    """Computes the gradients of the mean loss of a batch by a network's weights.

    A batch is split into microbatches, and by the shape of the images if there are several. The gradients are always
    those of the whole batch; BatchNorm's statistics are those of each part.

    Args:
        configuration: gives the loss and its label smoothing.
        protocol: gives the number of classes and the shapes of the images.
        chain: the network.
        inputs: the study's images as inputs of the network.
        labels: `(n,)` int32 tensor, class of each image.
        microbatches: number of parts of a batch, a divisor of the batch size.
    """

    def __init__(
        self,
        configuration: Configuration,
        protocol: TrainingProtocol,
        chain: Chain,
        inputs: Inputs,
        labels: Any,
        microbatches: int,
    ) -> None:
        self._loss = LOSSES[configuration.loss]
        self._smoothing = configuration.label_smoothing
        self._shapes = len(protocol.images.shapes)
        self._chain, self._inputs, self._labels = chain, inputs, labels
        self._microbatches, self._microbatch_size = microbatches, configuration.batch_size // microbatches
        self._class_weights = tf.Variable(tf.ones(protocol.classes))
        self._margin = tf.Variable(tf.zeros(protocol.classes))

    def begin(self, balance: Balance) -> None:
        """Set the class weights and the margin of a new fit."""
        self._class_weights.assign(balance.weights.astype("float32"))
        self._margin.assign(balance.margin.astype("float32"))

    def of_batch(self, batch: Any, seed: Any, step: Any) -> tuple[Any, list[Any]]:
        """Compute the loss and the gradients of a batch, as part of a TensorFlow graph.

        Args:
            batch: `(batch,)` int32 row numbers of the images.
            seed: scalar int32, seed of the epoch's augmentation.
            step: scalar int32, number of the step in the epoch, from 0.

        Returns:
            Mean cross-entropy in nats without class weights and smoothing, and the gradient of the mean training loss
            by each weight of `Chain.weights`.
        """
        if self._microbatches == 1:
            return self._of_microbatch(batch, tf.stack([seed, step]))
        size = self._microbatch_size
        cross_entropy, sums = tf.constant(0.0), self._zeros()
        for part in tf.range(self._microbatches):
            rows = tf.ensure_shape(batch[part * size : (part + 1) * size], [size])
            value, gradients = self._of_microbatch(rows, tf.stack([seed, step * self._microbatches + part]))
            cross_entropy += value / self._microbatches
            sums = [total + gradient / self._microbatches for total, gradient in zip(sums, gradients, strict=True)]
        return cross_entropy, sums

    def _of_microbatch(self, rows: Any, seed: Any) -> tuple[Any, list[Any]]:
        if self._inputs.shape_id_of is None:
            return self._of_one_shape(rows, seed, self._inputs.shapes[0])
        shape_ids, count = tf.gather(self._inputs.shape_id_of, rows), self._shapes
        cross_entropy, sums = tf.constant(0.0), self._zeros()
        for shape_id in tf.range(count):
            alike = tf.boolean_mask(rows, shape_ids == shape_id)
            share = tf.cast(tf.size(alike), tf.float32) / tf.cast(tf.size(rows), tf.float32)
            if share > 0:
                shape_seed = tf.stack([seed[0], seed[1] * count + shape_id])
                value, gradients = self._of_one_shape(alike, shape_seed, self._inputs.shapes[shape_id])
                cross_entropy += share * value
                sums = [total + share * gradient for total, gradient in zip(sums, gradients, strict=True)]
        return cross_entropy, sums

    def _of_one_shape(self, rows: Any, seed: Any, shape: Any) -> tuple[Any, list[Any]]:
        labels = tf.gather(self._labels, rows)
        x = self._inputs.augmented(rows, seed, shape)
        with tf.GradientTape() as tape:
            logits = self._chain.forward(x, training=True)
            cross_entropy = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
            losses = losses_of_images(self._loss, self._smoothing, labels, logits, cross_entropy, self._margin)
            loss = tf.reduce_mean(losses * tf.gather(self._class_weights, labels))
        return tf.reduce_mean(cross_entropy), tape.gradient(loss, self._chain.weights)

    def _zeros(self) -> list[Any]:
        return [tf.zeros_like(weight.value) for weight in self._chain.weights]


@tf.autograph.experimental.do_not_convert  # type: ignore[untyped-decorator]  # it can't read the lambdas of a loss
def losses_of_images(
    loss: Loss, label_smoothing: float, labels: Any, logits: Any, cross_entropy: Any, margin: Any
) -> Any:
    """Compute the training loss of each image, `(batch,)` float32, without class weights.

    Args:
        loss: one of `spaces.losses.LOSSES`.
        label_smoothing: 0..1; ignored by losses that don't support it.
        labels: `(batch,)` int32, 0..K-1.
        logits: `(batch, K)` float32.
        cross_entropy: `(batch,)` float32, cross-entropy in nats of these labels and logits.
        margin: `(K,)` float32, added to the logits if the loss is logit-adjusted.
    """
    if loss.is_logit_adjusted:
        logits = logits + margin
        cross_entropy = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
    if loss.modulation is not None:
        return loss.modulation.value(tf.exp(-cross_entropy), cross_entropy)
    if not label_smoothing:
        return cross_entropy
    classes = logits.shape[-1]
    targets = tf.one_hot(labels, classes) * (1.0 - label_smoothing) + label_smoothing / classes
    return tf.nn.softmax_cross_entropy_with_logits(targets, logits)
