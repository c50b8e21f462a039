"""Vision Transformers as Keras models of plain layers, and their weights from safetensors files.

The network of Dosovitskiy et al. 2021, as in DINOv2, in the supervised models of Google and in SigLIP 2. It is built
for images of one size: its position embeddings are resampled once, when its weights are read.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import keras
import numpy as np
import numpy.typing as npt

from search.arrays import FloatArray
from search.data.vit_file import VitShape, read_vit_file
from spaces.backbones import ANY_SIDE

POOL: Final = "pool_"
"""Beginning of the names of the layers that pool the tokens by attention."""

_EPSILON: Final = 1e-6
_CUBIC: Final = {False: -0.75, True: -0.5}  # PyTorch's bicubic kernels, without and with smoothing (antialias)


def vision_transformer(shape: VitShape, side: int | None) -> keras.Model:
    """Build a network without its top.

    Its layers have names such as `block_11_norm_1`, `block_11_attention` and `block_11_mlp_1`.

    Args:
        shape: sizes of the network.
        side: side of the images in pixels, at least a patch; None for images of any size, which are resized to
            `ANY_SIDE`. Of a side that is no multiple of a patch the edges are left out.

    Returns:
        Keras model: `(batch, side, side, 3)` preprocessed pixels -> the tokens of the patches as a map
        `(batch, side / patch, side / patch, width)`, and what stands for the whole image, `(batch, 1, 1, width)`: the
        class token, or for SigLIP 2 the tokens pooled by attention.

    Raises:
        ValueError: the side is smaller than a patch.
    """
    patches = (side or ANY_SIDE) // shape.patch
    if patches < 1:
        raise ValueError(f"expected images of at least {shape.patch} pixels a side, got {side}")
    x = images = keras.Input((side, side, 3))
    if side is None:
        x = keras.layers.Resizing(ANY_SIDE, ANY_SIDE)(x)
    if edge := (side or ANY_SIDE) - patches * shape.patch:
        x = keras.layers.Cropping2D((edge // 2, edge - edge // 2))(x)
    x = keras.layers.Reshape((patches, shape.patch, patches, shape.patch, 3))(x)
    x = keras.layers.Reshape((patches**2, 3 * shape.patch**2))(keras.layers.Permute((1, 3, 2, 4, 5))(x))
    tokens = patches**2 + shape.has_class_token
    if shape.has_class_token:  # a patch of zeros becomes its bias: the class token
        x = keras.layers.ZeroPadding1D((1, 0))(x)
    x = keras.layers.EinsumDense("bnp,pd->bnd", (tokens, shape.width), bias_axes="nd", name="tokens")(x)
    for number in range(shape.depth):
        x = _block(x, f"block_{number}", shape, tokens)
    x = keras.layers.LayerNormalization(epsilon=_EPSILON, name="norm")(x)
    whole = keras.layers.Cropping1D((0, tokens - 1))(x) if shape.has_class_token else _pooled(x, shape)
    if shape.has_class_token:
        x = keras.layers.Cropping1D((1, 0))(x)
    as_maps = [((patches, patches, shape.width), "patches", x), ((1, 1, shape.width), "whole", whole)]
    return keras.Model(images, [keras.layers.Reshape(size, name=name)(values) for size, name, values in as_maps])


def load_safetensors(network: keras.Model, shape: VitShape, path: Path) -> None:
    """Set the weights of a network from `vision_transformer` to those of a file.

    Args:
        network: the network; changed.
        shape: sizes of the network.
        path: safetensors file of a network of the same kind and sizes.

    Raises:
        SafetensorsFileError: the file does not hold the weights of this network, or is damaged.
        OSError: the file can't be read.
    """
    tensors = read_vit_file(path, shape)
    for layer in network.layers:
        if layer.weights:
            layer.set_weights(_arrays(layer, tensors, shape))


def _block(x: Any, name: str, shape: VitShape, tokens: int) -> Any:
    """A block: attention between the tokens, then two dense layers on each, both added to what came in."""
    attention = keras.layers.MultiHeadAttention(shape.heads, shape.width // shape.heads, name=f"{name}_attention")
    y = keras.layers.LayerNormalization(epsilon=_EPSILON, name=f"{name}_norm_1")(x)
    x = keras.layers.Add()([x, _scaled(attention(y, y), f"{name}_scale_1", shape, tokens)])
    return keras.layers.Add()([x, _scaled(_dense_layers(x, name, "norm_2", shape), f"{name}_scale_2", shape, tokens)])


def _scaled(x: Any, name: str, shape: VitShape, tokens: int) -> Any:
    if not shape.has_layer_scale:
        return x
    return keras.layers.EinsumDense("bnd,d->bnd", (tokens, shape.width), name=name)(x)


def _dense_layers(x: Any, name: str, norm: str, shape: VitShape) -> Any:
    y = keras.layers.LayerNormalization(epsilon=_EPSILON, name=f"{name}_{norm}")(x)
    y = keras.layers.Dense(4 * shape.width, name=f"{name}_mlp_1")(y)
    y = keras.ops.gelu(y, approximate=shape.kind == "siglip2")
    return keras.layers.Dense(shape.width, name=f"{name}_mlp_2")(y)


def _pooled(x: Any, shape: VitShape) -> Any:
    """Tokens pooled by attention to one query, the same for all images, which is part of the scores' kernel."""
    scores = keras.layers.Dense(shape.heads, use_bias=False, name=f"{POOL}scores")(x)
    attention = keras.layers.Softmax(axis=1)(scores)
    values = keras.layers.Dense(shape.width, name=f"{POOL}value")(x)
    values = keras.layers.Reshape((-1, shape.heads, shape.width // shape.heads))(values)
    x = keras.layers.Reshape((shape.width,))(keras.ops.einsum("bnh,bnhd->bhd", attention, values))
    x = keras.layers.Dense(shape.width, name=f"{POOL}output")(x)
    return keras.layers.Add()([x, _dense_layers(x, POOL.removesuffix("_"), "norm", shape)])


def _arrays(layer: Any, tensors: dict[str, FloatArray], shape: VitShape) -> list[npt.NDArray[Any]]:
    """Weights of a layer as Keras orders and shapes them."""
    name = _tensor_name(layer.name)
    if layer.name == "tokens":
        patches = int(np.sqrt(layer.output.shape[1]))
        return [
            tensors["patch.weight"].transpose(2, 3, 1, 0).reshape(-1, shape.width),
            _biases(tensors, shape, patches),
        ]
    if layer.name == f"{POOL}scores":
        return [_scores_kernel(tensors, shape)]
    if isinstance(layer, keras.layers.MultiHeadAttention):
        before = name.removesuffix("attention")
        split, arrays = (shape.heads, shape.width // shape.heads), []
        for part in ("query", "key", "value"):
            arrays += [
                tensors[f"{before}{part}.weight"].T.reshape(shape.width, *split),
                tensors[f"{before}{part}.bias"].reshape(split),
            ]
        output = tensors[f"{before}output.weight"].T.reshape(*split, shape.width)
        return [*arrays, output, tensors[f"{before}output.bias"]]
    if isinstance(layer, keras.layers.EinsumDense):
        return [tensors[name]]
    weight = tensors[f"{name}.weight"]
    return [weight.T, tensors[f"{name}.bias"]]  # of a normalization it is one-dimensional


def _tensor_name(layer: str) -> str:
    """Name of the tensors of a layer.

    >>> _tensor_name("block_11_norm_1"), _tensor_name("pool_mlp_2"), _tensor_name("norm")
    ('block_11.norm_1', 'pool.mlp_2', 'norm')
    """
    if layer.startswith("block_"):
        _, number, part = layer.split("_", 2)
        return f"block_{number}.{part}"
    return f"pool.{layer.removeprefix(POOL)}" if layer.startswith(POOL) else layer


def _biases(tensors: dict[str, FloatArray], shape: VitShape, patches: int) -> FloatArray:
    """`(tokens, width)`: what is added to each token, of which position embeddings are a part."""
    position = tensors["position"].reshape(-1, shape.width)
    own = int(shape.has_class_token)
    biases = resampled(position[own:], patches, smooth=shape.kind == "vit") + tensors["patch.bias"]
    return np.concatenate([position[:own] + tensors["class_token"][0], biases]) if own else biases


def _scores_kernel(tensors: dict[str, FloatArray], shape: VitShape) -> FloatArray:
    """`(width, heads)`: keys times the query, so that only the tokens are left to multiply."""
    each = shape.width // shape.heads
    query = tensors["pool.query.weight"] @ tensors["pool.probe"].reshape(-1) + tensors["pool.query.bias"]
    keys = tensors["pool.key.weight"].reshape(shape.heads, each, shape.width)
    kernel = np.einsum("hkd,hk->dh", keys, query.reshape(shape.heads, each) / np.sqrt(each))
    return np.asarray(kernel, np.float32)  # the keys' bias adds the same to all scores of a head


def resampled(positions: FloatArray, side: int, *, smooth: bool) -> FloatArray:
    """Resample position embeddings to another grid as PyTorch does: bicubic, corners not aligned.

    Args:
        positions: `(grid * grid, width)`, row by row.
        side: patches a side of the new grid.
        smooth: average over more embeddings where the new grid is coarser (`antialias`).

    Returns:
        `(side * side, width)`; `positions` itself if the grid is the same.
    """
    grid = int(np.sqrt(len(positions)))
    if grid == side:
        return positions
    matrix = _bicubic(grid, side, smooth=smooth)
    values = np.einsum("ri,cj,ijd->rcd", matrix, matrix, positions.reshape(grid, grid, -1), optimize=True)
    return np.asarray(values.reshape(side * side, -1), np.float32)


def _bicubic(source: int, target: int, *, smooth: bool) -> npt.NDArray[np.float64]:
    """`(target, source)` weights of each old place for each new one."""
    centres = (np.arange(target) + 0.5) * source / target - 0.5
    stretch = max(source / target, 1.0) if smooth else 1.0
    reach = int(np.ceil(2 * stretch)) + 1
    places = np.floor(centres)[:, None].astype(int) + np.arange(-reach, reach + 1)
    distance, a = np.abs(places - centres[:, None]) / stretch, _CUBIC[smooth]
    near = ((a + 2) * distance - (a + 3)) * distance**2 + 1
    far = a * (((distance - 5) * distance + 8) * distance - 4)
    weights = np.where(distance <= 1, near, np.where(distance < 2, far, 0.0))
    if smooth:  # what lies outside is left out; else the edge is repeated
        weights[(places < 0) | (places >= source)] = 0.0
    weights /= weights.sum(1, keepdims=True)
    matrix = np.zeros((target, source))
    np.add.at(matrix, (np.arange(target)[:, None], places.clip(0, source - 1)), weights)
    return matrix
