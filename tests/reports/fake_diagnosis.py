"""Diagnoses made by hand."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from search.causes import Cause
from search.diagnosis.evidence import (
    Anatomy,
    Compilation,
    DataSample,
    Diagnosis,
    DiagnosisFit,
    Epoch,
    Fix,
    LayerInfo,
    LayerStatistics,
    NetworkProbe,
    NetworkState,
)

EVIL = "</script><script>alert(1)</script>"
NAMES = ("rescale", "conv1", "conv2", "flat", "out")


def epoch(place: int, *, rising: bool = False, **changes: Any) -> Epoch:
    values: dict[str, Any] = {
        "loss": 0.70 - 0.05 * place * rising,
        "data_loss": 0.69,
        "val_loss": 0.6931,
        "train_score": 0.5 + 0.08 * place * rising,
        "val_score": 0.5 + 0.07 * place * rising,
        "auc": 0.5,
        "top_share": 1.0,
        "first_gradient": 1e-9,
        "last_gradient": 1e-3,
        "dead": 0.9,
        "dead_layer": "conv2",
        "weight": 12.0,
        "update": 0.001,
        "finite": True,
    }
    return Epoch(**{**values, **changes})


def run(seed: int, *, learned: bool = False, epochs: int = 5, **changes: Any) -> DiagnosisFit:
    values: dict[str, Any] = {
        "seed": seed,
        "epochs": tuple(epoch(place, rising=learned) for place in range(epochs)),
        "learned": learned,
        "score": 0.9 if learned else 0.5,
        "train_score": 0.95 if learned else 0.5,
        "seconds": 4.0,
    }
    return DiagnosisFit(**{**values, **changes})


def layer(name: str, kind: str = "Conv2D", **changes: Any) -> LayerInfo:
    values: dict[str, Any] = {
        "name": name,
        "kind": kind,
        "activation": "relu",
        "units": 16,
        "fan_in": 27,
        "initializer": "GlorotUniform",
        "parameters": 448,
        "shape": (None, 8, 8, 16),
    }
    return LayerInfo(**{**values, **changes})


def probe_of(name: str, place: int, **changes: Any) -> LayerStatistics:
    values: dict[str, Any] = {
        "name": name,
        "mean": 1.0,
        "deviation": 10.0**-place,
        "between_images": 10.0 ** (-place - 1),
        "dead": 0.2 * place,
        "weight": 0.05,
        "gradient": 10.0 ** -(6 - place),
        "update": 10.0 ** -(5 - place),
    }
    return LayerStatistics(**{**values, **changes})


def cause(code: str = "dead-relu", **changes: Any) -> Cause:
    values: dict[str, Any] = {"code": code, "score": 0.8, "layer": "conv2", "evidence": {"dead_share": 0.93}}
    return Cause(**{**values, **changes})


def mend(code: str = "dead-relu", **changes: Any) -> Fix:
    values: dict[str, Any] = {
        "code": code,
        "change": "model.add(layers.Rescaling(1 / 255))",
        "summary": "scale the pixels to 0..1",
        "size": 1,
        "before": (0.5, 0.5, 0.51),
        "after": (0.9, 0.92, 0.88),
        "seeds": (0, 1, 2),
        "confirmed": True,
    }
    return Fix(**{**values, **changes})


def diagnosis(
    state: NetworkState = NetworkState.COLLAPSED, names: tuple[str, ...] = NAMES, **changes: Any
) -> Diagnosis:
    healthy = state in (NetworkState.HEALTHY, NetworkState.SLOW)
    values: dict[str, Any] = {
        "model": "net.py:build",
        "folder": Path("images"),
        "material": DataSample(
            images=400,
            classes={"cat": 300, "dog": 100},
            labels="int",
            shape=(32, 32, 3),
            low=0.0,
            high=255.0,
            mean=120.0,
            deviation=60.0,
            batch_size=32,
            epochs=5,
            baseline=0.71,
        ),
        "anatomy": Anatomy(
            layers=tuple(layer(name) for name in names),
            compilation=Compilation(optimizer="Adam", learning_rate=0.001, loss="sparse_categorical_crossentropy"),
            output=names[-1],
            outputs=2,
            trainable=10_000,
            parameters=12_000,
        ),
        "probe": NetworkProbe(
            loss=88.1,
            penalty=0.0,
            expected_loss=0.562,
            finite=True,
            top_share=1.0,
            layers=tuple(probe_of(name, place) for place, name in enumerate(names)),
            overfits=False,
        ),
        "runs": tuple(run(seed, learned=healthy) for seed in range(3)),
        "state": state,
        "chance": 0.5,
        "threshold": 0.6,
        "causes": () if healthy else (cause("unscaled-input", layer=None, confirmed=True), cause(confirmed=False)),
        "remarks": (cause("majority-class", layer=None),),
        "fixes": () if healthy else (mend("unscaled-input"), mend("dead-relu", after=(0.5, 0.5, 0.5), confirmed=False)),
        "seconds": 93.4,
    }
    return Diagnosis(**{**values, **changes})


def hostile() -> Diagnosis:
    """Everything that comes from outside tries to be code."""
    wild = {EVIL: math.nan, "b": "\x1b[31m<b>"}
    return diagnosis(
        model=f"{EVIL}.py:build",
        folder=Path(f"images/{EVIL}"),
        names=("in", EVIL, "<img src=x onerror=alert(1)>", "a\x1b[31m", "out"),
        causes=(cause(layer=EVIL, evidence=wild), cause("nan", layer="{{ 7 * 7 }}", evidence=wild, confirmed=True)),
        remarks=(cause("leak", layer=EVIL),),
        fixes=(mend(change=f"{EVIL}\nx = '<b>'", summary=EVIL, after=(math.nan, 0.9, 0.9)),),
    )
