"""Fixes in the network itself: its output, weights, activations, normalization, width, frozen layers. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from search.causes import Cause
from search.diagnosis import changes as c
from search.diagnosis.changes import Change
from search.diagnosis.evidence import Anatomy, DataSample, LayerInfo
from search.diagnosis.fit_rules import steps
from search.diagnosis.fixes_input import undo_double_scaling
from search.diagnosis.fixes_training import canonical_loss, change_rate, loss_class
from search.diagnosis.pairing import BINARY, CATEGORICAL, SPARSE
from search.diagnosis.structure import (
    RELU_LIKE,
    SATURATING,
    activation_of,
    by_name,
    followers,
    head,
    hidden,
    is_normalized,
    weighted,
)
from search.training.lr_schedule import batchnorm_momentum


def _names(layers: list[LayerInfo]) -> str:
    names = [layer.name for layer in layers]
    return ", ".join(names) if len(names) <= 4 else f"{', '.join(names[:3])}, ... and {names[-1]}"


def set_usual_output(cause: Cause, anatomy: Anatomy, material: DataSample) -> Iterator[Change]:
    """Yield fixes of the output: softmax or sigmoid with the matching cross-entropy, or a loss that takes logits.

    Args:
        cause: the suspected cause.
        anatomy: description of the network.
        material: sample of images and labels.
    """
    end = head(anatomy)
    classes = len(material.classes)
    edits: list[c.Edit] = []
    lines: list[str] = []
    if anatomy.outputs == 1 and classes > 2 and end.layer is not None:
        units, wanted, loss, labels = classes, "softmax", "sparse_categorical_crossentropy", "int"
        edits.append(c.SetUnits((end.layer.name,), classes))
    else:
        units, wanted = anatomy.outputs, "sigmoid" if anatomy.outputs == 1 else "softmax"
        loss, labels = canonical_loss(anatomy, material)
    name = end.layer.name if end.layer else anatomy.output
    if end.activation != wanted:
        if end.activations and end.activations[-1][0] != name:
            edits.append(c.SetActivation((end.activations[-1][0],), wanted))
            lines.append(f'layers.Activation("{wanted}"),  # at the end')
        else:
            edits.append(c.SetActivation((name,), wanted))
            kind = end.layer.kind if end.layer else "Dense"
            lines.append(f'layers.{kind}({units}, activation="{wanted}", name={name!r})')
    if anatomy.compilation.loss != loss or anatomy.compilation.from_logits:
        edits.append(c.SetLoss(loss))
        lines.append(f'loss="{loss}"')
    if material.labels != labels:
        edits.append(c.SetLabelForm(labels))
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
            lines=f"loss=keras.losses.{loss_class(own)}(from_logits=True)", size=1, edits=(c.SetLoss(own, True),),
        )  # fmt: skip


def keep_one_softmax(cause: Cause, anatomy: Anatomy, material: DataSample) -> Iterator[Change]:
    """Yield fixes of a softmax or sigmoid that is applied twice: drop one, or tell the loss that it gets probabilities.

    Args:
        cause: the suspected cause.
        anatomy: description of the network.
        material: sample of images and labels.
    """
    end = head(anatomy)
    if len(end.activations) > 1:
        names = tuple(name for name, _ in end.activations[:-1])
        yield Change(
            code=cause.code, summary=f"no {end.activations[0][1]} on {', '.join(names)}: the last one is enough",
            lines="\n".join(f"# no activation={a!r} on layer {n!r}" for n, a in end.activations[:-1]),
            size=1, edits=tuple(c.SetActivation((name,), "linear") for name in names),
        )  # fmt: skip
    if anatomy.compilation.from_logits and end.activations:
        own = anatomy.compilation.loss
        name, activation = end.activations[-1]
        yield Change(
            code=cause.code, summary=f"no {activation} on {name}, as the loss expects logits",
            lines=f"# without activation={activation!r} on layer {name!r}",
            size=1, edits=(c.SetActivation((name,), "linear"), c.SetLoss(own, True)),
        )  # fmt: skip
        yield Change(
            code=cause.code, summary="tell the loss that it gets probabilities",
            lines=f"loss=keras.losses.{loss_class(own)}(from_logits=False)", size=1, edits=(c.SetLoss(own),),
        )  # fmt: skip


def set_usual_initializers(cause: Cause, anatomy: Anatomy, material: DataSample) -> Iterator[Change]:
    """Yield fixes of the initial weights: Glorot or He initializers in the layers with an unusual initializer.

    Args:
        cause: the suspected cause.
        anatomy: description of the network.
        material: sample of images and labels.
    """
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
            size=1, edits=(c.SetInitializer(names, initializer),),
        )  # fmt: skip


def restore_signal(cause: Cause, anatomy: Anatomy, material: DataSample) -> Iterator[Change]:
    """Yield fixes of fading signals and gradients: ReLU for saturating activations, BatchNorm, usual initializers.

    Args:
        cause: the suspected cause.
        anatomy: description of the network.
        material: sample of images and labels.
    """
    flat = [layer for layer in hidden(anatomy) if activation_of(anatomy, layer) in SATURATING]
    if flat:
        yield _activated(cause.code, anatomy, flat, "relu")
    yield from insert_batchnorm(cause, anatomy, material)
    if not flat:
        yield from set_usual_initializers(cause, anatomy, material)


def _activated(code: str, anatomy: Anatomy, layers: list[LayerInfo], activation: str) -> Change:
    before = activation_of(anatomy, layers[0])
    own = tuple(_activating(anatomy, layer) for layer in layers)
    return Change(
        code=code, summary=f"{activation} instead of {before} in {_names(layers)}",
        lines=f'activation="{activation}"  # in {_names(layers)}', size=2, edits=(c.SetActivation(own, activation),),
    )  # fmt: skip


def _activating(anatomy: Anatomy, layer: LayerInfo) -> str:
    """Name of the layer that holds the activation behind `layer`: itself, or an activation layer."""
    if layer.activation not in (None, "linear"):
        return layer.name
    behind = (other.name for other in followers(anatomy, layer) if other.activation not in (None, "linear"))
    return next(behind, layer.name)


def suitable_momentum(material: DataSample) -> float:
    """Return a BatchNorm momentum, 0.5..0.99, that suits the number of steps; see `batchnorm_momentum`."""
    return batchnorm_momentum(steps(material))


def insert_batchnorm(cause: Cause, anatomy: Anatomy, material: DataSample) -> Iterator[Change]:
    """Yield the fix: insert BatchNorm after hidden layers that are not normalized. Nothing if all are.

    Args:
        cause: the suspected cause.
        anatomy: description of the network.
        material: sample of images and labels.
    """
    bare = [layer for layer in hidden(anatomy) if layer.trainable and not is_normalized(anatomy, layer)]
    convolutions = [layer for layer in bare if "Conv" in layer.kind]
    layers = convolutions or bare
    if not layers:
        return
    momentum = round(min(0.9, suitable_momentum(material)), 2)
    yield Change(
        code=cause.code, summary=f"BatchNorm after {_names(layers)}, before the activation",
        lines=f"x = layers.BatchNormalization(momentum={momentum:g})(x)  # after each of {_names(layers)}",
        size=2, edits=(c.InsertBatchNorm(tuple(layer.name for layer in layers), momentum),),
    )  # fmt: skip


def revive_relus(cause: Cause, anatomy: Anatomy, material: DataSample) -> Iterator[Change]:
    """Yield fixes for dead ReLUs: leaky ReLU, He initializers and zero biases, a tenth of the learning rate.

    A network without hidden ReLU layers gets the last fix only.

    Args:
        cause: the suspected cause.
        anatomy: description of the network.
        material: sample of images and labels.
    """
    rectified = [layer for layer in hidden(anatomy) if activation_of(anatomy, layer) == "relu"]
    if rectified:
        yield _activated(cause.code, anatomy, rectified, "leaky_relu")
    names = tuple(layer.name for layer in rectified if layer.trainable)
    if names:
        yield Change(
            code=cause.code, summary="he_normal kernels and biases of zero",
            lines=f'kernel_initializer="he_normal", bias_initializer="zeros"  # in {_names(rectified)}',
            size=1, edits=(c.SetInitializer(names, "he_normal"),),
        )  # fmt: skip
    yield change_rate(cause.code, anatomy, anatomy.compilation.learning_rate / 10)


def set_relu(cause: Cause, anatomy: Anatomy, material: DataSample) -> Iterator[Change]:
    """Yield the fix: ReLU in hidden layers without an activation. Nothing if all have one.

    Args:
        cause: the suspected cause.
        anatomy: description of the network.
        material: sample of images and labels.
    """
    linear = [layer for layer in hidden(anatomy) if activation_of(anatomy, layer) == "linear"]
    if linear:
        yield _activated(cause.code, anatomy, linear, "relu")


def widen(cause: Cause, anatomy: Anatomy, material: DataSample) -> Iterator[Change]:
    """Yield the fix: more units or filters in layers that have too few. Nothing if no such layer is known.

    Args:
        cause: the suspected cause.
        anatomy: description of the network.
        material: sample of images and labels.
    """
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
        size=1, edits=(c.SetUnits(tuple(layer.name for layer in layers), units),),
    )  # fmt: skip


def lower_dropout(cause: Cause, anatomy: Anatomy, material: DataSample) -> Iterator[Change]:
    """Yield the fix: lower all dropout rates to at most 0.2, or to 0 if none is higher. Nothing without dropout.

    Args:
        cause: the suspected cause.
        anatomy: description of the network.
        material: sample of images and labels.
    """
    drops = [layer for layer in anatomy.layers if layer.rate]
    rate = 0.2 if any((layer.rate or 0) > 0.2 for layer in drops) else 0.0
    if drops:
        high = [layer for layer in drops if (layer.rate or 0) > rate]
        yield Change(
            code=cause.code, summary=f"dropout of {rate:g} instead of {max(layer.rate or 0 for layer in drops):g}",
            lines=f"layers.Dropout({rate:g})  # {_names(high)}", size=1, edits=(c.LimitDropout(rate),),
        )  # fmt: skip


def remove_penalties(cause: Cause, anatomy: Anatomy, material: DataSample) -> Iterator[Change]:
    """Yield the fix: no kernel regularizers and no weight decay. Nothing if there are none.

    Args:
        cause: the suspected cause.
        anatomy: description of the network.
        material: sample of images and labels.
    """
    penalized = [layer for layer in weighted(anatomy) if layer.l1 or layer.l2]
    if penalized or anatomy.compilation.weight_decay:
        where = f"kernel_regularizer of {_names(penalized)}" if penalized else "weight_decay of the optimizer"
        yield Change(
            code=cause.code,
            summary=f"no {where}",
            lines=f"# leave out the {where}",
            size=1,
            edits=(c.ScalePenalties(0.0),),
        )


def unfreeze(cause: Cause, anatomy: Anatomy, material: DataSample) -> Iterator[Change]:
    """Yield fixes of frozen layers: make the head, the BatchNorm layers, or all layers trainable.

    Args:
        cause: the suspected cause.
        anatomy: description of the network.
        material: sample of images and labels.
    """
    end = head(anatomy).layer
    if cause.code == "frozen-backbone-batchnorm":
        yield from _unfreeze_batchnorm(cause, anatomy, material)
    elif end is not None and not end.trainable and any(layer.path for layer in anatomy.layers):
        yield Change(
            code=cause.code, summary=f"let {end.name} learn", lines=f"model.get_layer({end.name!r}).trainable = True",
            size=1, edits=(c.Unfreeze((end.name,)),),
        )  # fmt: skip
    yield Change(
        code=cause.code, summary="let all layers learn", lines="model.trainable = True  # before model.compile",
        size=1, edits=(c.Unfreeze(),),
    )  # fmt: skip


def _unfreeze_batchnorm(cause: Cause, anatomy: Anatomy, material: DataSample) -> Iterator[Change]:
    still = [layer for layer in anatomy.layers if layer.kind == "BatchNormalization" and not layer.trainable]
    if not still:
        return
    where = still[0].path[-1] if still[0].path else "model"
    yield Change(
        code=cause.code, summary=f"let the BatchNorm layers of {where} adapt to these images",
        lines=f"for layer in {where}.layers:\n    if isinstance(layer, layers.BatchNormalization):\n"
        "        layer.trainable = True  # before model.compile",
        size=1, edits=(c.Unfreeze(tuple(layer.name for layer in still)),),
    )  # fmt: skip
    yield from (change for change in undo_double_scaling(cause, anatomy, material))


def lower_batchnorm_momentum(cause: Cause, anatomy: Anatomy, material: DataSample) -> Iterator[Change]:
    """Yield the fix: a momentum of BatchNorm that suits the number of steps.

    Args:
        cause: the suspected cause.
        anatomy: description of the network.
        material: sample of images and labels.
    """
    value = round(suitable_momentum(material), 2)
    yield Change(
        code=cause.code, summary=f"BatchNorm momentum {value:g}, for {steps(material)} steps in all",
        lines=f"layers.BatchNormalization(momentum={value:g})", size=1, edits=(c.SetBatchNormMomentum(value),),
    )  # fmt: skip


def keep_images_different(cause: Cause, anatomy: Anatomy, material: DataSample) -> Iterator[Change]:
    """Yield fixes of features that are the same for every image: drop a layer, rescale the input, add BatchNorm.

    Args:
        cause: the suspected cause; its layer is the first whose outputs don't differ between images.
        anatomy: description of the network.
        material: sample of images and labels.
    """
    place = next((i for i, layer in enumerate(anatomy.layers) if layer.name == cause.layer), None)
    if place is not None:
        suspects = [anatomy.layers[place], *reversed(anatomy.layers[:place])]
        near = [layer for layer in suspects[:3] if layer.initializer is None and layer.activation is None]
        for layer in near:
            if layer.scale is None:
                yield Change(
                    code=cause.code, summary=f"leave out {layer.name} ({layer.kind})",
                    lines=f"# leave out the layer {layer.name!r}", size=1, edits=(c.RemoveLayers((layer.name,)),),
                )  # fmt: skip
    yield from undo_double_scaling(cause, anatomy, material)
    yield from insert_batchnorm(cause, anatomy, material)
    yield from _unfreeze_batchnorm(cause, anatomy, material)
