"""Recorder of a Keras network's forward pass: inputs and outputs of all layers, including those of nested models."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np


@dataclass(frozen=True, slots=True)
class Leaf:
    """A layer that is not a model, and the nested models that contain it."""

    key: str  # unique name: the layer's name, preceded by those of its models if it alone is not unique
    path: tuple[str, ...]  # names of the nested models that contain it, outermost first
    layer: Any  # keras.Layer


@dataclass(frozen=True, slots=True)
class Step:
    """One call of a layer."""

    leaf: Leaf
    inputs: tuple[Any, ...]  # input tensors
    output: Any  # output tensor
    sources: tuple[str, ...]  # keys of the layers whose outputs are the inputs, if known


def leaves(model: Any) -> tuple[Leaf, ...]:
    """Return all layers of a model and its nested models, without input layers, in Keras' order."""
    layers = list(_walk(model, ()))
    names = [layer.name for _, layer in layers]
    return tuple(
        Leaf(layer.name if names.count(layer.name) == 1 else "/".join((*path, layer.name)), path, layer)
        for path, layer in layers
    )


def _walk(model: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    for layer in model.layers:
        if getattr(layer, "layers", None):
            yield from _walk(layer, (*path, layer.name))
        elif not isinstance(layer, keras.layers.InputLayer):
            yield path, layer


def record(model: Any, images: Any, *, training: bool = False) -> tuple[Any, tuple[Step, ...]]:
    """Call the model eagerly on images, and record the calls of its layers.

    Args:
        model: Keras model.
        images: `(n, h, w, c)` float32.
        training: whether the model is called in training mode.

    Returns:
        The model's output, and the calls of its layers in order. A layer that is called twice has two steps.
    """
    steps: list[Step] = []
    made_by: dict[int, str] = {}  # tensors stay alive in `steps`, so their ids are unique
    all_leaves = leaves(model)
    for leaf in all_leaves:
        leaf.layer.call = _Wrapped(leaf, leaf.layer.call, steps, made_by)
    try:
        output = model(images, training=training)
    finally:
        for leaf in all_leaves:
            del leaf.layer.call
    return output, tuple(steps)


class _Wrapped:
    """A layer's `call` that notes what goes in and what comes out."""

    def __init__(self, leaf: Leaf, call: Any, steps: list[Step], made_by: dict[int, str]) -> None:
        self._leaf, self._call, self._steps, self._made_by = leaf, call, steps, made_by

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        output = self._call(*args, **kwargs)
        tensors = tuple(t for a in args for t in (a if isinstance(a, (list, tuple)) else (a,)) if hasattr(t, "shape"))
        if hasattr(output, "shape"):
            sources = tuple(self._made_by[id(t)] for t in tensors if id(t) in self._made_by)
            self._steps.append(Step(self._leaf, tensors, output, sources))
            # A layer that hands its input on makes nothing new, but what follows is fed by it.
            self._made_by[id(output)] = self._leaf.key
        return output


def array(tensor: Any) -> np.ndarray:
    """Convert a tensor or variable to a float64 NumPy array."""
    return np.asarray(tensor.numpy() if hasattr(tensor, "numpy") else tensor, np.float64)


def kernel_of(layer: Any) -> Any | None:
    """Return the kernel variable of a layer; None if it has no kernel."""
    for name in ("kernel", "_kernel", "depthwise_kernel", "pointwise_kernel"):
        variable = getattr(layer, name, None)
        if variable is not None:
            return variable
    return None


def kernels(model: Any) -> Mapping[str, Any]:
    """Return a dictionary from layer key to kernel variable, for the layers of a model that have one."""
    return {leaf.key: kernel for leaf in leaves(model) if (kernel := kernel_of(leaf.layer)) is not None}
