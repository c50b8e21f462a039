"""For each cause the single changes that would cure it. Pure: data, which `search.diagnosis.surgery` applies."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from search.causes import Cause
from search.diagnosis import changes as c
from search.diagnosis.changes import Change
from search.diagnosis.fit_rules import sane_rates, steps
from search.diagnosis.pairing import BINARY, CATEGORICAL, SPARSE
from search.diagnosis.records import Anatomy, Layer, Material
from search.diagnosis.structure import (
    RELU_LIKE,
    SATURATING,
    activation_of,
    by_name,
    followers,
    head,
    hidden,
    is_normalized,
    peak,
    pixel_range,
    weighted,
)

Mends = Callable[[Cause, Anatomy, Material], Iterator[Change]]

USUAL_RATES: Final[Mapping[str, float]] = {
    "SGD": 0.05,  # times 1 - momentum
    "Adagrad": 0.01, "Adadelta": 1.0, "Lion": 1e-4, "Ftrl": 0.05, "Adafactor": 0.01,
}  # fmt: skip
LATE: Final = 4  # times as many epochs


def mends(cause: Cause, anatomy: Anatomy, material: Material) -> tuple[Change, ...]:
    """Changes that would cure the cause, the likeliest first; none for faults of the data."""
    return tuple(_BY_CODE[cause.code](cause, anatomy, material)) if cause.code in _BY_CODE else ()


def usual_rate(optimizer: str, momentum: float) -> float:
    """A learning rate with which most small networks learn."""
    rate = USUAL_RATES.get(optimizer, 1e-3)
    return rate * (1 - momentum) if optimizer == "SGD" else rate


def _names(layers: list[Layer]) -> str:
    names = [layer.name for layer in layers]
    return ", ".join(names) if len(names) <= 4 else f"{', '.join(names[:3])}, ... and {names[-1]}"


def _rated(code: str, anatomy: Anatomy, value: float) -> Change:
    how = anatomy.compilation
    value = float(f"{value:.3g}")
    momentum = f", momentum={how.momentum:g}" if how.momentum else ""
    verb = "lower" if value < how.learning_rate else "raise"
    return Change(
        code=code, summary=f"{verb} the learning rate from {how.learning_rate:.3g} to {value:.3g}",
        lines=f"optimizer=keras.optimizers.{how.optimizer}(learning_rate={value:.3g}{momentum})",
        size=1, edits=(c.Rate(value),),
    )  # fmt: skip


def _rates(cause: Cause, anatomy: Anatomy, material: Material) -> Iterator[Change]:
    how = anatomy.compilation
    usual = usual_rate(how.optimizer, how.momentum)
    if cause.code == "lr-too-high":
        tried = [usual] if usual < how.learning_rate / 2 else []
        tried += [how.learning_rate / 10, how.learning_rate / 100]
    else:
        tried = [usual] if usual > how.learning_rate * 2 else []
        tried += [how.learning_rate * 10, how.learning_rate * 100]
    done: list[float] = []
    for rate in tried:
        if all(not 0.5 < rate / other < 2 for other in done):
            done.append(rate)
            yield _rated(cause.code, anatomy, rate)
    if cause.code == "lr-too-low":
        yield _longer(cause.code, material)


def _longer(code: str, material: Material) -> Change:
    number = material.epochs * LATE
    return Change(
        code=code, summary=f"train {number} epochs instead of {material.epochs}", lines=f"epochs={number}",
        size=1, edits=(c.Epochs(number),),
    )  # fmt: skip


def _feeds(cause: Cause, anatomy: Anatomy, material: Material) -> Iterator[Change]:
    low, high, _ = pixel_range(anatomy, material)
    top = peak(low, high) or 1.0
    scale = 255.0 if 100 < top <= 256 else top
    yield Change(
        code=cause.code, summary="scale the pixels to 0..1 in front",
        lines=f"layers.Rescaling(1 / {scale:.6g}),  # right after keras.Input(input_shape)",
        size=1, edits=(c.Feed(1 / scale),),
    )  # fmt: skip
    yield _standardized(cause.code, material)


def _standardized(code: str, material: Material) -> Change:
    scale = 1 / max(material.deviation, 1e-6)
    offset = -material.mean * scale
    return Change(
        code=code, summary="shift and scale the pixels to mean 0 and deviation 1",
        lines=f"layers.Rescaling({scale:.6g}, offset={offset:.6g}),  # right after keras.Input(input_shape)",
        size=1, edits=(c.Feed(scale, offset),),
    )  # fmt: skip


def _unfaded(cause: Cause, anatomy: Anatomy, material: Material) -> Iterator[Change]:
    scalings = [layer for layer in anatomy.layers if layer.scale is not None]
    low, high, _ = pixel_range(anatomy, material)
    span = high - low
    if scalings and span:
        last = scalings[-1]
        yield Change(
            code=cause.code, summary=f"leave out {last.name}, as the pixels are scaled already",
            lines=f"# without layers.Rescaling(...), name {last.name!r}", size=1, edits=(c.Bypass((last.name,)),),
        )  # fmt: skip
    if material.preprocess:
        yield Change(
            code=cause.code, summary="scale the pixels once, to 0..1, instead of PREPROCESS",
            lines="PREPROCESS = lambda x: x / 255", size=1, edits=(c.Unprocessed(1 / 255),),
        )  # fmt: skip
        yield Change(
            code=cause.code, summary="feed the raw pixels, without PREPROCESS",
            lines="# without PREPROCESS: the network scales by itself", size=1, edits=(c.Unprocessed(1.0),),
        )  # fmt: skip
    if not scalings and span:
        yield _standardized(cause.code, material)


def _loss_class(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_"))


def canonical_loss(anatomy: Anatomy, material: Material) -> tuple[str, str]:
    """The loss, and the form of labels, that belong to the number of output units."""
    if anatomy.outputs == 1:
        return "binary_crossentropy", "binary"
    if material.labels == "onehot":
        return "categorical_crossentropy", "onehot"
    return "sparse_categorical_crossentropy", "int"


def _head(cause: Cause, anatomy: Anatomy, material: Material) -> Iterator[Change]:
    """The usual end of a classifier: softmax or sigmoid, and the cross-entropy that goes with the labels."""
    end = head(anatomy)
    classes = len(material.classes)
    edits: list[c.Edit] = []
    lines: list[str] = []
    if anatomy.outputs == 1 and classes > 2 and end.layer is not None:
        units, wanted, loss, labels = classes, "softmax", "sparse_categorical_crossentropy", "int"
        edits.append(c.Widen((end.layer.name,), classes))
    else:
        units, wanted = anatomy.outputs, "sigmoid" if anatomy.outputs == 1 else "softmax"
        loss, labels = canonical_loss(anatomy, material)
    name = end.layer.name if end.layer else anatomy.output
    if end.activation != wanted:
        if end.activations and end.activations[-1][0] != name:
            edits.append(c.Activate((end.activations[-1][0],), wanted))
            lines.append(f'layers.Activation("{wanted}"),  # at the end')
        else:
            edits.append(c.Activate((name,), wanted))
            kind = end.layer.kind if end.layer else "Dense"
            lines.append(f'layers.{kind}({units}, activation="{wanted}", name={name!r})')
    if anatomy.compilation.loss != loss or anatomy.compilation.from_logits:
        edits.append(c.Loss(loss))
        lines.append(f'loss="{loss}"')
    if material.labels != labels:
        edits.append(c.LabelForm(labels))
        lines.append(f'LABELS = "{labels}"')
    if edits:
        text = f"{wanted} on the output" if len(edits) == 1 and lines and "loss" not in lines[0] else (
            f"the usual end of a classifier: {wanted} and {loss} with {labels} labels"
        )  # fmt: skip
        yield Change(code=cause.code, summary=text, lines="\n".join(lines), size=1, edits=tuple(edits))
    own = anatomy.compilation.loss
    fitting = own in BINARY if anatomy.outputs == 1 else own in (*CATEGORICAL, *SPARSE)
    if cause.code == "missing-output-activation" and fitting:
        yield Change(
            code=cause.code, summary="tell the loss that it gets logits",
            lines=f"loss=keras.losses.{_loss_class(own)}(from_logits=True)", size=1, edits=(c.Loss(own, True),),
        )  # fmt: skip


def _single_softmax(cause: Cause, anatomy: Anatomy, material: Material) -> Iterator[Change]:
    end = head(anatomy)
    if len(end.activations) > 1:
        names = tuple(name for name, _ in end.activations[:-1])
        yield Change(
            code=cause.code, summary=f"no {end.activations[0][1]} on {', '.join(names)}: the last one is enough",
            lines="\n".join(f"# no activation={a!r} on layer {n!r}" for n, a in end.activations[:-1]),
            size=1, edits=tuple(c.Activate((name,), "linear") for name in names),
        )  # fmt: skip
    if anatomy.compilation.from_logits and end.activations:
        own = anatomy.compilation.loss
        yield Change(
            code=cause.code, summary="tell the loss that it gets probabilities",
            lines=f"loss=keras.losses.{_loss_class(own)}(from_logits=False)", size=1, edits=(c.Loss(own),),
        )  # fmt: skip


def _initialized(cause: Cause, anatomy: Anatomy, material: Material) -> Iterator[Change]:
    plain = ("GlorotUniform", "GlorotNormal", "HeNormal", "HeUniform", "LecunNormal", "LecunUniform")
    odd = [layer for layer in weighted(anatomy) if layer.trainable and layer.initializer not in plain]
    layers = odd or [layer for layer in weighted(anatomy) if layer.trainable]
    names = tuple(layer.name for layer in layers)
    rectified = any(activation_of(anatomy, layer) in RELU_LIKE for layer in layers)
    for initializer in ("he_normal", "glorot_uniform") if rectified and not odd else ("glorot_uniform", "he_normal"):
        usual = initializer == "glorot_uniform"
        hint = "the default: leave it out; " if usual else ""
        yield Change(
            code=cause.code, summary=f"{'the default initializer' if usual else 'he_normal'} for {_names(layers)}",
            lines=f'kernel_initializer="{initializer}"  # {hint}in {_names(layers)}',
            size=1, edits=(c.Initialize(names, initializer),),
        )  # fmt: skip


def _livelier(cause: Cause, anatomy: Anatomy, material: Material) -> Iterator[Change]:
    """Against fading signals and gradients: ReLU for flat activations, else BatchNorm."""
    flat = [layer for layer in hidden(anatomy) if activation_of(anatomy, layer) in SATURATING]
    if flat:
        yield _activated(cause.code, anatomy, flat, "relu")
    yield from _normalized(cause, anatomy, material)
    if not flat:
        yield from _initialized(cause, anatomy, material)


def _activated(code: str, anatomy: Anatomy, layers: list[Layer], activation: str) -> Change:
    before = activation_of(anatomy, layers[0])
    own = tuple(_activating(anatomy, layer) for layer in layers)
    return Change(
        code=code, summary=f"{activation} instead of {before} in {_names(layers)}",
        lines=f'activation="{activation}"  # in {_names(layers)}', size=2, edits=(c.Activate(own, activation),),
    )  # fmt: skip


def _activating(anatomy: Anatomy, layer: Layer) -> str:
    """The layer that holds the activation which follows `layer`: itself, or an activation layer behind it."""
    if layer.activation not in (None, "linear"):
        return layer.name
    behind = (other.name for other in followers(anatomy, layer) if other.activation not in (None, "linear"))
    return next(behind, layer.name)


def good_momentum(material: Material) -> float:
    """BatchNorm's momentum that leaves 1 % of the initial statistics after a tenth of the steps, 0.5 .. 0.99."""
    return float(min(0.99, max(0.5, 0.01 ** (1 / max(1.0, 0.1 * steps(material))))))


def _normalized(cause: Cause, anatomy: Anatomy, material: Material) -> Iterator[Change]:
    bare = [layer for layer in hidden(anatomy) if layer.trainable and not is_normalized(anatomy, layer)]
    convolutions = [layer for layer in bare if "Conv" in layer.kind]
    layers = convolutions or bare
    if not layers:
        return
    momentum = round(min(0.9, good_momentum(material)), 2)
    yield Change(
        code=cause.code, summary=f"BatchNorm after {_names(layers)}, before the activation",
        lines=f"x = layers.BatchNormalization(momentum={momentum:g})(x)  # after each of {_names(layers)}",
        size=2, edits=(c.Normalize(tuple(layer.name for layer in layers), momentum),),
    )  # fmt: skip


def _leaky(cause: Cause, anatomy: Anatomy, material: Material) -> Iterator[Change]:
    rectified = [layer for layer in hidden(anatomy) if activation_of(anatomy, layer) == "relu"]
    if rectified:
        yield _activated(cause.code, anatomy, rectified, "leaky_relu")
    names = tuple(layer.name for layer in rectified if layer.trainable)
    if names:
        yield Change(
            code=cause.code, summary="he_normal kernels and biases of zero",
            lines=f'kernel_initializer="he_normal", bias_initializer="zeros"  # in {_names(rectified)}',
            size=1, edits=(c.Initialize(names, "he_normal"),),
        )  # fmt: skip
    yield _rated(cause.code, anatomy, anatomy.compilation.learning_rate / 10)


def _nonlinear(cause: Cause, anatomy: Anatomy, material: Material) -> Iterator[Change]:
    linear = [layer for layer in hidden(anatomy) if activation_of(anatomy, layer) == "linear"]
    if linear:
        yield _activated(cause.code, anatomy, linear, "relu")


def _wider(cause: Cause, anatomy: Anatomy, material: Material) -> Iterator[Change]:
    limit = 8 if cause.code == "too-few-filters" else 4
    narrow = [layer for layer in hidden(anatomy) if (layer.units or limit) < limit and layer.kind != "DepthwiseConv2D"]
    named = by_name(anatomy).get(cause.layer or "")
    layers = narrow or ([named] if named is not None and named.units else [])
    if not layers:
        return
    units = max(16, 2 * len(material.classes))
    word = "filters" if "Conv" in layers[0].kind else "units"
    yield Change(
        code=cause.code, summary=f"{units} {word} in {_names(layers)}",
        lines="\n".join(f"layers.{layer.kind}({units}, ..., name={layer.name!r})" for layer in layers[:4]),
        size=1, edits=(c.Widen(tuple(layer.name for layer in layers), units),),
    )  # fmt: skip


def _less_dropout(cause: Cause, anatomy: Anatomy, material: Material) -> Iterator[Change]:
    drops = [layer for layer in anatomy.layers if layer.rate]
    rate = 0.2 if any((layer.rate or 0) > 0.2 for layer in drops) else 0.0
    if drops:
        high = [layer for layer in drops if (layer.rate or 0) > rate]
        yield Change(
            code=cause.code, summary=f"dropout of {rate:g} instead of {max(layer.rate or 0 for layer in drops):g}",
            lines=f"layers.Dropout({rate:g})  # {_names(high)}", size=1, edits=(c.DropOut(rate),),
        )  # fmt: skip


def _less_penalty(cause: Cause, anatomy: Anatomy, material: Material) -> Iterator[Change]:
    found = [layer for layer in weighted(anatomy) if layer.l1 or layer.l2]
    if found or anatomy.compilation.weight_decay:
        where = f"kernel_regularizer of {_names(found)}" if found else "weight_decay of the optimizer"
        yield Change(
            code=cause.code, summary=f"no {where}", lines=f"# leave out the {where}", size=1, edits=(c.Penalty(0.0),)
        )


def _thawed(cause: Cause, anatomy: Anatomy, material: Material) -> Iterator[Change]:
    end = head(anatomy).layer
    if cause.code == "frozen-backbone-batchnorm":
        yield from _thawed_batchnorm(cause, anatomy, material)
    elif end is not None and not end.trainable and any(layer.path for layer in anatomy.layers):
        yield Change(
            code=cause.code, summary=f"let {end.name} learn", lines=f"model.get_layer({end.name!r}).trainable = True",
            size=1, edits=(c.Train((end.name,)),),
        )  # fmt: skip
    yield Change(
        code=cause.code, summary="let all layers learn", lines="model.trainable = True  # before model.compile",
        size=1, edits=(c.Train(),),
    )  # fmt: skip


def _thawed_batchnorm(cause: Cause, anatomy: Anatomy, material: Material) -> Iterator[Change]:
    still = [layer for layer in anatomy.layers if layer.kind == "BatchNormalization" and not layer.trainable]
    if not still:
        return
    where = still[0].path[-1] if still[0].path else "model"
    yield Change(
        code=cause.code, summary=f"let the BatchNorm layers of {where} adapt to these images",
        lines=f"for layer in {where}.layers:\n    if isinstance(layer, layers.BatchNormalization):\n"
        "        layer.trainable = True  # before model.compile",
        size=1, edits=(c.Train(tuple(layer.name for layer in still)),),
    )  # fmt: skip
    yield from (change for change in _unfaded(cause, anatomy, material))


def _fresher(cause: Cause, anatomy: Anatomy, material: Material) -> Iterator[Change]:
    value = round(good_momentum(material), 2)
    yield Change(
        code=cause.code, summary=f"BatchNorm momentum {value:g}, for {steps(material)} steps in all",
        lines=f"layers.BatchNormalization(momentum={value:g})", size=1, edits=(c.Momentum(value),),
    )  # fmt: skip


def _unclipped(cause: Cause, anatomy: Anatomy, material: Material) -> Iterator[Change]:
    how = anatomy.compilation
    yield Change(
        code=cause.code, summary="no clipping of gradients",
        lines=f"optimizer=keras.optimizers.{how.optimizer}(learning_rate={how.learning_rate:.3g})  # no clipping",
        size=1, edits=(c.Clip(None),),
    )  # fmt: skip


def _clipped(cause: Cause, anatomy: Anatomy, material: Material) -> Iterator[Change]:
    how = anatomy.compilation
    yield Change(
        code=cause.code, summary="clip the norm of gradients at 1",
        lines=f"optimizer=keras.optimizers.{how.optimizer}(learning_rate={how.learning_rate:.3g}, clipnorm=1.0)",
        size=1, edits=(c.Clip(1.0),),
    )  # fmt: skip
    yield _rated(cause.code, anatomy, how.learning_rate / 10)
    yield from _normalized(cause, anatomy, material)


def _finite(cause: Cause, anatomy: Anatomy, material: Material) -> Iterator[Change]:
    broken = by_name(anatomy).get(cause.layer or "")
    if broken is not None and not broken.parameters:
        yield Change(
            code=cause.code, summary=f"leave out {broken.name}, whose outputs are not finite",
            lines=f"# leave out the layer {broken.name!r}", size=1, edits=(c.Bypass((broken.name,)),),
        )  # fmt: skip
    if material.preprocess:
        yield Change(
            code=cause.code, summary="scale the pixels to 0..1 instead of PREPROCESS",
            lines="PREPROCESS = lambda x: x / 255", size=1, edits=(c.Unprocessed(1 / 255),),
        )  # fmt: skip
    if anatomy.compilation.loss == "custom":
        yield from _averaged(cause, anatomy, material)
    yield _rated(cause.code, anatomy, anatomy.compilation.learning_rate / 10)
    yield _rated(cause.code, anatomy, anatomy.compilation.learning_rate / 100)
    yield from _clipped(cause, anatomy, material)


def _averaged(cause: Cause, anatomy: Anatomy, material: Material) -> Iterator[Change]:
    if anatomy.compilation.loss != "custom":
        name = _loss_class(anatomy.compilation.loss)
        yield Change(
            code=cause.code, summary="average the loss over the batch",
            lines=f'loss=keras.losses.{name}()  # without reduction="sum"', size=1, edits=(c.Averaged(),),
        )  # fmt: skip
        return
    loss, labels = canonical_loss(anatomy, material)
    logits = head(anatomy).activation == "linear"
    change = "" if labels == material.labels else f'\nLABELS = "{labels}"'
    yield Change(
        code=cause.code, summary=f"Keras' own {loss} instead of the custom loss",
        lines=f"loss=keras.losses.{_loss_class(loss)}({'from_logits=True' if logits else ''}){change}",
        size=1, edits=(c.Loss(loss, logits), c.LabelForm(labels)),
    )  # fmt: skip


def balanced_weights(material: Material) -> dict[int, float]:
    """Images / (classes * images of the class), as `class_weight` takes them."""
    counts = [max(1, n) for n in material.classes.values()]
    return {i: round(sum(counts) / (len(counts) * n), 3) for i, n in enumerate(counts)}


def _balanced(cause: Cause, anatomy: Anatomy, material: Material) -> Iterator[Change]:
    weights = balanced_weights(material)
    yield Change(
        code=cause.code, summary="weigh the classes against their frequency",
        lines=f"class_weight={weights}", size=1, edits=(c.ClassWeights(weights),),
    )  # fmt: skip


def _unaugmented(cause: Cause, anatomy: Anatomy, material: Material) -> Iterator[Change]:
    names = tuple(layer.name for layer in anatomy.layers if layer.augmentation)
    if names:
        yield Change(
            code=cause.code, summary=f"without {', '.join(names)}",
            lines="\n".join(f"# leave out the layer {name!r}" for name in names), size=1, edits=(c.Bypass(names),),
        )  # fmt: skip
    if material.augment:
        yield Change(
            code=cause.code, summary="without AUGMENT", lines="# leave out AUGMENT", size=1, edits=(c.Unaugmented(),)
        )


def _realigned(cause: Cause, anatomy: Anatomy, material: Material) -> Iterator[Change]:
    """Labels that a pipeline of the user's has put beside other images."""
    if material.augment:
        yield from (change for change in _unaugmented(cause, anatomy, material) if c.Unaugmented() in change.edits)
    if material.preprocess:
        yield Change(
            code=cause.code, summary="scale the pixels to 0..1 instead of PREPROCESS",
            lines="PREPROCESS = lambda x: x / 255", size=1, edits=(c.Unprocessed(1 / 255),),
        )  # fmt: skip


def _varied(cause: Cause, anatomy: Anatomy, material: Material) -> Iterator[Change]:
    yield from _unfaded(cause, anatomy, material)
    yield from _normalized(cause, anatomy, material)
    yield from _thawed_batchnorm(cause, anatomy, material)


def generic(anatomy: Anatomy, material: Material) -> tuple[Change, ...]:
    """What often helps whatever the cause is; tried last."""

    def of(code: str, mend: Mends) -> Iterator[Change]:
        return mend(Cause(code=code, score=0.0), anatomy, material)

    low, high = sane_rates(anatomy.compilation.optimizer, anatomy.compilation.momentum)
    rate = anatomy.compilation.learning_rate
    found: list[Change] = []
    if rate > low * 5:
        found.append(_rated("lr-too-high", anatomy, rate / 10))
    if rate < high / 5:
        found.append(_rated("lr-too-low", anatomy, rate * 10))
    found += of("vanishing-gradient", _normalized)
    found += of("bad-initializer", _initialized)
    found += of("dead-relu", _leaky)
    found += of("too-much-dropout", _less_dropout)
    found += of("too-strong-l2", _less_penalty)
    found.append(_longer("lr-too-low", material))
    return tuple(found)


_BY_CODE: Final[Mapping[str, Mends]] = {
    "bad-initializer": _initialized,
    "tied-constant-init": _initialized,
    "batchnorm-momentum": _fresher,
    "bottleneck": _wider,
    "too-few-filters": _wider,
    "clipnorm-too-small": _unclipped,
    "dead-relu": _leaky,
    "double-softmax": _single_softmax,
    "excessive-augmentation": _unaugmented,
    "exploding-gradient": _clipped,
    "frozen-all": _thawed,
    "frozen-backbone-batchnorm": _thawed,
    "input-scaled-twice": _unfaded,
    "label-noise": _realigned,
    "lr-too-high": _rates,
    "lr-too-low": _rates,
    "majority-class": _balanced,
    "missing-output-activation": _head,
    "relu-on-output": _head,
    "softmax-on-one-unit": _head,
    "wrong-loss-pairing": _head,
    "nan": _finite,
    "no-nonlinearity": _nonlinear,
    "sum-not-mean-loss": _averaged,
    "too-much-dropout": _less_dropout,
    "too-strong-l2": _less_penalty,
    "unscaled-input": _feeds,
    "vanishing-gradient": _livelier,
    "zero-variance-features": _varied,
}
