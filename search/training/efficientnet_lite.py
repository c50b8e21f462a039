"""EfficientNet-Lite as a Keras model of plain layers, and its weights from a PyTorch file.

EfficientNet without squeeze-and-excitation and with ReLU6 (Tan and Le 2019; the Lite variants are of 2020).
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Final

import keras
import numpy as np
import numpy.typing as npt

from search.data.torch_file import read_torch_file

_STAGES: Final = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
"""Blocks, kernel size, stride of the first block, expansion and channels of each stage at width and depth 1."""
_STEM, _HEAD = 32, 1280  # channels, whatever the width
_CHANNELS_ARE_MULTIPLES_OF: Final = 8
_EPSILON: Final = 1e-3  # some channels have a smaller variance: with another value they are scaled differently
_NORM_PARTS: Final = ("weight", "bias", "running_mean", "running_var")  # gamma, beta, moving mean and variance
_UNUSED: Final = ("_fc.", ".num_batches_tracked")  # the classification layer, and counts that PyTorch keeps


def efficientnet_lite(*, width: float, depth: float) -> keras.Model:
    """Build a network without its top, for images of any size.

    Its layers have names such as `block_11_expand_conv`, `block_11_expand_bn` and `block_11_expand_relu`.

    Args:
        width: factor of the channels, but for those of the first and last convolution.
        depth: factor of the number of blocks of each stage, but for the first and last stage.

    Returns:
        Keras model: `(batch, height, width, 3)`, (pixels - 127) / 128 -> `(batch, height / 32, width / 32, 1280)`,
        sides rounded up.
    """
    images = keras.Input((None, None, 3))
    x = _convolved(images, "stem", _STEM, kernel_size=3, strides=2)
    number = 0
    for stage, (blocks, kernel_size, strides, expansion, channels) in enumerate(_STAGES):
        is_fixed = stage in (0, len(_STAGES) - 1)
        for block in range(blocks if is_fixed else math.ceil(blocks * depth)):
            x = _block(
                x,
                f"block_{number}",
                _scaled(channels, width),
                kernel_size=kernel_size,
                strides=1 if block else strides,
                expansion=expansion,
            )
            number += 1
    return keras.Model(images, _convolved(x, "head", _HEAD))


def load_torch_weights(network: keras.Model, path: Path) -> None:
    """Set the weights of a network from `efficientnet_lite` to those of a PyTorch file.

    Args:
        network: the network; changed.
        path: `.pth` file of the same network, with or without its classification layer.

    Raises:
        TorchFileError: the file can't be read as tensors.
        ValueError: the file holds other tensors than the network has.
        OSError: the file can't be read.
    """
    tensors = {name: array for name, array in read_torch_file(path).items() if not _is_unused(name)}
    for layer in network.layers:
        if layer.weights:
            layer.set_weights(_taken(tensors, layer))
    if tensors:
        raise ValueError(f"{path}: expected the tensors of the network's layers only, got also {next(iter(tensors))}")


def _is_unused(name: str) -> bool:
    begins, ends = _UNUSED
    return name.startswith(begins) or name.endswith(ends)


def _taken(tensors: dict[str, npt.NDArray[Any]], layer: Any) -> list[npt.NDArray[Any]]:
    """Weights of a layer as Keras orders them, which are removed from `tensors`."""
    is_norm = isinstance(layer, keras.layers.BatchNormalization)
    parts = _NORM_PARTS if is_norm else ("weight",)
    names = [f"{_torch_name(layer.name)}.{part}" for part in parts]
    if missing := [name for name in names if name not in tensors]:
        raise ValueError(f"expected a tensor {missing[0]} for the layer {layer.name}, got none")
    arrays = [tensors.pop(name) for name in names]
    if isinstance(layer, keras.layers.DepthwiseConv2D):
        return [np.transpose(array, (2, 3, 0, 1)) for array in arrays]  # from (channels, 1, height, width)
    if isinstance(layer, keras.layers.Conv2D):
        return [np.transpose(array, (2, 3, 1, 0)) for array in arrays]  # from (out, in, height, width)
    return arrays


_TORCH_NAMES: Final = {
    "stem_conv": "_conv_stem",
    "stem_bn": "_bn0",
    "head_conv": "_conv_head",
    "head_bn": "_bn1",
    "expand_conv": "_expand_conv",
    "expand_bn": "_bn0",
    "depthwise_conv": "_depthwise_conv",
    "depthwise_bn": "_bn1",
    "project_conv": "_project_conv",
    "project_bn": "_bn2",
}


def _torch_name(layer: str) -> str:
    """Name in a PyTorch file of what Keras calls `layer`.

    >>> _torch_name("block_11_expand_bn"), _torch_name("head_bn")
    ('_blocks.11._bn0', '_bn1')
    """
    if layer.startswith("block_"):
        _, number, part = layer.split("_", 2)
        return f"_blocks.{number}.{_TORCH_NAMES[part]}"
    return _TORCH_NAMES[layer]


def _block(x: Any, name: str, channels: int, *, kernel_size: int, strides: int, expansion: int) -> Any:
    """An inverted residual block: wider by a 1 x 1 convolution, a depthwise one, narrow by a 1 x 1 convolution."""
    before = x
    if expansion > 1:
        x = _convolved(x, f"{name}_expand", expansion * x.shape[-1])
    depthwise = keras.layers.DepthwiseConv2D(
        kernel_size, strides, padding="same", use_bias=False, name=f"{name}_depthwise_conv"
    )
    x = _activated(_normalized(depthwise(x), f"{name}_depthwise"), f"{name}_depthwise")
    x = _convolved(x, f"{name}_project", channels, is_linear=True)
    if before.shape[-1] == channels and strides == 1:
        x = keras.layers.Add(name=f"{name}_add")([before, x])
    return x


def _convolved(
    x: Any, name: str, channels: int, *, kernel_size: int = 1, strides: int = 1, is_linear: bool = False
) -> Any:
    convolution = keras.layers.Conv2D(
        channels, kernel_size, strides, padding="same", use_bias=False, name=f"{name}_conv"
    )
    x = _normalized(convolution(x), name)
    return x if is_linear else _activated(x, name)


def _normalized(x: Any, name: str) -> Any:
    return keras.layers.BatchNormalization(epsilon=_EPSILON, name=f"{name}_bn")(x)


def _activated(x: Any, name: str) -> Any:
    return keras.layers.ReLU(6.0, name=f"{name}_relu")(x)


def _scaled(channels: int, width: float) -> int:
    """`channels` times `width`, rounded to a multiple of 8 but never by more than 10 % down."""
    step = _CHANNELS_ARE_MULTIPLES_OF
    scaled = max(step, int(channels * width + step / 2) // step * step)
    return scaled if scaled >= 0.9 * channels * width else scaled + step
