"""Computation of `fit_checks.LAYER_SIGNALS`, the measurements of layers for the collapse rules, in TensorFlow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf


def output_signals(x: Any) -> Any:
    """Measure a layer's outputs `(images, ..., units)`.

    Returns:
        `(3,)` float32: `dead_share`, the share of units (channels) that are 0 for every image and position;
        `zero_share`, the share of outputs that are 0; `scale`, the standard deviation of all outputs.
    """
    values = tf.cast(x, tf.float32)
    zero = tf.equal(values, 0.0)
    dead = tf.reduce_all(zero, axis=list(range(len(x.shape) - 1)))
    shares = [tf.reduce_mean(tf.cast(flags, tf.float32)) for flags in (dead, zero)]
    return tf.stack([*shares, tf.math.reduce_std(values)])


def weight_signals(before: Sequence[Any], after: Sequence[Any], steps: Any) -> Any:
    """Measure kernels and their change over some optimizer steps.

    Args:
        before: kernel of each layer before the steps.
        after: kernel of each layer after the steps.
        steps: scalar float32, number of steps, at least 1.

    Returns:
        `(layers, 2)` float32: `weight_scale`, the root mean square of the kernel after the steps; `update_ratio`,
        |change| / |kernel| per step.
    """
    return tf.stack(
        [
            tf.stack([tf.norm(new) / float(new.shape.num_elements()) ** 0.5, _change(old, new) / steps])
            for old, new in zip(before, after, strict=True)
        ]
    )


def _change(old: Any, new: Any) -> Any:
    return tf.norm(new - old) / (tf.norm(new) + 1e-12)


def gradient_signals(gradients: Sequence[Any]) -> Any:
    """Return `gradient` (mean absolute value) and `zero_gradients` (share of zeros) of each: `(layers, 2)` float32."""
    return tf.stack(
        [
            tf.stack([tf.reduce_mean(tf.abs(gradient)), tf.reduce_mean(tf.cast(tf.equal(gradient, 0.0), tf.float32))])
            for gradient in gradients
        ]
    )
