"""What a fit is asked, what an epoch gives, what comes of it: values that the coordinator reads without TensorFlow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from search.arrays import FloatArray, IntArray
from search.fit_checks import LAYER_SIGNALS, Check, Collapse
from search.records import Verdict


@dataclass(frozen=True, slots=True)
class LayerProbe:
    """What the layers tell on the fixed probe images."""

    layers: FloatArray  # (weight layers, signals) as `checks.LAYER_SIGNALS`; NaN where not measured
    logits: FloatArray  # (probe images, K), BatchNorm by the images' own statistics, dropout off


@dataclass(frozen=True, slots=True)
class EpochSums:
    """What one pass over the training images gives, at next to no cost."""

    loss: float  # plain cross-entropy, mean over the images shown, nats
    first_gradient: float  # largest norm over the steps
    last_gradient: float
    update_ratio: float  # |change of the first kernel over the epoch| / |kernel| / steps
    finite: bool
    probe: LayerProbe | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class FitTask:
    """What to train on and for how long. Rows index all images; `val` may be empty."""

    labels: IntArray  # (n,) of all images
    classes: int
    train: IntArray
    val: IntArray
    seed: int
    epochs: int
    limit_seconds: float | None = None  # a fit that will take longer is stopped as too slow
    bars: tuple[tuple[int, float], ...] = ()  # by epoch, the least skill that a fit must have had to go on


@dataclass(frozen=True, kw_only=True, slots=True)
class FitOutcome:
    """How a fit ended and what it measured."""

    verdict: Verdict
    reason: str | None = None
    evidence: Mapping[str, float] = field(default_factory=dict)
    epochs: int
    seconds: float
    score: float | None = None
    loss: float | None = None
    skill: float | None = None
    audit: Collapse | None = None
    checks: tuple[Check, ...] = ()
    start: Mapping[str, float] = field(default_factory=dict)
    layers: FloatArray = field(default_factory=lambda: np.zeros((0, 0, len(LAYER_SIGNALS)), np.float32))
    shares: FloatArray = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    probabilities: FloatArray = field(default_factory=lambda: np.zeros((0, 0), np.float32))  # of `val`
