"""Backbones as layers: raw pixels in, the last feature map out, fed as their weights expect."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras
import numpy.typing as npt

from search import seeds
from search.training.lr_schedule import batchnorm_momentum
from spaces.backbones import BACKBONES, Backbone
from spaces.config import Configuration


def build_backbone(name: str, channels: int, weights: Path | None = None, dtype: str = "float32") -> keras.Model:
    """A backbone of any image size.

    Args:
        name: one of `BACKBONES`.
        channels: of the images; grey ones are shown as colour.
        weights: file of its weights without top; None for random ones.
        dtype: Keras' dtype policy.

    Returns:
        `(batch, height, width, channels)` 0..255 -> `(batch, height / 32, width / 32, features)`.
    """
    known = BACKBONES[name]
    with _policy(dtype):
        core = _core(known)
    if weights is not None:
        core.load_weights(weights)
    images = keras.Input((None, None, channels))
    x = images if channels == 3 else keras.layers.Concatenate()([images] * 3)
    return keras.Model(images, core(_fed(known, x)), name=name)


def first_weights(name: str, channels: int, weights: Path | None) -> list[npt.NDArray[Any]]:
    """That every fit on this backbone begins with: its makers', or random ones that are always the same."""
    if weights is None:
        keras.utils.set_random_seed(seeds.child(0, "backbone", name))
    return build_backbone(name, channels, weights).get_weights()  # type: ignore[no-any-return]


def prepare(backbone: keras.Model, configuration: Configuration, updates: int) -> tuple[list[Any], list[Any]]:
    """Have a backbone train as the configuration says: what learns, and what its batch normalization does.

    Args:
        backbone: from `build_backbone`.
        configuration: one with a backbone.
        updates: optimizer steps of a whole fit, which decide BatchNorm's momentum.

    Returns:
        Its batch normalization layers, and those of its variables that learn.
    """
    core = backbone.layers[-1]
    norms = [layer for layer in core.layers if isinstance(layer, keras.layers.BatchNormalization)]
    adapted = configuration.statistics == "adapted"
    for layer in norms:
        layer.trainable = adapted  # Keras: one that is not trainable never looks at its batch
        if adapted:
            layer.momentum = batchnorm_momentum(updates)
    if configuration.trainable == "frozen":
        return norms, []
    known = BACKBONES[configuration.backbone]
    layers = core.layers if configuration.trainable == "all" else last_block(core, known)
    return norms, [variable for layer in layers for variable in layer.trainable_variables]


@contextmanager
def _policy(name: str) -> Iterator[None]:
    """Layers that are built inside compute by this policy."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def _core(known: Backbone) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that weights for other sizes exist
        builder = getattr(keras.applications, known.builder)
        core = builder(include_top=False, weights=None, input_shape=(None, None, 3), **dict(known.options))
    for layer in core.layers:
        if isinstance(layer, keras.layers.Dropout):  # whole branches at random: nothing that a fit could repeat
            layer.rate = 0.0
    return core


def _fed(known: Backbone, x: Any) -> Any:
    return x if known.feeding == "inside" else keras.applications.imagenet_utils.preprocess_input(x, mode=known.feeding)


def last_block(core: Any, known: Backbone) -> Sequence[Any]:
    """Layers of the last block and what follows it."""
    first = next(place for place, layer in enumerate(core.layers) if layer.name.startswith(known.last_block))
    return core.layers[first:]  # type: ignore[no-any-return]
