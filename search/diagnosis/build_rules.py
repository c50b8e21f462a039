"""Rules for faults in how a network is built: activations, initial weights, widths, the range of the pixels."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final

from search.causes import Cause
from search.diagnosis.evidence import Anatomy, DataSample, LayerInfo
from search.diagnosis.structure import (
    RELU_LIKE,
    activation_of,
    followers,
    head,
    hidden,
    is_normalized,
    peak,
    pixel_range,
    weighted,
)

CONSTANT: Final = ("Zeros", "Ones", "Constant")
RAW: Final = 20.0  # absolute pixel value above which pixels are not scaled
FADED: Final = 0.03  # absolute pixel value below which pixels are scaled twice
BORN_DEAD: Final = 0.05  # probability of dead units from which narrow ReLU layers are suspected


def construction(anatomy: Anatomy, material: DataSample) -> Iterator[Cause]:
    """Yield suspected causes in how the network is built."""
    yield from _initializers(anatomy)
    yield from _nonlinearity(anatomy)
    yield from _depth(anatomy)
    yield from _width(anatomy, material)
    yield from _pixels(anatomy, material)
    yield from _frozen(anatomy)


def second_moment(layer: LayerInfo) -> float | None:
    """Return the mean square of a layer's initial weights; None if the initializer's settings do not tell it.

    Known are RandomUniform, RandomNormal, TruncatedNormal, and VarianceScaling where its mode's fan is known: that of
    the inputs, and in a dense layer that of the outputs.
    """
    of = {k: v for k, v in layer.initializer_settings.items() if not isinstance(v, str)}
    match layer.initializer:
        case "RandomUniform":
            low, high = of.get("minval", -0.05), of.get("maxval", 0.05)
            return (low * low + low * high + high * high) / 3
        case "RandomNormal":
            return of.get("mean", 0.0) ** 2 + of.get("stddev", 0.05) ** 2
        case "TruncatedNormal":
            return of.get("mean", 0.0) ** 2 + 0.774 * of.get("stddev", 0.05) ** 2  # cut off at two deviations
        case "VarianceScaling" if fan := _fan(layer, str(layer.initializer_settings.get("mode", "fan_in"))):
            return of.get("scale", 1.0) / fan
    return None


def _fan(layer: LayerInfo, mode: str) -> float | None:
    """The fan by which `VarianceScaling` scales; None if it is unknown."""
    if mode == "fan_in" or not layer.fan_in:
        return layer.fan_in
    if layer.kind != "Dense" or not layer.units:  # the kernel's area is not recorded
        return None
    return layer.units if mode == "fan_out" else (layer.fan_in + layer.units) / 2


def gain(anatomy: Anatomy, layer: LayerInfo) -> float | None:
    """Return the standard deviation of initial weights relative to He (ReLU) or LeCun (others); None if unknown."""
    moment = second_moment(layer)
    if moment is None or not layer.fan_in:
        return None
    ideal = math.sqrt(2.0) if activation_of(anatomy, layer) in RELU_LIKE else 1.0
    return math.sqrt(moment * layer.fan_in) / ideal


def _initializers(anatomy: Anatomy) -> Iterator[Cause]:
    tied = [layer for layer in hidden(anatomy) if _is_tied(layer)]
    if tied:
        yield Cause(
            code="tied-constant-init", score=1.0, layer=tied[0].name,
            evidence={"initializer": str(tied[0].initializer), "layers": float(len(tied))},
        )  # fmt: skip
    gains = {
        layer.name: value
        for layer in weighted(anatomy)
        if layer.trainable and not is_normalized(anatomy, layer) and (value := gain(anatomy, layer)) and value > 0
    }
    if not gains:
        return
    total = sum(math.log10(value) for value in gains.values())
    worst = max(gains, key=lambda name: abs(math.log10(gains[name])))
    size = max(abs(total), abs(math.log10(gains[worst])))
    score = 0.95 if size >= 2 else 0.85 if size >= 1 else 0.5 if size >= 0.6 else 0.0
    if score:
        first = next(name for name, value in gains.items() if abs(math.log10(value)) > 0.2)
        yield Cause(
            code="bad-initializer", score=score, layer=worst if len(gains) < 3 else first,
            evidence={"signal_factor": 10**total, "worst_layer": worst, "worst_factor": gains[worst]},
        )  # fmt: skip


def _is_tied(layer: LayerInfo) -> bool:
    if not layer.trainable or (layer.units or 0) < 2:
        return False
    return layer.initializer in CONSTANT or second_moment(layer) == 0.0 or _has_no_spread(layer)


def _has_no_spread(layer: LayerInfo) -> bool:
    of = layer.initializer_settings
    if layer.initializer in ("RandomNormal", "TruncatedNormal"):
        return of.get("stddev") == 0.0
    return layer.initializer == "RandomUniform" and of.get("minval") == of.get("maxval")


def _nonlinearity(anatomy: Anatomy) -> Iterator[Cause]:
    layers = hidden(anatomy)
    if not layers or any(activation_of(anatomy, layer) != "linear" for layer in layers):
        return
    kinds = {layer.kind for layer in anatomy.layers}
    pooled = any("MaxPool" in kind for kind in kinds)  # the only non-linear thing left
    foreign = bool(kinds & {"Lambda"})  # may hold one
    score = 0.35 if foreign else 0.5 if pooled else 0.8
    yield Cause(code="no-nonlinearity", score=score, layer=layers[0].name, evidence={"layers": float(len(layers))})


def _depth(anatomy: Anatomy) -> Iterator[Cause]:
    open_layers = [layer for layer in hidden(anatomy) if layer.trainable and not is_normalized(anatomy, layer)]
    flat = [layer for layer in open_layers if activation_of(anatomy, layer) in ("sigmoid", "hard_sigmoid", "softmax")]
    tanh = [layer for layer in open_layers if activation_of(anatomy, layer) in ("tanh", "softsign", "hard_tanh")]
    inner_softmax = [layer for layer in open_layers if activation_of(anatomy, layer) == "softmax"]
    joined = any(layer.kind in ("Add", "Concatenate", "Average") and _is_residual(layer) for layer in anatomy.layers)
    score = {0: 0.0, 1: 0.0, 2: 0.3, 3: 0.5, 4: 0.7}.get(len(flat), 0.9)
    if inner_softmax:
        score = max(score, 0.6)
    if len(tanh) >= 6:
        score = max(score, 0.5)
    reason = next(iter(flat or tanh or open_layers), None)
    plain = [
        layer for layer in open_layers if activation_of(anatomy, layer) in RELU_LIKE and second_moment(layer) is None
    ]
    faded = sum(_glorot_fading(anatomy, layer) for layer in plain)
    if not joined and len(plain) >= 6:
        score = max(score, 0.64 if faded < -1.2 else 0.45 if faded < -0.7 else 0.3)
    if score and reason is not None:
        yield Cause(
            code="vanishing-gradient", score=score, layer=reason.name,
            evidence={"layers_without_normalization": float(len(open_layers)), "saturating_layers": float(len(flat)),
                      "activation": activation_of(anatomy, reason)},
        )  # fmt: skip


def _glorot_fading(anatomy: Anatomy, layer: LayerInfo) -> float:
    """Decades by which a Glorot-initialized ReLU layer lowers the signal's deviation."""
    if layer.initializer not in ("GlorotUniform", "GlorotNormal") or not layer.fan_in or not layer.units:
        return 0.0
    window = layer.fan_in if layer.kind != "Dense" else 1
    channels = max(1, (_channels_before(anatomy, layer) or layer.units))
    fan_out = layer.units * (window // channels if layer.kind != "Dense" else 1)
    return 0.5 * math.log10(layer.fan_in / (layer.fan_in + fan_out))


def _channels_before(anatomy: Anatomy, layer: LayerInfo) -> int | None:
    names = {other.name: other for other in anatomy.layers}
    before = names.get(layer.inputs[0]) if layer.inputs else None
    return before.shape[-1] if before is not None and before.shape else None


def _is_residual(layer: LayerInfo) -> bool:
    return layer.kind == "Add" and len(layer.inputs) > 1


def _width(anatomy: Anatomy, material: DataSample) -> Iterator[Cause]:
    classes = len(material.classes)
    dead = 0.0
    narrow: LayerInfo | None = None
    squeezed: tuple[float, LayerInfo] | None = None
    for layer in hidden(anatomy):
        if not layer.units:
            continue
        places = math.prod(n for n in layer.shape[1:] if n) if layer.shape else layer.units
        behind = min([math.prod(n for n in f.shape[1:] if n) for f in followers(anatomy, layer) if f.shape] or [places])
        through = min(places, behind)
        if activation_of(anatomy, layer) == "relu" and not is_normalized(anatomy, layer):
            dead += -math.log1p(-(2.0**-layer.units))
            if narrow is None or layer.units < (narrow.units or 0):
                narrow = layer
        if through <= 2 or (through < 4 and classes >= 8):
            score = 0.9 if through == 1 else 0.7 if classes > 2 else 0.45
            if squeezed is None or score > squeezed[0]:
                squeezed = (score, layer)
    if squeezed:
        yield Cause(
            code="bottleneck", score=squeezed[0], layer=squeezed[1].name,
            evidence={"units": float(squeezed[1].units or 0), "classes": float(classes)},
        )  # fmt: skip
    if dead > BORN_DEAD and narrow is not None and (squeezed is None or narrow is not squeezed[1]):
        yield Cause(
            code="too-few-filters", score=min(0.75, 0.35 + 0.4 * dead), layer=narrow.name,
            evidence={"units": float(narrow.units or 0), "probability_born_dead": 1 - math.exp(-dead)},
        )  # fmt: skip


def _pixels(anatomy: Anatomy, material: DataSample) -> Iterator[Cause]:
    low, high, normalized = pixel_range(anatomy, material)
    first = next(iter(weighted(anatomy)), None)
    where = first.name if first else None
    evidence: dict[str, float | str] = {"lowest": low, "highest": high}
    if peak(low, high) > RAW:
        yield Cause(code="unscaled-input", score=0.1 if normalized else 0.55, layer=where, evidence=evidence)
    elif material.high > material.low and high - low < FADED:
        scalings = [layer.name for layer in anatomy.layers if layer.scale is not None]
        code = "input-scaled-twice" if peak(low, high) < FADED else "zero-variance-features"
        at = scalings[-1] if scalings else where
        yield Cause(code=code, score=0.5 if normalized else 0.92, layer=at, evidence=evidence)


def _frozen(anatomy: Anatomy) -> Iterator[Cause]:
    end = head(anatomy).layer
    if anatomy.trainable == 0:
        yield Cause(code="frozen-all", score=1.0, layer=end.name if end else None, evidence={"trainable": 0.0})
        return
    with_kernel = weighted(anatomy)
    if with_kernel and not any(layer.trainable for layer in with_kernel):
        yield Cause(code="frozen-all", score=0.9, layer=with_kernel[0].name, evidence={"trainable": anatomy.trainable})
    elif end is not None and not end.trainable:
        yield Cause(code="frozen-all", score=0.4, layer=end.name, evidence={"trainable": float(anatomy.trainable)})
    still = [layer for layer in anatomy.layers if layer.kind == "BatchNormalization" and not layer.trainable]
    if still:
        place = still[0].path[0] if still[0].path else still[0].name
        yield Cause(code="frozen-backbone-batchnorm", score=0.25, layer=place, evidence={"layers": float(len(still))})
