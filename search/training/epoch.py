"""Records of the measurements of one training epoch. Needs no TensorFlow."""

from __future__ import annotations

from dataclasses import dataclass

from search.arrays import FloatArray


@dataclass(frozen=True, slots=True)
class LayerProbe:
    """Measurements of each layer on the fixed probe images."""

    layers: FloatArray  # (weight layers, signals), one column per name in `fit_checks.LAYER_SIGNALS`; NaN: not measured
    logits: FloatArray  # (probe images, K), with BatchNorm by the statistics of these images, without dropout


@dataclass(frozen=True, slots=True)
class EpochSums:
    """Measurements of one epoch over the training images, at negligible cost."""

    loss: float  # mean cross-entropy in nats, without class weights and smoothing
    first_gradient: float  # largest norm over the steps of the first kernel's gradient
    last_gradient: float  # the same of the last kernel's gradient
    update_ratio: float  # |change of the first kernel over the epoch| / |kernel| / steps
    finite: bool  # whether loss, gradients and weights are finite
    probe: LayerProbe | None = None  # None: not measured
