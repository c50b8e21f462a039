"""Small Vision Transformers of random numbers, under the names of each maker's files, and a forward pass in NumPy.

The forward pass takes all it needs from the tensors; it knows neither Keras nor the names that the reader uses.
"""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file
from scipy.special import erf, softmax

from search.data.vit_file import VitShape
from spaces.backbones import BACKBONES, Backbone

WIDTH, DEPTH, HEADS = 24, 2, 3

Tensors = dict[str, np.ndarray]


def small(name: str) -> Backbone:
    """The card of a backbone with two narrow blocks."""
    sizes = dict(BACKBONES[name].options) | {"width": WIDTH, "depth": DEPTH, "heads": HEADS}
    card = replace(
        BACKBONES[name],
        options=tuple(sizes.items()),
        features=WIDTH,
        middle_features=WIDTH,
        last_block=f"block_{DEPTH - 1}",
    )
    return replace(card, weights=weights_of(card))


def weights_of(card: Backbone) -> int:
    """Number of weights of its Keras network for images of 224 pixels."""
    sizes = {name: int(size) for name, size in card.options}
    width, patch = sizes["width"], sizes["patch"]
    rows = 3 * patch**2 + (224 // patch) ** 2 + (card.builder != "siglip2")
    block = 12 * width**2 + 13 * width + (2 * width if card.builder == "dinov2" else 0)
    pool = 10 * width**2 + (sizes["heads"] + 9) * width if card.builder == "siglip2" else 0
    return rows * width + sizes["depth"] * block + 2 * width + pool


def random_tensors(shape: VitShape, seed: int = 0) -> Tensors:
    """Tensors as in a maker's file, of which signals and attention are neither flat nor saturated."""
    rng = np.random.default_rng(seed)
    width, patch, tensors = shape.width, shape.patch, {}

    def put(name: str, *size: int, about: float = 0.0, deviation: float = 0.3) -> None:
        tensors[name] = rng.normal(about, deviation, size).astype(np.float32)

    def layer(name: str, out: int, *of: int, dot: str = ".") -> None:
        put(f"{name}{dot}weight", out, *of, deviation=1.5 / math.sqrt(math.prod(of)))
        put(f"{name}{dot}bias", out)

    def norm(name: str) -> None:
        put(f"{name}.weight", width, about=1.0)
        put(f"{name}.bias", width)

    tokens = shape.grid**2
    match shape.kind:
        case "dinov2":
            put("embeddings.cls_token", 1, 1, width)
            put("embeddings.mask_token", 1, width)
            put("embeddings.position_embeddings", 1, tokens + 1, width)
            layer("embeddings.patch_embeddings.projection", width, 3, patch, patch)
            norm("layernorm")
            block, norms = "encoder.layer.", ("norm1", "norm2")
            square = [f"attention.{name}" for name in ("attention.query", "attention.key", "attention.value")]
            square.append("attention.output.dense")
        case "vit":
            put("cls_token", 1, 1, width)
            put("pos_embed", 1, tokens + 1, width)
            layer("patch_embed.proj", width, 3, patch, patch)
            norm("norm")
            layer("head", 5, width)
            block, norms, square = "blocks.", ("norm1", "norm2"), ["attn.proj"]
        case "siglip2":
            put("vision_model.embeddings.position_embedding.weight", tokens, width)
            layer("vision_model.embeddings.patch_embedding", width, 3, patch, patch)
            norm("vision_model.post_layernorm")
            put("vision_model.head.probe", 1, 1, width, deviation=2.0)
            layer("vision_model.head.attention.in_proj", 3 * width, width, dot="_")
            layer("vision_model.head.attention.out_proj", width, width)
            norm("vision_model.head.layernorm")
            layer("vision_model.head.mlp.fc1", 4 * width, width)
            layer("vision_model.head.mlp.fc2", width, 4 * width)
            put("logit_scale", 1)
            put("text_model.embeddings.token_embedding.weight", 7, width)
            block, norms = "vision_model.encoder.layers.", ("layer_norm1", "layer_norm2")
            square = [f"self_attn.{name}_proj" for name in ("q", "k", "v", "out")]
    for number in range(shape.depth):
        for name in norms:
            norm(f"{block}{number}.{name}")
        for name in square:
            layer(f"{block}{number}.{name}", width, width)
        if shape.kind == "vit":
            layer(f"{block}{number}.attn.qkv", 3 * width, width)
        if shape.kind == "dinov2":
            put(f"{block}{number}.layer_scale1.lambda1", width, about=0.5)
            put(f"{block}{number}.layer_scale2.lambda1", width, about=0.5)
        layer(f"{block}{number}.mlp.fc1", 4 * width, width)
        layer(f"{block}{number}.mlp.fc2", width, 4 * width)
    return tensors


def put_vit(path: Path, shape: VitShape, seed: int = 0) -> Tensors:
    """Write such a file, and return its tensors."""
    tensors = random_tensors(shape, seed)
    save_file(tensors, path)
    return tensors


def forward(tensors: Tensors, shape: VitShape, pixels: np.ndarray, positions: np.ndarray | None = None) -> Any:
    """Patches `(n, patches, patches, width)` and whole `(n, width)` of preprocessed images `(n, side, side, 3)`.

    `positions` replaces the position embeddings of the patches where the grid is another than that of the file.
    """
    t = {name.removeprefix("vision_model."): np.asarray(values, np.float64) for name, values in tensors.items()}

    def dense(x: np.ndarray, name: str, dot: str = ".") -> np.ndarray:
        return x @ t[f"{name}{dot}weight"].T + t[f"{name}{dot}bias"]

    def norm(x: np.ndarray, name: str) -> np.ndarray:
        centred = x - x.mean(-1, keepdims=True)
        return centred / np.sqrt(x.var(-1, keepdims=True) + 1e-6) * t[f"{name}.weight"] + t[f"{name}.bias"]

    def gelu(x: np.ndarray) -> np.ndarray:
        if shape.kind == "siglip2":
            return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
        return 0.5 * x * (1 + erf(x / math.sqrt(2)))

    def attended(q: np.ndarray, k: np.ndarray, v: np.ndarray) -> np.ndarray:
        size = shape.width // shape.heads
        parts = [slice(first, first + size) for first in range(0, shape.width, size)]
        return np.concatenate(
            [softmax(q[..., p] @ k[..., p].swapaxes(1, 2) / math.sqrt(size), -1) @ v[..., p] for p in parts], -1
        )

    side, patch = pixels.shape[1] // shape.patch, shape.patch
    names = {
        "dinov2": ("embeddings.patch_embeddings.projection", "embeddings.position_embeddings", "embeddings.cls_token"),
        "vit": ("patch_embed.proj", "pos_embed", "cls_token"),
        "siglip2": ("embeddings.patch_embedding", "embeddings.position_embedding.weight", None),
    }[shape.kind]
    x = np.stack(
        [
            np.einsum("nijc,dcij->nd", pixels[:, r : r + patch, c : c + patch], t[f"{names[0]}.weight"])
            for r in range(0, side * patch, patch)
            for c in range(0, side * patch, patch)
        ],
        axis=1,
    )
    x = x + t[f"{names[0]}.bias"]
    own = t[names[1]].reshape(-1, shape.width)
    if names[2]:
        x = x + (own[1:] if positions is None else positions)
        x = np.concatenate([np.repeat(t[names[2]] + own[:1], len(x), axis=0), x], axis=1)
    else:
        x = x + (own if positions is None else positions)
    for number in range(shape.depth):
        match shape.kind:
            case "dinov2":
                at = f"encoder.layer.{number}."
                y = norm(x, f"{at}norm1")
                inner = [dense(y, f"{at}attention.attention.{part}") for part in ("query", "key", "value")]
                x = x + dense(attended(*inner), f"{at}attention.output.dense") * t[f"{at}layer_scale1.lambda1"]
                y = gelu(dense(norm(x, f"{at}norm2"), f"{at}mlp.fc1"))
                x = x + dense(y, f"{at}mlp.fc2") * t[f"{at}layer_scale2.lambda1"]
            case "vit":
                at = f"blocks.{number}."
                inner = np.split(dense(norm(x, f"{at}norm1"), f"{at}attn.qkv"), 3, axis=-1)
                x = x + dense(attended(*inner), f"{at}attn.proj")
                x = x + dense(gelu(dense(norm(x, f"{at}norm2"), f"{at}mlp.fc1")), f"{at}mlp.fc2")
            case "siglip2":
                at = f"encoder.layers.{number}."
                y = norm(x, f"{at}layer_norm1")
                inner = [dense(y, f"{at}self_attn.{part}_proj") for part in "qkv"]
                x = x + dense(attended(*inner), f"{at}self_attn.out_proj")
                x = x + dense(gelu(dense(norm(x, f"{at}layer_norm2"), f"{at}mlp.fc1")), f"{at}mlp.fc2")
    x = norm(x, {"dinov2": "layernorm", "vit": "norm", "siglip2": "post_layernorm"}[shape.kind])
    if shape.kind == "siglip2":
        weights, biases = np.split(t["head.attention.in_proj_weight"], 3), np.split(t["head.attention.in_proj_bias"], 3)
        probe = np.repeat(t["head.probe"], len(x), axis=0)
        inner = [y @ w.T + b for y, w, b in zip((probe, x, x), weights, biases, strict=True)]
        whole = dense(attended(*inner), "head.attention.out_proj")
        whole = whole + dense(gelu(dense(norm(whole, "head.layernorm"), "head.mlp.fc1")), "head.mlp.fc2")
        return x.reshape(len(x), side, side, -1), whole[:, 0]
    return x[:, 1:].reshape(len(x), side, side, -1), x[:, 0]
