"""What tests of several rooms are made of."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from search.collapse.rules import FitContext
from search.records import SEARCH
from search.settings import TrainingProtocol
from search.training.job import FitJob
from spaces.config import Configuration
from spaces.image_format import ImageFormat
from spaces.space import Space


def configuration(**changes: Any) -> Configuration:
    """Two convolutions and a dense layer, with some changes."""
    values: dict[str, Any] = {
        "depth": 3,
        "dense_ratio": 0.3,
        "initializer": "he_normal",
        "dropout": 0.1,
        "class_weighting": "none",
        "oversampling": "none",
        "batch_size": 16,
        "learning_rate": 1e-3,
    }
    return Configuration(**{**values, **changes})


def fit_job(**changes: Any) -> FitJob:
    """A fit of three classes on images of 8 x 8 pixels in colour, without any rows, with some changes."""
    protocol = changes.pop("protocol", None) or TrainingProtocol(
        epochs=changes.pop("epochs", 4), images=ImageFormat(image_size=8, channels=3), classes=3
    )
    context = FitContext(epochs=protocol.epochs, updates_per_epoch=6, imbalance=3, batchnorm=False, prior_entropy=1.0)
    values: dict[str, Any] = {
        "trial": 0,
        "stage": SEARCH,
        "configuration": configuration(),
        "protocol": protocol,
        "train": np.zeros(0, np.int64),
        "val": np.zeros(0, np.int64),
        "seed": 1,
        "context": context,
    }
    return FitJob(**{**values, **changes})


class _Draws:
    """Answers a space at random; quicker than a trial of Optuna."""

    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng(seed)

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        return low + step * int(self._rng.integers((high - low) // step + 1))

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        if step is not None:
            return low + step * int(self._rng.integers(round((high - low) / step) + 1))
        return float(np.exp(self._rng.uniform(np.log(low), np.log(high))) if log else self._rng.uniform(low, high))

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        return choices[int(self._rng.integers(len(choices)))]


def drawn(space: Space, seed: int, count: int = 1) -> list[Configuration]:
    """So many random configurations of a space."""
    draws = _Draws(seed)
    return [space.sample(draws) for _ in range(count)]


def make_images(folder: Path, count: int, names: Sequence[str] = ("bolt", "nut")) -> Path:
    """A folder with so many different grey images a class."""
    drawn = iter(_pictures(count * len(names)))
    for name in names:
        (folder / name).mkdir(parents=True)
        for number in range(count):
            (folder / name / f"{number}.png").write_bytes(next(drawn))
    return folder


@cache
def _pictures(count: int) -> tuple[bytes, ...]:
    """Different grey images of 8 x 8 pixels, the same every time."""
    rng = np.random.default_rng(0)
    return tuple(_png(rng.integers(0, 256, (8, 8), dtype=np.uint8)) for _ in range(count))


def _png(pixels: np.ndarray) -> bytes:
    file = BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()
