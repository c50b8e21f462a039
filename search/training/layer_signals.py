"""Signals of layers for the collapse rules, computed inside the epoch's graph: `fit_checks.LAYER_SIGNALS`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf


def output_signals(x: Any) -> Any:
    """Return `dead_share`, `zero_share`, `scale` of a layer's outputs `(images, ..., units)`: `(3,)` float32.

    Dead is a unit (a channel) that gives 0 for every image at every place; scale is the standard deviation over all.
    """
    values = tf.cast(x, tf.float32)
    zero = tf.equal(values, 0.0)
    dead = tf.reduce_all(zero, axis=list(range(len(x.shape) - 1)))
    shares = [tf.reduce_mean(tf.cast(flags, tf.float32)) for flags in (dead, zero)]
    return tf.stack([*shares, tf.math.reduce_std(values)])


def weight_signals(before: Sequence[Any], after: Sequence[Any], steps: Any) -> Any:
    """Return `weight_scale` and `update_ratio` of kernels: `(layers, 2)` float32.

    The first is the root mean square, the second |change| / |weights| per step.

    Args:
        before: the kernels before some steps.
        after: the kernels after them.
        steps: scalar float32, number of steps.
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
    """Return `gradient` (mean absolute) and `zero_gradients` (share of exact zeros): `(layers, 2)` float32."""
    return tf.stack(
        [
            tf.stack([tf.reduce_mean(tf.abs(gradient)), tf.reduce_mean(tf.cast(tf.equal(gradient, 0.0), tf.float32))])
            for gradient in gradients
        ]
    )
