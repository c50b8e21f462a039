"""Forward passes of batch normalization: TensorFlow's fused kernel in training, and normalization by batch statistics.

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
    """Whether `apply` can replace `layer(x, training=True)`: `x` has 4 axes, and the layer normalizes the last."""
    return len(x.shape) == 4 and layer.axis in (-1, 3, [-1], [3])


def apply(layer: Any, x: Any) -> Any:
    """Compute `layer(x, training=True)` within rounding, and update the moving statistics.

    Args:
        layer: Keras BatchNormalization layer.
        x: `(batch, height, width, channels)`.

    Returns:
        The normalized values, with the shape and dtype of `x`.
    """
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
    """Normalize `x` `(batch, ..., channels)` by its own statistics; moving statistics are not used or changed."""
    wide = tf.cast(x, tf.float32)
    mean, variance = tf.nn.moments(wide, axes=list(range(len(x.shape) - 1)))
    normal = tf.nn.batch_normalization(wide, mean, variance, layer.beta.value, layer.gamma.value, layer.epsilon)
    return tf.cast(normal, x.dtype)


@contextmanager
def unfrozen(layers: Sequence[Any]) -> Iterator[None]:
    """Unfreeze BatchNorm layers during a `with` block, so that they use batch statistics in training mode."""
    frozen = [layer for layer in layers if not layer.trainable]
    for layer in frozen:
        layer.trainable = True
    try:
        yield
    finally:
        for layer in frozen:
            layer.trainable = False
