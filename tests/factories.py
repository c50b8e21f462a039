"""What tests of several rooms are made of."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from spaces.config import Configuration


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


def make_images(folder: Path, count: int, names: Sequence[str] = ("bolt", "nut")) -> Path:
    """A folder with so many different grey images a class."""
    rng = np.random.default_rng(0)
    for name in names:
        (folder / name).mkdir(parents=True)
        for number in range(count):
            Image.fromarray(rng.integers(0, 256, (8, 8), dtype=np.uint8)).save(folder / name / f"{number}.png")
    return folder
