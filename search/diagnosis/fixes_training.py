"""Fixes in the training: learning rate, epochs, loss, clipping, class weights. Pure."""

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
    """Return a learning rate with which most small networks learn.

    Args:
        optimizer: class name of the Keras optimizer.
        momentum: momentum of SGD, 0 to less than 1; ignored for other optimizers.
    """
    rate = USUAL_RATES.get(optimizer, 1e-3)
    return rate * (1 - momentum) if optimizer == "SGD" else rate


def change_rate(code: str, anatomy: Anatomy, value: float) -> Change:
    """Return the fix: another learning rate, rounded to three significant digits.

    Args:
        code: code of the suspected cause.
        anatomy: description of the network.
        value: the new learning rate.
    """
    how = anatomy.compilation
    value = float(f"{value:.3g}")
    momentum = f", momentum={how.momentum:g}" if how.momentum else ""
    verb = "lower" if value < how.learning_rate else "raise"
    return Change(
        code=code, summary=f"{verb} the learning rate from {how.learning_rate:.3g} to {value:.3g}",
        lines=f"optimizer=keras.optimizers.{how.optimizer}(learning_rate={value:.3g}{momentum})",
        size=1, edits=(c.SetLearningRate(value),),
    )  # fmt: skip


def change_rates(cause: Cause, anatomy: Anatomy, material: DataSample) -> Iterator[Change]:
    """Yield fixes of the learning rate: the usual rate, then 10 and 100 times lower (or higher) than the present one.

    Args:
        cause: the suspected cause.
        anatomy: description of the network.
        material: sample of images and labels.
    """
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
            yield change_rate(cause.code, anatomy, rate)
    if cause.code == "lr-too-low":
        yield train_longer(cause.code, material)


def train_longer(code: str, material: DataSample) -> Change:
    """Return the fix: train four times as many epochs. `code`: code of the suspected cause."""
    number = material.epochs * LATE
    return Change(
        code=code, summary=f"train {number} epochs instead of {material.epochs}", lines=f"epochs={number}",
        size=1, edits=(c.SetEpochs(number),),
    )  # fmt: skip


def loss_class(name: str) -> str:
    """Return the class name of a Keras loss, given its canonical name such as "binary_crossentropy"."""
    return "".join(part.capitalize() for part in name.split("_"))


def canonical_loss(anatomy: Anatomy, material: DataSample) -> tuple[str, str]:
    """Return the usual loss for the number of output units, and the form of labels ("int", "onehot", "binary")."""
    if anatomy.outputs == 1:
        return "binary_crossentropy", "binary"
    if material.labels == "onehot":
        return "categorical_crossentropy", "onehot"
    return "sparse_categorical_crossentropy", "int"


def average_loss(cause: Cause, anatomy: Anatomy, material: DataSample) -> Iterator[Change]:
    """Yield the fix: drop reduction="sum", or replace a custom loss with Keras' own.

    Args:
        cause: the suspected cause.
        anatomy: description of the network.
        material: sample of images and labels.
    """
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


def remove_clipping(cause: Cause, anatomy: Anatomy, material: DataSample) -> Iterator[Change]:
    """Yield the fix: no clipping of gradients.

    Args:
        cause: the suspected cause.
        anatomy: description of the network.
        material: sample of images and labels.
    """
    how = anatomy.compilation
    yield Change(
        code=cause.code, summary="no clipping of gradients",
        lines=f"optimizer=keras.optimizers.{how.optimizer}(learning_rate={how.learning_rate:.3g})  # no clipping",
        size=1, edits=(c.SetClipnorm(None),),
    )  # fmt: skip


def balanced_class_weights(material: DataSample) -> dict[int, float]:
    """Return Keras' `class_weight`: class number -> images / (classes * images of the class), 3 decimal places."""
    counts = [max(1, n) for n in material.classes.values()]
    return {i: round(sum(counts) / (len(counts) * n), 3) for i, n in enumerate(counts)}


def balance_classes(cause: Cause, anatomy: Anatomy, material: DataSample) -> Iterator[Change]:
    """Yield the fix: class weights inversely proportional to the number of images of each class.

    Args:
        cause: the suspected cause.
        anatomy: description of the network.
        material: sample of images and labels.
    """
    weights = balanced_class_weights(material)
    yield Change(
        code=cause.code, summary="weigh the classes against their frequency",
        lines=f"class_weight={weights}", size=1, edits=(c.SetClassWeights(weights),),
    )  # fmt: skip
