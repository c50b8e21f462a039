"""Measurements of one epoch of training, as values that can be read without TensorFlow."""

from __future__ import annotations

from dataclasses import dataclass

from search.arrays import FloatArray


@dataclass(frozen=True, slots=True)
class LayerProbe:
    """Measurements of each layer on the fixed probe images."""

    layers: FloatArray  # (weight layers, signals) as `fit_checks.LAYER_SIGNALS`; NaN where not measured
    logits: FloatArray  # (probe images, K), BatchNorm by the images' own statistics, dropout off


@dataclass(frozen=True, slots=True)
class EpochSums:
    """Measurements of one pass over the training images, taken at next to no cost."""

    loss: float  # plain cross-entropy, mean over the images shown, nats
    first_gradient: float  # largest norm over the steps
    last_gradient: float
    update_ratio: float  # |change of the first kernel over the epoch| / |kernel| / steps
    finite: bool
    probe: LayerProbe | None = None
