"""Aspect-ratio buckets: a few shapes for images of many sizes, so that none is distorted much.

A batch can only hold images of one shape. Each image is resized to the shape nearest to its own; its aspect ratio
changes by at most 10 % where `max_shapes` shapes are enough for that. Nothing is padded or cropped.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from search.arrays import IntArray
from search.data.decode import Pixels

MOST: Final = 8
"""Largest number of shapes: each one needs a separate pass through the network per batch."""

STRETCH: Final = 1.1
"""Largest factor by which the aspect ratio of an image should change."""

LEAST_SIDE: Final = 8
"""Shortest side of a shape, in pixels."""

_SQUARE_SIDE: Final = 64  # pixels, where images are shown as squares
_ALIKE: Final = 1.5  # sides that differ by less are not worth a shape of their own

Floats = npt.NDArray[np.float64]


def choose_buckets(
    sizes: Sequence[tuple[int, int]], *, max_side: int, min_side: int = LEAST_SIDE, max_shapes: int = MOST
) -> tuple[tuple[int, int], ...]:
    """Choose the shapes that images of the given sizes are resized to.

    Args:
        sizes: (width, height) of each image in pixels, after its EXIF rotation; at least one image.
        max_side: longest side of a shape in pixels; larger images are shrunk to it.
        min_side: shortest side of a shape in pixels; images are only enlarged where a side is shorter than this.
        max_shapes: largest number of shapes. If so many can't keep every change of an aspect ratio below the factor
            `STRETCH`, the ranges of aspect ratios are widened as little as possible.

    Returns:
        One to `max_shapes` shapes (height, width) in pixels, sorted by area, the smallest first.
    """
    min_side = min(min_side, max_side)
    width, height = _limited(np.asarray(sizes, np.float64), max_side, min_side)
    aspect, area = np.log(width / height), np.log(width * height)
    groups = _by_aspect(aspect, max_shapes)
    while len(groups) < max_shapes:
        spread, place = max((float(np.ptp(area[rows])), place) for place, rows in enumerate(groups))
        if spread <= 2 * math.log(_ALIKE):
            break
        rows = groups[place]
        middle = (area[rows].min() + area[rows].max()) / 2
        groups[place : place + 1] = [rows[area[rows] <= middle], rows[area[rows] > middle]]
    shapes = {_shape(aspect[rows], area[rows], max_side, min_side) for rows in groups}
    return tuple(sorted(shapes, key=lambda shape: (shape[0] * shape[1], shape)))


def nearest(sizes: Sequence[tuple[int, int]], shapes: Sequence[tuple[int, int]]) -> IntArray:
    """Find the shape that each image is resized to: the one nearest in aspect ratio, then in area.

    Args:
        sizes: (width, height) of each of n images in pixels, after its EXIF rotation.
        shapes: (height, width) of the available shapes in pixels, at least one.

    Returns:
        `(n,)` int64 index into `shapes` for each image.
    """
    offered = np.array(shapes, np.float64)
    width, height = _limited(np.asarray(sizes, np.float64), offered.max(), LEAST_SIDE)
    bent = np.abs(np.log(width / height)[:, None] - np.log(offered[:, 1] / offered[:, 0]))
    grown = np.abs(np.log(width * height)[:, None] - np.log(offered[:, 0] * offered[:, 1]))
    # A change of the aspect beyond what is allowed weighs more than any change of size.
    cost = grown / 2 + bent + 100 * np.maximum(0, bent - math.log(STRETCH) - 1 / offered.min(axis=1))
    return np.asarray(cost.argmin(axis=1), np.int64)


def stretch(sizes: Sequence[tuple[int, int]], shapes: Sequence[tuple[int, int]]) -> float:
    """Return the largest factor, at least 1, by which resizing to the nearest shape changes an image's aspect ratio.

    Args:
        sizes: (width, height) of each image in pixels, after its EXIF rotation; at least one image.
        shapes: (height, width) of the available shapes in pixels, at least one.
    """
    (width, height), chosen = np.asarray(sizes, np.float64).T, np.array(shapes, np.float64)[nearest(sizes, shapes)]
    return float(np.exp(np.abs(np.log(width / height) - np.log(chosen[:, 1] / chosen[:, 0])).max()))


def _limited(sizes: Floats, max_side: float, min_side: float) -> tuple[Floats, Floats]:
    """Widths and heights with the longer side at most `max_side`, and none below `min_side`."""
    scale = np.minimum(1.0, max_side / sizes.max(axis=1))
    fitted = np.maximum(sizes * scale[:, None], min_side)
    return fitted[:, 0], fitted[:, 1]


def _by_aspect(aspect: Floats, max_groups: int) -> list[IntArray]:
    """Group rows by aspect ratio: as few groups as `STRETCH` allows, or wider ones if those are too many."""
    reach = 2 * math.log(STRETCH)
    if len(groups := _ranges(aspect, reach)) <= max_groups:
        return groups
    low, high = reach, float(np.ptp(aspect))
    for _ in range(30):
        reach = (low + high) / 2
        low, high = (low, reach) if len(_ranges(aspect, reach)) <= max_groups else (reach, high)
    return _ranges(aspect, high)


def _ranges(aspect: Floats, reach: float) -> list[IntArray]:
    """Cover all values with the fewest ranges of width `reach`; returns the rows in each range."""
    order = np.argsort(aspect, kind="stable")
    ordered, first, groups = aspect[order], 0, []
    while first < len(order):
        end = int(np.searchsorted(ordered, ordered[first] + reach + 1e-9, side="right"))
        groups.append(np.sort(order[first:end]))
        first = end
    return groups


def _shape(aspect: Floats, area: Floats, max_side: int, min_side: int) -> tuple[int, int]:
    """Height and width of a group's shape: the middle of its aspect ratios and its median area."""
    middle, size = (float(aspect.min()) + float(aspect.max())) / 2, float(np.median(area))
    height, width = math.exp((size - middle) / 2), math.exp((size + middle) / 2)
    shrink = min(1.0, max_side / max(height, width))
    return max(min_side, round(height * shrink)), max(min_side, round(width * shrink))


def square_side(image_size: int) -> int:
    """Return the side in pixels of the squares that `Squares` shows, given the longest side of the images in pixels."""
    return min(_SQUARE_SIDE, image_size)


@dataclass(frozen=True, slots=True, eq=False)
class Squares:
    """Read-only stand-in for an array `(n, side, side, channels)` uint8; an image is stretched when it is indexed.

    Attributes:
        pixels: (n, longest, longest, channels) uint8, each image in its upper left corner.
        shapes: (height, width) of each shape in pixels.
        shape_ids: (n,) index of each image's shape in `shapes`.
        side: side of the squares in pixels.
    """

    pixels: Pixels
    shapes: Sequence[tuple[int, int]]
    shape_ids: IntArray
    side: int

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Shape of the array that this stands for: `(n, side, side, channels)`."""
        return len(self), self.side, self.side, self.pixels.shape[3]

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, rows: Any) -> Pixels:
        if isinstance(rows, int | np.integer):
            return self._square(int(rows))
        chosen = np.arange(len(self))[rows]
        return (
            np.stack([self._square(int(row)) for row in chosen])
            if len(chosen)
            else np.zeros((0, *self.shape[1:]), np.uint8)
        )

    def _square(self, row: int) -> Pixels:
        height, width = self.shapes[self.shape_ids[row]]
        own = self.pixels[row, :height, :width]
        image = Image.fromarray(own[..., 0] if own.shape[2] == 1 else own)
        stretched = image.resize((self.side, self.side), Image.Resampling.BILINEAR)
        return np.asarray(stretched, np.uint8).reshape(self.side, self.side, -1)
