"""Queries on the description of a network: layers, activations, the head, the range of the pixels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from search.diagnosis.evidence import Anatomy, DataSample, LayerInfo

NORMALIZATIONS: Final = ("BatchNormalization", "LayerNormalization", "GroupNormalization", "UnitNormalization",
                         "SpectralNormalization", "Normalization")  # fmt: skip
RELU_LIKE: Final = ("relu", "relu6", "leaky_relu", "elu", "selu", "gelu", "silu", "swish", "mish", "celu", "softplus")
SATURATING: Final = ("sigmoid", "hard_sigmoid", "tanh", "hard_tanh", "softsign", "softmax", "exponential")


@dataclass(frozen=True, slots=True)
class Head:
    """The end of a network: the last layer with a kernel, and the activations from there to the output."""

    layer: LayerInfo | None  # None if no layer has a kernel
    activations: tuple[tuple[str, str], ...]  # (layer name, activation) in order, without linear ones
    last: bool  # whether the output layer itself has an activation

    @property
    def activation(self) -> str:
        """Name of the last activation; "linear" if there is none."""
        return self.activations[-1][1] if self.activations else "linear"


def by_name(anatomy: Anatomy) -> dict[str, LayerInfo]:
    """Return a dictionary from layer name to layer."""
    return {layer.name: layer for layer in anatomy.layers}


def weighted(anatomy: Anatomy) -> tuple[LayerInfo, ...]:
    """Return the layers with a kernel, in the order in which they are called."""
    return tuple(layer for layer in anatomy.layers if layer.initializer is not None)


def hidden(anatomy: Anatomy) -> tuple[LayerInfo, ...]:
    """Return the layers with a kernel except the head's."""
    last = head(anatomy).layer
    return tuple(layer for layer in weighted(anatomy) if layer is not last)


def head(anatomy: Anatomy) -> Head:
    """Return the end of the network, searching backwards from its output."""
    layers = by_name(anatomy)
    activations: list[tuple[str, str]] = []
    layer = layers.get(anatomy.output)
    visited: set[str] = set()
    last = bool(layer and layer.activation not in (None, "linear"))
    while layer is not None and layer.name not in visited:
        visited.add(layer.name)
        if layer.activation not in (None, "linear"):
            activations.append((layer.name, str(layer.activation)))
        if layer.initializer is not None:
            break
        layer = layers.get(layer.inputs[0]) if layer.inputs else _before(anatomy, layer)
    if layer is None:
        rest = weighted(anatomy)
        layer = rest[-1] if rest else None
    return Head(layer, tuple(reversed(activations)), last)


def _before(anatomy: Anatomy, layer: LayerInfo) -> LayerInfo | None:
    """Return the layer that is called before `layer`, for layers whose inputs are unknown."""
    place = anatomy.layers.index(layer)
    return anatomy.layers[place - 1] if place else None


def followers(anatomy: Anatomy, layer: LayerInfo) -> Iterator[LayerInfo]:
    """Yield the layers after `layer` up to the next layer with a kernel (excluded), following the first consumer."""
    current: LayerInfo | None = layer
    while current is not None:
        name = current.name
        current = next((other for other in anatomy.layers if name in other.inputs and other.name != name), None)
        if current is None or current.initializer is not None:
            return
        yield current


def activation_of(anatomy: Anatomy, layer: LayerInfo) -> str:
    """Return the first activation applied to a layer's output, its own or a following layer's; else "linear"."""
    if layer.activation not in (None, "linear"):
        return str(layer.activation)
    for other in followers(anatomy, layer):
        if other.activation not in (None, "linear"):
            return str(other.activation)
    return "linear"


def is_normalized(anatomy: Anatomy, layer: LayerInfo) -> bool:
    """Whether there is a normalization layer between `layer` and the next layer with a kernel."""
    return any(other.kind in NORMALIZATIONS for other in followers(anatomy, layer))


def pixel_range(anatomy: Anatomy, material: DataSample) -> tuple[float, float, bool]:
    """Return the lowest and highest pixel value at the first layer with a kernel, and whether they are normalized."""
    low, high = material.low, material.high
    for layer in anatomy.layers:
        if layer.initializer is not None:
            return low, high, is_normalized(anatomy, layer)
        if layer.kind in NORMALIZATIONS:
            return low, high, True
        if layer.scale is not None:
            ends = (low * layer.scale + (layer.offset or 0.0), high * layer.scale + (layer.offset or 0.0))
            low, high = min(ends), max(ends)
    return low, high, False


def peak(low: float, high: float) -> float:
    """Return the larger absolute value of two numbers."""
    return max(abs(low), abs(high))
