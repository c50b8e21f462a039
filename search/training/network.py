"""From a configuration to a Keras network that gives logits, and back to its initial weights.

The network is a plain chain: convolutions (normalization, activation, 2 x 2 max pooling while both sides are at
least 4; filters double after each pooling, up to eight times the first), the head, dense layers (normalization,
activation, dropout), the output layer. It takes scaled images; scaling belongs to the pixels' way in.
"""

from __future__ import annotations

import math
from typing import Any, Final

import keras
import numpy as np
import numpy.typing as npt

from search import seeds
from search.training.schedule import batchnorm_momentum
from spaces.config import Configuration

_POOL_FROM: Final = 4  # pixels: smallest side that is still halved
_MOST_WIDENING: Final = 8
_MOST_GROUPS: Final = 8
OUTPUT: Final = "logits"


def build_network(
    configuration: Configuration, image_size: int, channels: int, classes: int, updates: int, dtype: str = "float32"
) -> keras.Sequential:
    """The network of a configuration, with arbitrary weights; `reset` gives it its own.

    Args:
        configuration: what to build.
        image_size: pixels a side.
        channels: 1 or 3.
        classes: K, at least 2.
        updates: optimizer steps of a whole fit, which decide BatchNorm's momentum.
        dtype: Keras' dtype policy of the hidden layers; logits are float32.

    Returns:
        `(batch, image_size, image_size, channels)` float32, scaled -> `(batch, K)` float32 logits.
    """
    layers: list[Any] = [keras.Input((image_size, image_size, channels))]
    side, filters = image_size, configuration.width
    for _ in range(configuration.n_conv):
        layers.append(
            keras.layers.Conv2D(
                filters,
                configuration.kernel_size,
                padding="same",
                kernel_initializer=configuration.initializer,
                dtype=dtype,
            )
        )
        layers += _activated(configuration, filters, updates, dtype)
        if side >= _POOL_FROM:
            layers.append(keras.layers.MaxPooling2D(dtype=dtype))
            side //= 2
            filters = min(2 * filters, _MOST_WIDENING * configuration.width)
    layers.append(_head(configuration, dtype))
    for _ in range(configuration.n_dense):
        layers.append(
            keras.layers.Dense(configuration.dense_units, kernel_initializer=configuration.initializer, dtype=dtype)
        )
        layers += _activated(configuration, configuration.dense_units, updates, dtype)
        layers.append(keras.layers.Dropout(configuration.dropout, dtype=dtype))
    if configuration.n_dense == 0:
        layers.append(keras.layers.Dropout(configuration.dropout, dtype=dtype))
    layers.append(
        keras.layers.Dense(classes, kernel_initializer=configuration.initializer, name=OUTPUT, dtype="float32")
    )
    return keras.Sequential(layers)


def _activated(configuration: Configuration, units: int, updates: int, dtype: str) -> list[Any]:
    activation = keras.layers.Activation(configuration.activation, dtype=dtype)
    match configuration.normalization:
        case "batch":
            return [keras.layers.BatchNormalization(momentum=batchnorm_momentum(updates), dtype=dtype), activation]
        case "group":
            groups = math.gcd(units, _MOST_GROUPS)
            return [keras.layers.GroupNormalization(groups=groups, dtype=dtype), activation]
        case _:
            return [activation]


def _head(configuration: Configuration, dtype: str) -> Any:
    if configuration.n_conv == 0 or configuration.head == "flatten":
        return keras.layers.Flatten(dtype=dtype)
    if configuration.head == "average":
        return keras.layers.GlobalAveragePooling2D(dtype=dtype)
    return keras.layers.GlobalMaxPooling2D(dtype=dtype)


def reset(network: keras.Sequential, seed: int, prior: npt.NDArray[np.float64]) -> None:
    """Give the network the weights that a new one with this seed has.

    Kernels come from their layer's initializer with a seed of their own, BatchNorm's statistics and all biases from
    theirs, the output bias is the log of the prior (so that the first loss is its entropy), dropout's random state
    starts anew.

    Args:
        network: from `build_network`.
        seed: of this fit.
        prior: (K,) effective class prior, all positive.
    """
    for place, layer in enumerate(network.layers):
        for variable in layer.variables:
            if variable.name == "seed_generator_state":
                variable.assign(np.array([seeds.child(seed, "dropout", place), 0], dtype=np.uint32))
            else:
                variable.assign(_initial(layer, variable, seeds.child(seed, "weights", place, variable.name)))
    network.get_layer(OUTPUT).bias.assign(np.log(prior).astype(np.float32))


def _initial(layer: Any, variable: Any, seed: int) -> Any:
    initializer = getattr(layer, f"{variable.name}_initializer")
    settings = initializer.get_config()
    if "seed" in settings:
        initializer = type(initializer).from_config({**settings, "seed": seed})
    return initializer(variable.shape, dtype=variable.dtype)


def weight_layers(network: keras.Sequential) -> list[Any]:
    """The convolutions and dense layers, the output layer last."""
    return [layer for layer in network.layers if isinstance(layer, keras.layers.Conv2D | keras.layers.Dense)]


def batchnorms(network: keras.Sequential) -> list[Any]:
    """The batch normalization layers, in order."""
    return [layer for layer in network.layers if isinstance(layer, keras.layers.BatchNormalization)]
