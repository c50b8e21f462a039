"""Keras networks of configurations, from scaled images to logits, and their initial weights.

The network is a plain chain: convolutions (normalization, activation, 2 x 2 max pooling while both sides are at
least 4; filters double after each pooling, up to eight times the first) or a backbone, the head, dense layers
(normalization, activation, dropout), the output layer. The network does not scale the images.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

import keras
import numpy as np
import numpy.typing as npt

from search import seeds
from search.training import pyramid
from search.training.backbones import backbone_layers, pooling
from search.training.lr_schedule import batchnorm_momentum
from spaces.architecture import FLAT_IMAGE, FLAT_MAP, POOLED_FROM, WIDENING
from spaces.backbones import BACKBONES, NO_BACKBONE, POOLED
from spaces.config import Configuration

_MOST_GROUPS: Final = 8
OUTPUT: Final = "logits"


def build_network(
    configuration: Configuration,
    image_size: int,
    channels: int,
    classes: int,
    updates: int,
    dtype: str = "float32",
    *,
    any_size: bool = False,
    embedded: bool = False,
    delivered: bool = False,
) -> keras.Sequential:
    """Build the network of a configuration with arbitrary weights; `reset` sets the initial weights of a fit.

    Args:
        configuration: configuration of the network.
        image_size: side of the images in pixels.
        channels: 1 or 3.
        classes: number of classes K, at least 2.
        updates: optimizer steps of a whole fit, which set BatchNorm's momentum.
        dtype: Keras' dtype policy of the hidden layers; logits are float32.
        any_size: accept any height and width up to `image_size`. A feature map (or, without convolutions, the image) is
            then resized to a fixed size before it is flattened.
        embedded: leave out backbone and pooling; inputs are embeddings `(batch, features)` float32.
        delivered: use Keras' own layers only, for a model to save; otherwise `pyramid.Pyramid` may be used.

    Returns:
        Keras model: `(batch, image_size, image_size, channels)` float32, scaled -> `(batch, K)` float32 logits.
    """
    size = None if any_size else image_size
    layers: list[Any]
    if embedded:
        layers = [keras.Input((configuration.features,))]
    else:
        layers = [keras.Input((size, size, channels))]
        if configuration.backbone != NO_BACKBONE:
            layers += backbone_layers(configuration, channels, dtype, side=size)
    side, filters = image_size, configuration.width
    map_channels = channels  # of the last feature map
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
        map_channels = filters
        if side >= POOLED_FROM:
            # For any size: a long narrow map is halved by its longer side, and must not vanish.
            layers.append(keras.layers.MaxPooling2D(padding="same" if any_size else "valid", dtype=dtype))
            side //= 2
            filters = min(2 * filters, WIDENING * configuration.width)
    if configuration.backbone == NO_BACKBONE:
        layers += _head(configuration, side, map_channels, dtype, any_size=any_size, delivered=delivered)
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
        case "none":
            return [activation]
        case unknown:
            raise ValueError(f"normalization is {unknown!r}, expected batch, group or none")


def _head(
    configuration: Configuration, side: int, filters: int, dtype: str, *, any_size: bool, delivered: bool
) -> list[Any]:
    """Layers from the last feature map, at most `side` pixels a side, to a vector."""
    if configuration.n_conv == 0 or configuration.head == "flatten":
        fixed = min(side, FLAT_MAP if configuration.n_conv else FLAT_IMAGE)
        resized = [keras.layers.Resizing(fixed, fixed, dtype=dtype)] if any_size else []
        return [*resized, keras.layers.Flatten(dtype=dtype)]
    if configuration.head in POOLED:
        return [pooling(configuration.head, dtype)]
    halvings = max(0, math.ceil(math.log2(side / pyramid.GRID)))
    halved = [keras.layers.MaxPooling2D(padding="same", dtype=dtype) for _ in range(halvings)]
    finest = int(configuration.head.removeprefix("pyramid_"))
    pooled = pyramid.delivered(finest, filters, dtype) if delivered else pyramid.Pyramid(finest, dtype=dtype)
    return [*halved, pooled]


def reset(
    network: keras.Sequential,
    seed: int,
    prior: npt.NDArray[np.float64],
    pretrained: Sequence[npt.NDArray[Any]] = (),
) -> None:
    """Set the initial weights of a fit.

    Each variable is set by its layer's initializer, with a seed derived from `seed`. The output bias is the log of the
    prior, so that the first loss is about its entropy. Dropout's random state is reset.

    Args:
        network: network from `build_network`; changed.
        seed: seed of the fit.
        prior: `(K,)` effective class prior, all positive.
        pretrained: weights of the backbone from `first_weights`; empty without a backbone.
    """
    is_embedded = len(network.input_shape) == 2  # then backbone and pooling, its first two layers, are missing
    for index, layer in enumerate(network.layers, start=2 if is_embedded else 0):
        if layer.name in BACKBONES:
            layer.set_weights(pretrained)
            continue
        for variable in layer.variables:
            if variable.name == "seed_generator_state":
                variable.assign(np.array([seeds.child(seed, "dropout", index), 0], dtype=np.uint32))
            else:
                variable.assign(_initial(layer, variable, seeds.child(seed, "weights", index, variable.name)))
    network.get_layer(OUTPUT).bias.assign(np.log(prior).astype(np.float32))


def _initial(layer: Any, variable: Any, seed: int) -> Any:
    initializer = getattr(layer, f"{variable.name}_initializer")
    settings = initializer.get_config()
    if "seed" in settings:
        initializer = type(initializer).from_config({**settings, "seed": seed})
    return initializer(variable.shape, dtype=variable.dtype)


def weight_layers(network: keras.Sequential) -> list[Any]:
    """Return the convolutions and dense layers outside a backbone, the output layer last."""
    return [layer for layer in network.layers if isinstance(layer, keras.layers.Conv2D | keras.layers.Dense)]


def batchnorms(network: keras.Sequential) -> list[Any]:
    """Return the BatchNorm layers outside a backbone, in order."""
    return [layer for layer in network.layers if isinstance(layer, keras.layers.BatchNormalization)]
