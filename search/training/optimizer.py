"""The optimizer of a configuration, its step by TensorFlow's fused kernels, and its state set back for the next fit.

Keras' own update passes over the weights a dozen times; on a CPU, with batches of a few images, that is half of a
training step. The fused kernels compute the same formula in one pass. The optimizer stays a plain Keras one, which
holds the state.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import keras
import tensorflow as tf

from spaces.config import Configuration

_MOMENTUM: Final = 0.9


def build_optimizer(configuration: Configuration) -> Any:
    """Keras optimizer; its rate is set at each update, so that one trace serves every schedule.

    Weight decay is decoupled (Loshchilov & Hutter, ICLR 2019) and spares biases and normalization.
    """
    rate = configuration.learning_rate
    decay = configuration.weight_decay
    match configuration.optimizer:
        case "adam":
            return keras.optimizers.Adam(rate)
        case "adamw":
            optimizer = keras.optimizers.AdamW(rate, weight_decay=decay)
        case "sgd":
            optimizer = keras.optimizers.SGD(rate, momentum=_MOMENTUM, nesterov=True, weight_decay=decay or None)
        case unknown:
            raise ValueError(f"no such optimizer: {unknown!r}")
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return optimizer


def apply(optimizer: Any, gradients: Sequence[Any], weights: Sequence[Any], rates: Sequence[Any]) -> None:
    """What `optimizer.apply(gradients, weights)` does with these learning rates, within rounding.

    Args:
        optimizer: from `build_optimizer`, built on `weights`.
        gradients: one for each of `weights`.
        weights: Keras variables.
        rates: scalar float32 tensors, one for each of `weights`.
    """
    for weight, rate in zip(weights, rates, strict=True):
        if optimizer.weight_decay and optimizer._use_weight_decay(weight):
            weight.assign(weight.value * (1.0 - optimizer.weight_decay * rate))
    optimizer.iterations.assign_add(1)
    if isinstance(optimizer, keras.optimizers.Adam):  # AdamW is one
        step = tf.cast(optimizer.iterations.value, tf.float32)
        powers = [tf.pow(tf.constant(beta, tf.float32), step) for beta in (optimizer.beta_1, optimizer.beta_2)]
        memory = optimizer._momentums, optimizer._velocities
        for gradient, weight, rate, m, v in zip(gradients, weights, rates, *memory, strict=True):
            tf.raw_ops.ResourceApplyAdam(
                var=_handle(weight),
                m=_handle(m),
                v=_handle(v),
                beta1_power=powers[0],
                beta2_power=powers[1],
                lr=rate,
                beta1=optimizer.beta_1,
                beta2=optimizer.beta_2,
                epsilon=optimizer.epsilon,
                grad=gradient,
            )
    else:
        for gradient, weight, rate, m in zip(gradients, weights, rates, optimizer.momentums, strict=True):
            tf.raw_ops.ResourceApplyKerasMomentum(
                var=_handle(weight), accum=_handle(m), lr=rate, grad=gradient, momentum=_MOMENTUM, use_nesterov=True
            )


def _handle(variable: Any) -> Any:
    return variable._value.handle


def reset(optimizer: Any) -> None:
    """Set back everything that the optimizer gathered; its rate is set at the next update anyway."""
    for variable in optimizer.variables:
        if variable is not optimizer._learning_rate:
            variable.assign(tf.zeros_like(variable.value))
