"""Changes to how the network is trained: rate, epochs, loss, clipping, class weights. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from search.causes import Cause
from search.diagnosis import changes as c
from search.diagnosis.changes import Change
from search.diagnosis.evidence import Anatomy, DataSample
from search.diagnosis.structure import (
    head,
)

USUAL_RATES: Final[Mapping[str, float]] = {
    "SGD": 0.05,  # times 1 - momentum
    "Adagrad": 0.01, "Adadelta": 1.0, "Lion": 1e-4, "Ftrl": 0.05, "Adafactor": 0.01,
}  # fmt: skip
LATE: Final = 4  # times as many epochs


def usual_rate(optimizer: str, momentum: float) -> float:
    """A learning rate with which most small networks learn."""
    rate = USUAL_RATES.get(optimizer, 1e-3)
    return rate * (1 - momentum) if optimizer == "SGD" else rate


def rated(code: str, anatomy: Anatomy, value: float) -> Change:
    """Another learning rate."""
    how = anatomy.compilation
    value = float(f"{value:.3g}")
    momentum = f", momentum={how.momentum:g}" if how.momentum else ""
    verb = "lower" if value < how.learning_rate else "raise"
    return Change(
        code=code, summary=f"{verb} the learning rate from {how.learning_rate:.3g} to {value:.3g}",
        lines=f"optimizer=keras.optimizers.{how.optimizer}(learning_rate={value:.3g}{momentum})",
        size=1, edits=(c.SetLearningRate(value),),
    )  # fmt: skip


def rates(cause: Cause, anatomy: Anatomy, material: DataSample) -> Iterator[Change]:
    """Learning rates to try, the usual one first."""
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
            yield rated(cause.code, anatomy, rate)
    if cause.code == "lr-too-low":
        yield longer(cause.code, material)


def longer(code: str, material: DataSample) -> Change:
    """More epochs."""
    number = material.epochs * LATE
    return Change(
        code=code, summary=f"train {number} epochs instead of {material.epochs}", lines=f"epochs={number}",
        size=1, edits=(c.SetEpochs(number),),
    )  # fmt: skip


def loss_class(name: str) -> str:
    """Name of the Keras class of a loss."""
    return "".join(part.capitalize() for part in name.split("_"))


def canonical_loss(anatomy: Anatomy, material: DataSample) -> tuple[str, str]:
    """The loss, and the form of labels, that belong to the number of output units."""
    if anatomy.outputs == 1:
        return "binary_crossentropy", "binary"
    if material.labels == "onehot":
        return "categorical_crossentropy", "onehot"
    return "sparse_categorical_crossentropy", "int"


def averaged(cause: Cause, anatomy: Anatomy, material: DataSample) -> Iterator[Change]:
    """A loss that is averaged over the batch."""
    if anatomy.compilation.loss != "custom":
        name = loss_class(anatomy.compilation.loss)
        yield Change(
            code=cause.code, summary="average the loss over the batch",
            lines=f'loss=keras.losses.{name}()  # without reduction="sum"', size=1, edits=(c.AverageLoss(),),
        )  # fmt: skip
        return
    loss, labels = canonical_loss(anatomy, material)
    logits = head(anatomy).activation == "linear"
    change = "" if labels == material.labels else f'\nLABELS = "{labels}"'
    yield Change(
        code=cause.code, summary=f"Keras' own {loss} instead of the custom loss",
        lines=f"loss=keras.losses.{loss_class(loss)}({'from_logits=True' if logits else ''}){change}",
        size=1, edits=(c.SetLoss(loss, logits), c.SetLabelForm(labels)),
    )  # fmt: skip


def unclipped(cause: Cause, anatomy: Anatomy, material: DataSample) -> Iterator[Change]:
    """Gradients that are not clipped."""
    how = anatomy.compilation
    yield Change(
        code=cause.code, summary="no clipping of gradients",
        lines=f"optimizer=keras.optimizers.{how.optimizer}(learning_rate={how.learning_rate:.3g})  # no clipping",
        size=1, edits=(c.SetClipnorm(None),),
    )  # fmt: skip


def balanced_weights(material: DataSample) -> dict[int, float]:
    """Images / (classes * images of the class), as `class_weight` takes them."""
    counts = [max(1, n) for n in material.classes.values()]
    return {i: round(sum(counts) / (len(counts) * n), 3) for i, n in enumerate(counts)}


def balanced(cause: Cause, anatomy: Anatomy, material: DataSample) -> Iterator[Change]:
    """Classes weighed against their frequency."""
    weights = balanced_weights(material)
    yield Change(
        code=cause.code, summary="weigh the classes against their frequency",
        lines=f"class_weight={weights}", size=1, edits=(c.SetClassWeights(weights),),
    )  # fmt: skip
