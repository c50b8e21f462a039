"""A small set of images for benchmarks: scikit-learn's handwritten digits."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

_EACH: Final = 40  # images a class: few, as with our users
_BRIGHTEST: Final = 16  # of the stored pixels


def write_digits(folder: Path) -> None:
    """Write 400 handwritten digits (Alpaydin & Kaynak, UCI 1998), 40 of each, as grey PNG files of 8 x 8 pixels.

    Args:
        folder: the files become `folder/digit-<0..9>/<number>.png`; existing files are not overwritten.
    """
    digits = load_digits()
    for digit in range(10):
        target = folder / f"digit-{digit}"
        target.mkdir(parents=True, exist_ok=True)
        for number in np.flatnonzero(digits.target == digit)[:_EACH]:
            path = target / f"{number:04d}.png"
            if not path.exists():
                pixels = digits.images[number] * (255 / _BRIGHTEST)
                Image.fromarray(pixels.round().astype(np.uint8)).save(path)
