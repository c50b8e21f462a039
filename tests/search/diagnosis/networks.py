"""Anatomies written by hand: a small healthy network, and single things changed in it."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from search.diagnosis.evidence import (
    Anatomy,
    Compilation,
    DataSample,
    DiagnosisFit,
    LayerInfo,
    LayerStatistics,
    NetworkProbe,
)
from search.diagnosis.evidence import Epoch as EpochRecord


def dense(name: str, units: int, activation: str = "relu", fan_in: int = 64, **more: Any) -> LayerInfo:
    values = {"kind": "Dense", "initializer": "GlorotUniform", "use_bias": True, "shape": (None, units), **more}
    return LayerInfo(
        name=name, activation=activation, units=units, fan_in=fan_in, parameters=units * (fan_in + 1), **values
    )


def conv(name: str, filters: int, activation: str = "relu", side: int = 8, **more: Any) -> LayerInfo:
    values = {
        "kind": "Conv2D",
        "initializer": "GlorotUniform",
        "fan_in": 27,
        "shape": (None, side, side, filters),
        **more,
    }
    return LayerInfo(name=name, activation=activation, units=filters, parameters=filters * 28, **values)


def plain(name: str, kind: str, **more: Any) -> LayerInfo:
    return LayerInfo(name=name, kind=kind, **more)


RESCALING = plain("rescaling", "Rescaling", scale=1 / 255, offset=0.0, shape=(None, 8, 8, 3))


def chain(*layers: LayerInfo, **compiled: Any) -> Anatomy:
    """Layers that follow each other."""
    linked: list[LayerInfo] = []
    for layer in layers:
        linked.append(replace(layer, inputs=(linked[-1].name,) if linked else ()))
    trainable = sum(layer.parameters for layer in linked if layer.trainable)
    how = {"optimizer": "Adam", "learning_rate": 1e-3, "loss": "sparse_categorical_crossentropy", **compiled}
    return Anatomy(
        layers=tuple(linked), compilation=Compilation(**how), output=linked[-1].name,
        outputs=next(layer.units for layer in reversed(linked) if layer.units), trainable=trainable,
        parameters=sum(layer.parameters for layer in linked),
    )  # fmt: skip


def healthy(
    *inner: LayerInfo, last: Sequence[LayerInfo] = (), first: Sequence[LayerInfo] = (RESCALING,), **compiled: Any
) -> Anatomy:
    """A convolution and a dense layer, `inner` between them."""
    end = last or (dense("out", 3, "softmax"),)
    return chain(*first, conv("conv", 16), plain("flat", "Flatten", shape=(None, 1024)), *inner, *end, **compiled)


def material(**changes: Any) -> DataSample:
    values: dict[str, Any] = {
        "images": 300, "classes": {"a": 100, "b": 100, "c": 100}, "labels": "int", "shape": (8, 8, 3), "low": 0.0,
        "high": 255.0, "mean": 110.0, "deviation": 60.0, "batch_size": 16, "epochs": 20, "baseline": 0.9,
    }  # fmt: skip
    return DataSample(**{**values, **changes})


def two_classes(**changes: Any) -> DataSample:
    return material(**{"classes": {"a": 150, "b": 150}, "labels": "binary", **changes})


def probe(*layers: LayerStatistics, **changes: Any) -> NetworkProbe:
    values: dict[str, Any] = {
        "loss": 1.1, "penalty": 0.0, "expected_loss": 1.0986, "finite": True, "top_share": 0.5, "layers": layers,
        "low": 0.0, "high": 1.0,
    }  # fmt: skip
    return NetworkProbe(**{**values, **changes})


def epoch(**changes: Any) -> EpochRecord:
    values: dict[str, Any] = {
        "loss": 1.0, "data_loss": 1.0, "val_loss": 1.0, "train_score": 0.33, "val_score": 0.33, "auc": 0.5,
        "top_share": 1.0, "first_gradient": 0.1, "last_gradient": 0.1, "dead": 0.0,
        "dead_layer": None, "weight": 10.0, "update": 1e-3, "finite": True,
    }  # fmt: skip
    return EpochRecord(**{**values, **changes})


def run(seed: int = 0, learned: bool = False, score: float = 0.33, epochs: int = 8, **last: Any) -> DiagnosisFit:
    """A fit whose last epoch is changed."""
    seen = (*(epoch() for _ in range(epochs - 1)), epoch(**last))
    return DiagnosisFit(seed=seed, epochs=seen, learned=learned, score=score, train_score=seen[-1].train_score)
