"""Tensors of a Vision Transformer, under one set of names, from safetensors files of several makers.

The tensors are named `patch.weight`, `position`, `class_token`, `block_0.norm_1.weight`, ..., `norm.weight`, and have
the shapes that PyTorch gives them: `(out, in)` for dense layers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np

from search.arrays import FloatArray
from search.data.safetensors_file import SafetensorsFileError, read_safetensors, safetensors_shapes
from spaces.backbones import Backbone

Kind = Literal["dinov2", "vit", "siglip2"]
_MLP: Final = 4  # times the width has the hidden layer of a block
_PARTS: Final = ("weight", "bias")
_QKV: Final = ("query", "key", "value")


@dataclass(frozen=True, kw_only=True, slots=True)
class VitShape:
    """Sizes of a Vision Transformer.

    Attributes:
        kind: maker's variant of the network, and of the names in its files.
        width: numbers of each token.
        depth: number of blocks.
        heads: attention heads of a block.
        patch: side of a patch, in pixels.
        grid: patches a side of the images that it was trained on.
    """

    kind: Kind
    width: int
    depth: int
    heads: int
    patch: int
    grid: int

    @property
    def has_class_token(self) -> bool:
        """Whether a token that belongs to no patch stands before the others; SigLIP pools by attention instead."""
        return self.kind != "siglip2"

    @property
    def has_layer_scale(self) -> bool:
        """Whether each channel of what a block adds is multiplied by a learned factor."""
        return self.kind == "dinov2"

    @classmethod
    def of(cls, backbone: Backbone) -> VitShape:
        """Return the sizes on the card of a Vision Transformer."""
        sizes: dict[str, Any] = dict(backbone.options)
        return cls(kind=backbone.builder, **sizes)  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class _Names:
    """Names in a maker's files: our name without "block_{n}" -> theirs, and beginnings of tensors that are not used."""

    block: str
    in_block: Mapping[str, str]
    others: Mapping[str, str]
    unused: tuple[str, ...]


_NAMES: Final[dict[Kind, _Names]] = {
    "dinov2": _Names(
        "encoder.layer.{}.",
        {
            "norm_1": "norm1",
            **{part: f"attention.attention.{part}" for part in _QKV},
            "output": "attention.output.dense",
            "scale_1": "layer_scale1.lambda1",
            "norm_2": "norm2",
            "mlp_1": "mlp.fc1",
            "mlp_2": "mlp.fc2",
            "scale_2": "layer_scale2.lambda1",
        },
        {
            "patch": "embeddings.patch_embeddings.projection",
            "position": "embeddings.position_embeddings",
            "class_token": "embeddings.cls_token",
            "norm": "layernorm",
        },
        ("embeddings.mask_token",),
    ),
    "vit": _Names(
        "blocks.{}.",
        {
            "norm_1": "norm1",
            "qkv": "attn.qkv",
            "output": "attn.proj",
            "norm_2": "norm2",
            "mlp_1": "mlp.fc1",
            "mlp_2": "mlp.fc2",
        },
        {"patch": "patch_embed.proj", "position": "pos_embed", "class_token": "cls_token", "norm": "norm"},
        ("head.",),
    ),
    "siglip2": _Names(
        "vision_model.encoder.layers.{}.",
        {
            "norm_1": "layer_norm1",
            "query": "self_attn.q_proj",
            "key": "self_attn.k_proj",
            "value": "self_attn.v_proj",
            "output": "self_attn.out_proj",
            "norm_2": "layer_norm2",
            "mlp_1": "mlp.fc1",
            "mlp_2": "mlp.fc2",
        },
        {
            "patch": "vision_model.embeddings.patch_embedding",
            "position": "vision_model.embeddings.position_embedding.weight",
            "norm": "vision_model.post_layernorm",
            "pool.probe": "vision_model.head.probe",
            "pool.qkv": "vision_model.head.attention.in_proj_",
            "pool.output": "vision_model.head.attention.out_proj",
            "pool.norm": "vision_model.head.layernorm",
            "pool.mlp_1": "vision_model.head.mlp.fc1",
            "pool.mlp_2": "vision_model.head.mlp.fc2",
        },
        ("text_model.", "logit_"),
    ),
}


def check_vit_file(path: Path, shape: VitShape) -> None:
    """Check by its header that a file holds the weights of a network, and no others.

    Raises:
        SafetensorsFileError: it does not, or the file is damaged.
        OSError: the file can't be read.
    """
    held = safetensors_shapes(path)
    expected = dict(_expected(shape).values())
    unused = _NAMES[shape.kind].unused
    for name, size in expected.items():
        if name not in held:
            raise SafetensorsFileError(f"expected a tensor {name}, got none among {len(held)}")
        if held[name] != size:
            raise SafetensorsFileError(f"expected the tensor {name} with the shape {size}, got {held[name]}")
    for name in held:
        if name not in expected and not name.startswith(unused):
            raise SafetensorsFileError(f"expected the tensors of the network only, got also {name[:80]!r}")


def read_vit_file(path: Path, shape: VitShape) -> dict[str, FloatArray]:
    """Read the weights of a network. Query, key and value are separate tensors, whatever they are in the file.

    Raises:
        SafetensorsFileError: the file does not hold the weights of this network, or is damaged.
        OSError: the file can't be read.
    """
    check_vit_file(path, shape)
    expected = _expected(shape)
    arrays = read_safetensors(path, [theirs for theirs, _ in expected.values()])
    tensors = {}
    for name, (theirs, _) in expected.items():
        before, qkv, part = name.rpartition("qkv.")
        if qkv:
            thirds = np.split(arrays[theirs], len(_QKV))
            tensors.update({f"{before}{each}.{part}": third for each, third in zip(_QKV, thirds, strict=True)})
        else:
            tensors[name] = arrays[theirs]
    return tensors


def _expected(shape: VitShape) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Our name of each tensor -> its name in the file, and its shape."""
    names = _NAMES[shape.kind]
    both = dict(names.others)
    for number in range(shape.depth):
        both |= {
            f"block_{number}.{name}": names.block.format(number) + theirs for name, theirs in names.in_block.items()
        }
    expected = {}
    for name, theirs in both.items():
        sizes = _sizes(name, shape)
        if len(sizes) == 1:
            expected[name] = theirs, sizes[0]
        else:
            between = "" if theirs.endswith("_") else "."  # PyTorch: in_proj_weight
            expected |= {
                f"{name}.{part}": (f"{theirs}{between}{part}", size) for part, size in zip(_PARTS, sizes, strict=True)
            }
    return expected


def _sizes(name: str, shape: VitShape) -> list[tuple[int, ...]]:
    """Shape of a single tensor, or of the weight and the bias of a layer."""
    width, hidden = shape.width, _MLP * shape.width
    match name.rpartition(".")[2]:
        case "patch":
            return [(width, 3, shape.patch, shape.patch), (width,)]
        case "position":
            tokens = shape.grid**2 + shape.has_class_token
            return [(1, tokens, width) if shape.has_class_token else (tokens, width)]
        case "class_token" | "probe":
            return [(1, 1, width)]
        case "scale_1" | "scale_2":
            return [(width,)]
        case "norm" | "norm_1" | "norm_2":
            return [(width,), (width,)]
        case "qkv":
            return [(3 * width, width), (3 * width,)]
        case "mlp_1":
            return [(hidden, width), (hidden,)]
        case "mlp_2":
            return [(width, hidden), (width,)]
        case _:  # query, key, value, output
            return [(width, width), (width,)]
