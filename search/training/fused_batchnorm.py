"""Forward passes of batch normalization: in training by TensorFlow's fused kernel, and by a batch's own statistics.

Keras' layer takes moments, scales and shifts in separate passes over the feature maps, forward and backward; on a CPU
that is three times the work. The layer stays a plain Keras one, and so does what is saved: only the way a training
step computes it differs, within rounding.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import tensorflow as tf


def is_fusible(layer: Any, x: Any) -> bool:
    """Whether `apply` can stand in for the layer's call in training mode: feature maps `(batch, h, w, channels)`."""
    return len(x.shape) == 4 and layer.axis in (-1, 3, [-1], [3])


def apply(layer: Any, x: Any) -> Any:
    """Return what `layer(x, training=True)` does, and update the moving statistics as it does."""
    output, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
        x=tf.cast(x, tf.float32),
        scale=layer.gamma.value,
        offset=layer.beta.value,
        mean=tf.zeros(0),
        variance=tf.zeros(0),
        epsilon=layer.epsilon,
        is_training=True,
    )
    shape = tf.shape(x)
    count = tf.cast(shape[0] * shape[1] * shape[2], tf.float32)
    variance *= (count - 1.0) / count  # the kernel gives the unbiased variance, Keras keeps the biased one
    for moving, batch in ((layer.moving_mean, mean), (layer.moving_variance, variance)):
        moving.assign(moving.value * layer.momentum + batch * (1.0 - layer.momentum))
    return tf.cast(output, x.dtype)


def by_batch(layer: Any, x: Any) -> Any:
    """Return the layer's output by the batch's own statistics; its moving ones are neither used nor changed."""
    wide = tf.cast(x, tf.float32)
    mean, variance = tf.nn.moments(wide, axes=list(range(len(x.shape) - 1)))
    normal = tf.nn.batch_normalization(wide, mean, variance, layer.beta.value, layer.gamma.value, layer.epsilon)
    return tf.cast(normal, x.dtype)


@contextmanager
def unfrozen(layers: Sequence[Any]) -> Iterator[None]:
    """Make frozen BatchNorm layers use their batch in training mode, as long as the context lasts."""
    frozen = [layer for layer in layers if not layer.trainable]
    for layer in frozen:
        layer.trainable = True
    try:
        yield
    finally:
        for layer in frozen:
            layer.trainable = False
