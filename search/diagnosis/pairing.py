"""Rules for an output, a loss and labels that don't match. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from search.causes import Cause
from search.diagnosis.evidence import Anatomy, DataSample
from search.diagnosis.structure import RELU_LIKE, Head, head

CATEGORICAL: Final = ("categorical_crossentropy", "categorical_focal_crossentropy", "kl_divergence")
SPARSE: Final = ("sparse_categorical_crossentropy",)
BINARY: Final = ("binary_crossentropy", "binary_focal_crossentropy")
PROBABILISTIC: Final = (*CATEGORICAL, *SPARSE, *BINARY)

_WEAK_LOSSES: Final = {  # they train a classifier badly or slowly, so they are suspects, not convictions
    "mean_absolute_error": 0.6, "mean_squared_error": 0.3, "huber": 0.3, "hinge": 0.6, "squared_hinge": 0.6,
    "categorical_hinge": 0.45, "poisson": 0.4, "log_cosh": 0.3, "logcosh": 0.3, "cosine_similarity": 0.4,
}  # fmt: skip


def pairing(anatomy: Anatomy, material: DataSample) -> Iterator[Cause]:
    """Yield suspected causes in the combination of the last layers, the loss and the labels."""
    end = head(anatomy)
    name = end.layer.name if end.layer else None
    yield from _softmax(anatomy, end)
    yield from _activation(anatomy, end, name)
    yield from _labels(anatomy, material, end, name)


def _softmax(anatomy: Anatomy, end: Head) -> Iterator[Cause]:
    squashing = [(layer, a) for layer, a in end.activations if a in ("softmax", "sigmoid")]
    if anatomy.outputs == 1 and end.activation == "softmax":
        yield Cause(code="softmax-on-one-unit", score=1.0, layer=end.activations[-1][0], evidence={"units": 1.0})
    elif len(squashing) > 1:
        both = squashing[-1][1] == "softmax" and squashing[-2][1] == "softmax"
        yield Cause(
            code="double-softmax", score=0.9 if both else 0.7, layer=squashing[-1][0],
            evidence={"first": squashing[-2][0], "second": squashing[-1][0]},
        )  # fmt: skip
    elif anatomy.compilation.from_logits and squashing:
        # Keras' losses take the logits from before an activation that is the network's very output.
        harmless = end.last and not anatomy.compilation.blind
        yield Cause(
            code="double-softmax", score=0.1 if harmless else 0.85, layer=squashing[-1][0],
            evidence={"from_logits": "True", "activation": squashing[-1][1]},
        )  # fmt: skip


def _activation(anatomy: Anatomy, end: Head, name: str | None) -> Iterator[Cause]:
    loss, activation = anatomy.compilation.loss, end.activation
    if loss not in PROBABILISTIC:
        if activation == "relu":
            yield Cause(code="relu-on-output", score=0.6, layer=name, evidence={"loss": loss})
        return
    evidence: dict[str, float | str] = {"activation": activation, "loss": loss}
    if activation == "linear" and not anatomy.compilation.from_logits:
        yield Cause(code="missing-output-activation", score=1.0, layer=name, evidence=evidence)
    elif activation in ("relu", "relu6"):
        yield Cause(code="relu-on-output", score=1.0, layer=end.activations[-1][0], evidence=evidence)
    elif activation in RELU_LIKE or activation in ("tanh", "softsign", "exponential", "hard_tanh"):
        score = 0.4 if anatomy.compilation.from_logits else 0.95
        yield Cause(code="wrong-loss-pairing", score=score, layer=end.activations[-1][0], evidence=evidence)


def _labels(anatomy: Anatomy, material: DataSample, end: Head, name: str | None) -> Iterator[Cause]:
    loss, units, classes = anatomy.compilation.loss, anatomy.outputs, len(material.classes)
    evidence: dict[str, float | str] = {
        "loss": loss, "activation": end.activation, "units": float(units), "labels": material.labels,
        "classes": float(classes),
    }  # fmt: skip
    score = 0.0
    if units == 1:
        if loss in CATEGORICAL or loss in SPARSE or classes > 2 or material.labels == "onehot":
            score = 0.97
    elif loss in SPARSE:
        score = 0.97 if material.labels == "onehot" else 0.2 if end.activation == "sigmoid" else 0.0
    elif material.labels != "onehot" and loss != "custom":
        score = 0.97
    elif loss in CATEGORICAL and end.activation == "sigmoid":
        score = 0.35
    elif loss in BINARY and end.activation == "softmax":
        score = 0.15  # it works; the loss is merely not the usual one
    score = max(score, _WEAK_LOSSES.get(loss, 0.0))
    if score:
        yield Cause(code="wrong-loss-pairing", score=score, layer=name, evidence=evidence)
