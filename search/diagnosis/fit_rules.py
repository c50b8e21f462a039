"""Rules for faults in how a network is trained: step size, clipping, regularization, augmentation, class weights."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Final

from search.causes import Cause
from search.diagnosis.evidence import Anatomy, DataSample, LayerInfo
from search.diagnosis.structure import weighted

HELD_OUT: Final = 0.25  # share of the images that is held out

RATES: Final[Mapping[str, tuple[float, float]]] = {
    "SGD": (2e-4, 1.0),  # divided by 1 - momentum
    "Adagrad": (2e-3, 0.5),
    "Adadelta": (0.03, 10.0),
    "Lion": (1e-6, 2e-3),
    "Ftrl": (1e-3, 1.0),
    "Adafactor": (1e-5, 0.1),
}
"""Class name of an optimizer -> lowest and highest learning rate with which it trains small networks."""
ADAPTIVE_RATES: Final = (2e-5, 0.015)  # Adam and its relatives, RMSprop

_HARSH: Final[Mapping[str, tuple[str, float, float]]] = {  # layer -> setting, value from which on, score
    "RandomBrightness": ("factor", 0.7, 0.6),
    "RandomContrast": ("factor", 0.9, 0.5),
    "RandomRotation": ("factor", 0.35, 0.4),
    "RandomTranslation": ("height_factor", 0.45, 0.6),
    "RandomZoom": ("height_factor", 0.6, 0.6),
    "RandomShear": ("x_factor", 0.6, 0.5),
    "RandomErasing": ("scale", 0.5, 0.6),
    "RandomInvert": ("factor", 0.3, 0.5),
    "RandomPerspective": ("scale", 0.9, 0.4),
    "RandomPosterization": ("factor", 1.0, 0.3),
    "RandomGaussianBlur": ("sigma", 4.0, 0.5),
}


def training(anatomy: Anatomy, material: DataSample) -> Iterator[Cause]:
    """Yield suspected causes in how the network is trained."""
    yield from _rate(anatomy)
    yield from _clipping(anatomy, material)
    yield from _summed(anatomy)
    yield from _dropout(anatomy)
    yield from _penalty(anatomy)
    yield from _augmentation(anatomy, material)
    yield from _momentum(anatomy, material)
    yield from _classes(material)


def steps(material: DataSample) -> int:
    """Return the number of optimizer steps of one fit."""
    return math.ceil(material.images * (1 - HELD_OUT) / material.batch_size) * material.epochs


def sane_rates(optimizer: str, momentum: float) -> tuple[float, float]:
    """Return the lowest and highest usual learning rate of an optimizer.

    Args:
        optimizer: class name of the Keras optimizer.
        momentum: momentum of SGD, 0 to less than 1; ignored for other optimizers.
    """
    low, high = RATES.get(optimizer, ADAPTIVE_RATES)
    return (low * (1 - momentum), high * (1 - momentum)) if optimizer == "SGD" else (low, high)


def _rate(anatomy: Anatomy) -> Iterator[Cause]:
    how = anatomy.compilation
    low, high = sane_rates(how.optimizer, how.momentum)
    evidence: dict[str, float | str] = {"learning_rate": how.learning_rate, "optimizer": how.optimizer}
    if how.learning_rate > high / 5:
        over = math.log10(how.learning_rate / high) if how.learning_rate > 0 else 0.0
        score = min(0.97, 0.6 + 0.25 * over) if over > 0 else 0.3
        yield Cause(code="lr-too-high", score=score, evidence={**evidence, "usual_highest": high})
    elif how.learning_rate < low * 5:
        under = math.log10(low / how.learning_rate) if how.learning_rate > 0 else 9.0
        score = min(0.97, 0.6 + 0.2 * under) if under > 0 else 0.3
        yield Cause(code="lr-too-low", score=score, evidence={**evidence, "usual_lowest": low})


def _clipping(anatomy: Anatomy, material: DataSample) -> Iterator[Cause]:
    """Compare how far clipped gradients can move a kernel in the whole fit with the size of its initial weights."""
    how = anatomy.compilation
    norms = [limit for limit in (how.clipnorm, how.global_clipnorm) if limit]
    if how.clipvalue:
        largest = max((layer.parameters for layer in weighted(anatomy) if layer.trainable), default=1)
        norms.append(how.clipvalue * math.sqrt(largest))
    if not norms:
        return
    if how.optimizer == "SGD":
        farthest = min(norms) * how.learning_rate / (1 - min(how.momentum, 0.99)) * steps(material)
        score = 0.93 if farthest < 0.5 else 0.6 if farthest < 2 else 0.0
    else:  # adaptive rates divide by the gradient's size: only its epsilon sets an end to that
        farthest = min(norms)
        score = 0.9 if farthest < 1e-5 else 0.4 if farthest < 1e-3 else 0.0
    if score:
        yield Cause(code="clipnorm-too-small", score=score, evidence={"limit": min(norms), "largest_way": farthest})


def _summed(anatomy: Anatomy) -> Iterator[Cause]:
    if anatomy.compilation.reduction == "sum":
        score = 0.85 if anatomy.compilation.optimizer in ("SGD", "Adagrad") else 0.4
        yield Cause(code="sum-not-mean-loss", score=score, evidence={"reduction": "sum"})


def _dropout(anatomy: Anatomy) -> Iterator[Cause]:
    drops = [layer for layer in anatomy.layers if layer.rate]
    if not drops:
        return
    worst = max(drops, key=lambda layer: layer.rate or 0.0)
    rate = worst.rate or 0.0
    passed = math.prod(1 - (layer.rate or 0.0) for layer in drops)
    score = 0.95 if rate >= 0.9 else 0.85 if rate >= 0.8 else 0.55 if rate >= 0.7 or passed < 0.05 else 0.0
    if rate >= 0.5:
        score = max(score, 0.3)
    if score:
        yield Cause(
            code="too-much-dropout", score=score, layer=worst.name, evidence={"rate": rate, "kept_through_all": passed}
        )


def _penalty(anatomy: Anatomy) -> Iterator[Cause]:
    penalized = [layer for layer in weighted(anatomy) if (layer.l1 or layer.l2) and layer.trainable]
    decay = anatomy.compilation.weight_decay or 0.0
    if penalized:
        worst = max(penalized, key=lambda layer: layer.l1 * 10 + layer.l2)
        strength = worst.l1 * 10 + worst.l2
        score = 0.9 if strength >= 0.3 else 0.75 if strength >= 0.05 else 0.4 if strength >= 0.008 else 0.0
        if score:
            yield Cause(code="too-strong-l2", score=score, layer=worst.name, evidence={"l1": worst.l1, "l2": worst.l2})
    if decay * anatomy.compilation.learning_rate > 2e-3 or decay >= 1:
        yield Cause(code="too-strong-l2", score=0.7, evidence={"weight_decay": decay})


def _augmentation(anatomy: Anatomy, material: DataSample) -> Iterator[Cause]:
    low, high = material.low, material.high
    worst: tuple[float, LayerInfo, dict[str, float | str]] | None = None
    for layer in anatomy.layers:
        if layer.scale is not None:
            low, high = sorted((low * layer.scale + (layer.offset or 0), high * layer.scale + (layer.offset or 0)))
        if not layer.augmentation:
            continue
        score, evidence = _harshness(layer, high - low)
        if worst is None or score > worst[0]:
            worst = (score, layer, evidence)
    if worst is not None and worst[0]:
        yield Cause(code="excessive-augmentation", score=worst[0], layer=worst[1].name, evidence=worst[2])


def _harshness(layer: LayerInfo, spread: float) -> tuple[float, dict[str, float | str]]:
    settings = layer.augmentation
    expected = settings.get("value_range")
    if isinstance(expected, float) and expected > 10 * max(spread, 1e-9) and layer.kind != "RandomContrast":
        return 0.85, {"value_range": expected, "range_of_the_images": spread}
    if layer.kind == "GaussianNoise":
        deviation = settings.get("stddev", 0.0)
        ratio = float(deviation) / max(spread, 1e-9)
        return (0.85 if ratio > 0.8 else 0.55 if ratio > 0.4 else 0.0), {"noise_to_range": ratio}
    setting, limit, score = _HARSH.get(layer.kind, ("factor", math.inf, 0.0))
    values = [abs(v) for k, v in settings.items() if isinstance(v, float) and (k == setting or k.endswith("factor"))]
    value = max(values, default=0.0)
    if value >= limit:
        return min(0.9, score + (0.25 if value >= 1.3 * limit else 0.0)), {setting: value}
    return 0.15, {setting: value}


def _momentum(anatomy: Anatomy, material: DataSample) -> Iterator[Cause]:
    norms = [layer for layer in anatomy.layers if layer.momentum is not None and layer.trainable]
    if not norms:
        return
    slowest = max(norms, key=lambda layer: layer.momentum or 0.0)
    stale = (slowest.momentum or 0.0) ** steps(material)
    if stale > 0.03:
        score = 0.8 if stale > 0.3 else 0.6 if stale > 0.1 else 0.35
        yield Cause(
            code="batchnorm-momentum", score=score, layer=slowest.name,
            evidence={"momentum": slowest.momentum or 0.0, "share_of_initial_statistics": stale},
        )  # fmt: skip


def _classes(material: DataSample) -> Iterator[Cause]:
    counts = list(material.classes.values())
    if not counts or min(counts) == 0:
        return
    ratio = max(counts) / min(counts)
    evidence: dict[str, float | str] = {"largest_to_smallest_class": ratio}
    weights = material.class_weight
    if weights is None:
        if ratio >= 3:
            yield Cause(code="majority-class", score=min(0.5, 0.2 + 0.25 * math.log10(ratio)), evidence=evidence)
        return
    pull = [count * weights.get(i, 1.0) for i, count in enumerate(counts)]
    skew = max(pull) / max(min(pull), 1e-12)
    if skew >= 3 and skew > ratio:
        score = 0.9 if skew >= 10 * ratio or skew >= 100 else 0.65
        yield Cause(code="majority-class", score=score, evidence={**evidence, "weighted_ratio": skew})
    elif skew >= 5:
        yield Cause(code="majority-class", score=0.3, evidence={**evidence, "weighted_ratio": skew})
