"""Backbones as Keras models from raw pixels to the last feature map, with the preprocessing their weights expect."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras
import numpy.typing as npt

from search import seeds
from search.data.vit_file import VitShape
from search.training import efficientnet_lite, vision_transformer
from search.training.lr_schedule import batchnorm_momentum
from spaces.backbones import BACKBONES, MIDDLE, Backbone
from spaces.config import Configuration


def build_backbone(
    name: str,
    channels: int,
    weights: Path | None = None,
    dtype: str = "float32",
    *,
    side: int | None = None,
    with_middle: bool = False,
) -> keras.Model:
    """Build a backbone, a Vision Transformer for images of one size, others for images of any size.

    Args:
        name: one of `BACKBONES`.
        channels: 1 or 3; a single channel is repeated three times.
        weights: file of the weights, `search.data.weight_files.Weights.path`; None for random weights.
        dtype: Keras' dtype policy.
        side: side of the images, in pixels; None if they have several sizes. Of no effect but on Vision Transformers.
        with_middle: return the feature map of the backbone's middle layer, too.

    Returns:
        Keras model: `(batch, height, width, channels)` 0..255 -> `(batch, height / 32, width / 32, features)`; with the
        middle layer a list of this and `(batch, height / 16, width / 16, middle features)`. Of Vision Transformers the
        first has a pixel for each patch, and the second is `(batch, 1, 1, features)`.

    Raises:
        ValueError: the middle layer of this backbone is not known.
    """
    definition = BACKBONES[name]
    with _policy(dtype):
        core = _core(definition, side)
    if weights is not None:
        _load(core, definition, weights)
    if with_middle and definition.middle is None:
        raise ValueError(f"with_middle needs a backbone with a known middle layer, got {name}")
    if with_middle and not definition.is_transformer:
        core = keras.Model(core.input, [core.output, core.get_layer(definition.middle).output])
    side = side if definition.is_transformer else None
    images = keras.Input((side, side, channels))
    x = images if channels == 3 else keras.layers.Concatenate()([images] * 3)
    maps = core(_preprocessed(definition, x))
    return keras.Model(images, maps[0] if definition.is_transformer and not with_middle else maps, name=name)


def backbone_layers(
    configuration: Configuration, channels: int, dtype: str = "float32", *, side: int | None = None
) -> list[Any]:
    """Return the two layers from raw pixels to the vector of pooled features: the backbone, and its pooling.

    Args:
        configuration: configuration with a backbone, and with one of `POOLED` as head.
        channels: channels of the images, 1 or 3.
        dtype: Keras' dtype policy.
        side: side of the images, in pixels; None if they have several sizes.
    """
    name, head = configuration.backbone, configuration.head
    if head != MIDDLE:
        return [build_backbone(name, channels, dtype=dtype, side=side), pooling(head, dtype)]
    model = build_backbone(name, channels, dtype=dtype, side=side, with_middle=True)
    pooled = [keras.layers.GlobalAveragePooling2D(dtype=dtype)(features) for features in model.outputs]
    joined = keras.Model(model.inputs, keras.layers.Concatenate(dtype=dtype)(pooled), name=name)
    return [joined, keras.layers.Identity(dtype=dtype)]


def pooling(head: str, dtype: str = "float32") -> Any:
    """Return the layer that pools `(batch, h, w, features)` to `(batch, features)`; `head`: "average" or "max"."""
    kinds = {"average": keras.layers.GlobalAveragePooling2D, "max": keras.layers.GlobalMaxPooling2D}
    return kinds[head](dtype=dtype)


def first_weights(name: str, channels: int, weights: Path | None, side: int | None = None) -> list[npt.NDArray[Any]]:
    """Return the initial weights of a backbone, the same for every fit.

    Args:
        name: one of `BACKBONES`.
        channels: 1 or 3.
        weights: file of pretrained weights; None for random weights, the same at each call.
        side: side of the images, in pixels; None if they have several sizes. Of no effect but on Vision Transformers.

    Returns:
        Arrays in the order of `build_backbone(...).get_weights()`.
    """
    if weights is None:
        keras.utils.set_random_seed(seeds.child(0, "backbone", name))
    return build_backbone(name, channels, weights, side=side).get_weights()  # type: ignore[no-any-return]


def prepare(backbone: keras.Model, configuration: Configuration, updates: int) -> tuple[list[Any], list[Any]]:
    """Prepare a backbone's BatchNorm layers for a configuration, and select the variables to train.

    Args:
        backbone: model from `build_backbone`; changed.
        configuration: configuration with a backbone.
        updates: optimizer steps of a whole fit, which set BatchNorm's momentum.

    Returns:
        BatchNorm layers of the backbone, and its variables to train.
    """
    core = next(layer for layer in backbone.layers if isinstance(layer, keras.Model))
    norms = [layer for layer in core.layers if isinstance(layer, keras.layers.BatchNormalization)]
    adapted = configuration.statistics == "adapted"
    for layer in norms:
        layer.trainable = adapted  # Keras: a frozen one never uses its batch
        if adapted:
            layer.momentum = batchnorm_momentum(updates)
    if configuration.trainable == "frozen":
        return norms, []
    definition = BACKBONES[configuration.backbone]
    layers = core.layers if configuration.trainable == "all" else last_block(core, definition)
    if configuration.head != MIDDLE:  # then what pools the tokens of a transformer has no effect
        layers = [layer for layer in layers if not layer.name.startswith(vision_transformer.POOL)]
    return norms, [variable for layer in layers for variable in layer.trainable_variables]


@contextmanager
def _policy(name: str) -> Iterator[None]:
    """Use a dtype policy for the layers that are built in the context."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def _core(definition: Backbone, side: int | None = None) -> Any:
    options = dict(definition.options)
    if definition.is_transformer:
        return vision_transformer.vision_transformer(VitShape.of(definition), side)
    if definition.family == "efficientnet_lite":
        return getattr(efficientnet_lite, definition.builder)(**options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that weights for other sizes exist
        builder = getattr(keras.applications, definition.builder)
        core = builder(include_top=False, weights=None, input_shape=(None, None, 3), **options)
    for layer in core.layers:
        if isinstance(layer, keras.layers.Dropout):  # drops whole branches, from a state that fits can't reset
            layer.rate = 0.0
    return core


def _load(core: Any, definition: Backbone, path: Path) -> None:
    if definition.family == "efficientnet_lite":
        efficientnet_lite.load_torch_weights(core, path)
    elif definition.is_transformer:
        vision_transformer.load_safetensors(core, VitShape.of(definition), path)
    else:
        core.load_weights(path)


def _preprocessed(definition: Backbone, x: Any) -> Any:
    match definition.feeding:
        case "inside":
            return x
        case "lite":
            return (x - 127.0) / 128.0
        case mode:
            return keras.applications.imagenet_utils.preprocess_input(x, mode=mode)


def last_block(core: Any, definition: Backbone) -> Sequence[Any]:
    """Return the layers of a backbone without preprocessing from the first layer of its last block on."""
    first = next(index for index, layer in enumerate(core.layers) if layer.name.startswith(definition.last_block))
    return core.layers[first:]  # type: ignore[no-any-return]
