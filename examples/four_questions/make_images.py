"""Images for the four questions: the same files every time.

    python examples/four_questions/make_images.py            writes ./four_questions_images
    python examples/four_questions/make_images.py FOLDER     writes them there

The fourth question came with its images; those of the other three are private, so that here others stand in for them
which make the same trouble: as many, as unbalanced, as small.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

Pixels = npt.NDArray[np.uint8]
Draw = Callable[[np.random.Generator], Pixels]

SEED = 20190910


def tile(rng: np.random.Generator, *, marked: bool) -> Pixels:
    """`(h, w)` grey: an unevenly lit, grainy surface of 64 to 80 pixels a side; `marked`: with one soft dark spot."""
    height, width = rng.integers(64, 81, 2)
    y, x = np.mgrid[:height, :width]
    light = rng.uniform(110, 170) + rng.uniform(-0.4, 0.4) * (y - height / 2) + rng.uniform(-0.4, 0.4) * (x - width / 2)
    scratch = np.where(np.abs(x - rng.uniform(0, width) - rng.uniform(-0.3, 0.3) * y) < 1, rng.uniform(-20, 20), 0)
    surface = light + scratch + rng.normal(0, 9, (height, width))
    if marked:
        at = rng.uniform(10, height - 10), rng.uniform(10, width - 10)
        distance = np.hypot(y - at[0], x - at[1]) / rng.uniform(4.0, 6.5)
        surface -= rng.uniform(60, 90) * np.exp(-(distance**4))
    return _bytes(surface)


def spot(rng: np.random.Generator, *, ragged: bool) -> Pixels:
    """`(32, 32, 3)`: a brown spot on skin, of one tone with a smooth rim, or `ragged` and of two tones.

    Colour, size and place overlap: neither the mean colour nor one pixel tells the two apart.
    """
    y, x = np.mgrid[:32, :32]
    cy, cx = rng.uniform(13, 19, 2)
    angle = np.arctan2(y - cy, x - cx)
    radius = rng.uniform(6.5, 9.5)
    if ragged:
        waves = [rng.uniform(0.1, 0.2) * np.sin(n * angle + rng.uniform(0, 2 * np.pi)) for n in (2, 3, 5)]
        radius = radius * (1 + np.sum(waves, axis=0))
    inside = 1 / (1 + np.exp(np.hypot(y - cy, x - cx) - radius))[..., None]
    skin = np.array([205, 165, 145]) + rng.normal(0, 12, 3)
    brown = np.array([140, 95, 75]) + rng.normal(0, 12, 3)
    picture = skin * (1 - inside) + brown * inside
    if ragged:
        turn = rng.uniform(0, 2 * np.pi)
        half = 1 / (1 + np.exp(-((y - cy) * np.sin(turn) + (x - cx) * np.cos(turn))))[..., None]
        picture -= inside * half * rng.uniform(45, 75)
    return _bytes(picture + rng.normal(0, 8, picture.shape))


def cloth(rng: np.random.Generator, *, checked: bool) -> Pixels:
    """`(32, 32, 3)`: cloth with stripes, or `checked`; warm colours are more common with stripes, cold with checks."""
    y, x = np.mgrid[:32, :32]
    turn = rng.uniform(-0.4, 0.4)
    along, across = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
    width = 2 * np.pi / rng.uniform(5, 9)
    wave = np.sin(width * along + rng.uniform(0, 2 * np.pi))
    if checked:
        wave = wave * np.sin(width * across + rng.uniform(0, 2 * np.pi))
    colour = np.array([90, 120, 150] if checked else [150, 120, 90]) + rng.normal(0, 35, 3)
    return _bytes(colour + rng.uniform(30, 60) * wave[..., None] + rng.normal(0, 12, (32, 32, 3)))


def line(place: int, *, column: bool) -> Pixels:
    """`(3, 3)` black with one white row, or one white column."""
    image = np.zeros((3, 3), np.uint8)
    image[place] = 255
    return image.T if column else image


def _bytes(values: npt.NDArray[np.float64]) -> Pixels:
    return np.clip(values, 0, 255).astype(np.uint8)


DRAWN: dict[str, dict[str, tuple[Draw, int, int]]] = {  # story -> class -> what draws one, images in train and test
    "one_against_all": {
        "other": (lambda rng: tile(rng, marked=False), 800, 400),
        "spotted": (lambda rng: tile(rng, marked=True), 34, 18),
    },
    "stuck_at_0_6931": {
        "benign": (lambda rng: spot(rng, ragged=False), 55, 25),
        "malignant": (lambda rng: spot(rng, ragged=True), 55, 25),
    },
    "frozen_backbone": {
        "checks": (lambda rng: cloth(rng, checked=True), 150, 50),
        "stripes": (lambda rng: cloth(rng, checked=False), 150, 50),
    },
}


def images(story: str) -> Iterator[tuple[str, Pixels]]:
    """All images of a story, with their names: `part/class/number.png`, or `class/number.png` in the fourth."""
    if story == "rows_and_columns":
        for name in ("column", "row"):
            yield from ((f"{name}/{place}.png", line(place, column=name == "column")) for place in range(3))
        return
    rng = np.random.default_rng([SEED, list(DRAWN).index(story)])
    for name, (draw, training, test) in DRAWN[story].items():
        for part, count in (("train", training), ("test", test)):
            yield from ((f"{part}/{name}/{number:03d}.png", draw(rng)) for number in range(count))


def write(folder: Path) -> None:
    """Write the images of all four stories to `folder/story/...`; what lies there already is written over."""
    for story in (*DRAWN, "rows_and_columns"):
        for name, pixels in images(story):
            path = folder / story / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Write the images of the four questions.")
    parser.add_argument("folder", nargs="?", type=Path, default=Path("four_questions_images"))
    write(parser.parse_args().folder)
