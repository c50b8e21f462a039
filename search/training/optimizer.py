"""The optimizer of a configuration, and its state set back for the next fit."""

from __future__ import annotations

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
        case _:
            optimizer = keras.optimizers.SGD(rate, momentum=_MOMENTUM, nesterov=True, weight_decay=decay or None)
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return optimizer


def reset(optimizer: Any) -> None:
    """Set back everything that the optimizer gathered; its rate is set at the next update anyway."""
    for variable in optimizer.variables:
        if variable is not optimizer._learning_rate:
            variable.assign(tf.zeros_like(variable.value))
