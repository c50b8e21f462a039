"""A small image folder for trying things out: handwritten digits on pieces of photographs, all from scikit-learn."""

from __future__ import annotations

import functools
import math
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image
from sklearn.datasets import load_digits, load_sample_image

from search import seeds

TRAIN: Final = {0: 100, 1: 100, 4: 100, 7: 30}
"""Digit -> number of its training images. One class is rare, so that class weights and oversampling matter."""

TEST: Final = {0: 60, 1: 60, 4: 60, 7: 18}
"""Digit -> number of its test images."""

SIDE: Final = 32
"""Pixels per side of an image. At 48, two busy cores found no answer within the three minutes."""

_TEST_EVERY: Final = 3  # each third written digit is for the test images, so that both parts have all writers
_BRIGHTEST: Final = 16  # of the stored pixels
_MARGIN: Final = 1  # empty pixels around the 8 x 8 stored ones, so that strokes at the edge end softly
_CENTRE: Final = 4 + _MARGIN
_BOLD: Final = 1.3  # strokes of half ink become more solid

# How hard it is. Neither the place nor the colour of a pixel says anything of the digit: nearest neighbours on 16 x 16
# pixels reach a balanced accuracy of 0.46, logistic regression 0.3. The three minutes are enough for small networks to
# reach 0.7 to 0.8. With digits from 0.45 of the side and a contrast from 60 they were still at 0.4.
_HEIGHT: Final = (0.6, 0.85)  # of a digit, as a share of the side of the image
_ASPECT: Final = (0.8, 1.2)  # of its width, relative to its height
_ROTATION: Final = 15.0  # degrees, to both sides
_SLANT: Final = 0.3  # columns per row, to both sides
_CONTRAST: Final = (100.0, 170.0)  # of 255, brighter or darker than what is behind the digit
_TINT: Final = 25.0  # of 255, in each colour, to both sides
_ZOOM: Final = (1.0, 3.0)  # pixels of the photograph per pixel of the image

_Pixels = npt.NDArray[np.float64]


def write_demo(folder: Path) -> None:
    """Write 330 training and 198 test images: a handwritten digit somewhere on a piece of a photograph, in colour.

    The digits are those of Alpaydin & Kaynak (UCI 1998); each is used once. Digits, places, sizes, slants and colours
    follow from a fixed seed.

    Args:
        folder: the files become `folder/<train or test>/digit-<0, 1, 4 or 7>/<number>.png`, 32 x 32 pixels; existing
            files are not overwritten.
    """
    labels = load_digits().target
    for part, counts in (("train", TRAIN), ("test", TEST)):
        for digit, count in counts.items():
            target = folder / part / f"digit-{digit}"
            target.mkdir(parents=True, exist_ok=True)
            written = np.flatnonzero(labels == digit)
            is_test = np.arange(len(written)) % _TEST_EVERY == 0
            for number in written[is_test == (part == "test")][:count].tolist():
                path = target / f"{number:04d}.png"
                if not path.exists():
                    draft = path.with_suffix(".part")  # so that no interruption leaves half an image
                    Image.fromarray(draw(number)).save(draft, "png")
                    draft.replace(path)


def draw(number: int) -> npt.NDArray[np.uint8]:
    """Draw one image.

    Args:
        number: row of the digit in `sklearn.datasets.load_digits`, 0..1796; also the seed of everything else.

    Returns:
        `(SIDE, SIDE, 3)` uint8, RGB.
    """
    rng = seeds.generator(0, "demo", number)
    background = _piece_of_photograph(rng)
    ink = _placed_digit(number, rng)
    behind = np.average(background, axis=(0, 1), weights=ink)
    contrast = rng.uniform(*_CONTRAST) * rng.choice((-1, 1))
    if not 0 <= behind.mean() + contrast <= 255:
        contrast = -contrast  # a digit on a white sky is darker, one in the shade brighter
    colour = np.clip(behind + contrast + rng.uniform(-_TINT, _TINT, 3), 0, 255)
    pixels: _Pixels = background + (colour - background) * ink[..., None]
    return pixels.round().astype(np.uint8)


def _piece_of_photograph(rng: np.random.Generator) -> _Pixels:
    """A random square of a random photograph, `(SIDE, SIDE, 3)`, 0..255."""
    photograph = _photographs()[rng.integers(2)]
    side = SIDE * rng.uniform(*_ZOOM)
    left, top = (rng.uniform(0, length - side) for length in photograph.size)
    box = (left, top, left + side, top + side)
    return np.asarray(photograph.resize((SIDE, SIDE), Image.Resampling.BOX, box), np.float64)


def _placed_digit(number: int, rng: np.random.Generator) -> _Pixels:
    """A stored digit with random size, rotation, slant and place, `(SIDE, SIDE)`, 0 without ink to 1."""
    height = SIDE * rng.uniform(*_HEIGHT)
    width = height * rng.uniform(*_ASPECT)
    angle, slant = math.radians(rng.uniform(-_ROTATION, _ROTATION)), rng.uniform(-_SLANT, _SLANT)
    rotate = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    to_stored = np.linalg.inv(rotate @ [[1, slant], [0, 1]] @ np.diag([width, height]) / 8)
    place = rng.uniform(height / 2, SIDE - height / 2, 2)
    coefficients = np.column_stack([to_stored, _CENTRE - to_stored @ place]).ravel()
    stored = Image.fromarray(np.pad(_digits()[number], _MARGIN))
    ink = stored.transform((SIDE, SIDE), Image.Transform.AFFINE, coefficients.tolist(), Image.Resampling.BICUBIC)
    return np.clip(np.asarray(ink, np.float64) * (_BOLD / 255), 0, 1)


@functools.cache
def _digits() -> npt.NDArray[np.uint8]:
    """The stored digits `(1797, 8, 8)`, 0 without ink to 255."""
    digits: npt.NDArray[np.uint8] = (load_digits().images * (255 / _BRIGHTEST)).round().astype(np.uint8)
    return digits


@functools.cache
def _photographs() -> list[Image.Image]:
    return [Image.fromarray(load_sample_image(name)) for name in ("china.jpg", "flower.jpg")]
