"""Images of every size: a few shapes to which they are brought, so that each nearly keeps its own.

A batch can only hold images of one shape. Each image goes to the shape that is nearest to its own, with its aspect
ratio kept to ten percent and its size as well as so few shapes allow; nothing is padded or cut off.
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
"""Shapes at most: each costs part of a batch a pass of its own through the network."""

STRETCH: Final = 1.1
"""Factor by which the aspect ratio may change."""

LEAST_SIDE: Final = 8  # pixels
_SQUARE_SIDE: Final = 64  # pixels, where images are shown as squares
_ALIKE: Final = 1.5  # sides that differ by less are not worth a shape of their own

Floats = npt.NDArray[np.float64]


def choose_buckets(
    sizes: Sequence[tuple[int, int]], *, max_side: int, least: int = LEAST_SIDE, most: int = MOST
) -> tuple[tuple[int, int], ...]:
    """Shapes (height, width) for images of these sizes, the smallest area first.

    Args:
        sizes: (width, height) of each, upright; at least one.
        max_side: longer images are shrunk to it; none is enlarged but to `least`.
        least: pixels that the shorter side has at least: thinner images are widened to it.
        most: shapes at most. Where so few can't keep all aspect ratios to `STRETCH`, the largest change is the least
            that they can do with.
    """
    least = min(least, max_side)
    width, height = _limited(np.asarray(sizes, np.float64), max_side, least)
    aspect, area = np.log(width / height), np.log(width * height)
    groups = _by_aspect(aspect, most)
    while len(groups) < most:
        spread, place = max((float(np.ptp(area[rows])), place) for place, rows in enumerate(groups))
        if spread <= 2 * math.log(_ALIKE):
            break
        rows = groups[place]
        middle = (area[rows].min() + area[rows].max()) / 2
        groups[place : place + 1] = [rows[area[rows] <= middle], rows[area[rows] > middle]]
    shapes = {_shape(aspect[rows], area[rows], max_side, least) for rows in groups}
    return tuple(sorted(shapes, key=lambda shape: (shape[0] * shape[1], shape)))


def nearest(sizes: Sequence[tuple[int, int]], shapes: Sequence[tuple[int, int]]) -> IntArray:
    """Place (n,) of the shape that each image is brought to: the aspect ratio comes first, then the size.

    Args:
        sizes: (width, height) of each image, upright.
        shapes: (height, width) on offer.
    """
    offered = np.array(shapes, np.float64)
    width, height = _limited(np.asarray(sizes, np.float64), offered.max(), LEAST_SIDE)
    bent = np.abs(np.log(width / height)[:, None] - np.log(offered[:, 1] / offered[:, 0]))
    grown = np.abs(np.log(width * height)[:, None] - np.log(offered[:, 0] * offered[:, 1]))
    # A change of the aspect beyond what is allowed weighs more than any change of size.
    cost = grown / 2 + bent + 100 * np.maximum(0, bent - math.log(STRETCH) - 1 / offered.min(axis=1))
    return np.asarray(cost.argmin(axis=1), np.int64)


def stretch(sizes: Sequence[tuple[int, int]], shapes: Sequence[tuple[int, int]]) -> float:
    """Factor by which the aspect ratio of an image changes at most."""
    (width, height), chosen = np.asarray(sizes, np.float64).T, np.array(shapes, np.float64)[nearest(sizes, shapes)]
    return float(np.exp(np.abs(np.log(width / height) - np.log(chosen[:, 1] / chosen[:, 0])).max()))


def _limited(sizes: Floats, max_side: float, least: float) -> tuple[Floats, Floats]:
    """Widths and heights with the longer side at most `max_side`, and none below `least`."""
    scale = np.minimum(1.0, max_side / sizes.max(axis=1))
    fitted = np.maximum(sizes * scale[:, None], least)
    return fitted[:, 0], fitted[:, 1]


def _by_aspect(aspect: Floats, most: int) -> list[IntArray]:
    """Rows by ranges of the aspect ratio, as few as keep it to `STRETCH`; if those are too many, as wide as needed."""
    reach = 2 * math.log(STRETCH)
    if len(groups := _ranges(aspect, reach)) <= most:
        return groups
    low, high = reach, float(np.ptp(aspect))
    for _ in range(30):
        reach = (low + high) / 2
        low, high = (low, reach) if len(_ranges(aspect, reach)) <= most else (reach, high)
    return _ranges(aspect, high)


def _ranges(aspect: Floats, reach: float) -> list[IntArray]:
    """The fewest ranges of this width that hold all values: from the smallest on, each as far as it goes."""
    order = np.argsort(aspect, kind="stable")
    ordered, first, groups = aspect[order], 0, []
    while first < len(order):
        end = int(np.searchsorted(ordered, ordered[first] + reach + 1e-9, side="right"))
        groups.append(np.sort(order[first:end]))
        first = end
    return groups


def _shape(aspect: Floats, area: Floats, max_side: int, least: int) -> tuple[int, int]:
    """Height and width: the middle of the aspect ratios, the median area."""
    middle, size = (float(aspect.min()) + float(aspect.max())) / 2, float(np.median(area))
    height, width = math.exp((size - middle) / 2), math.exp((size + middle) / 2)
    shrink = min(1.0, max_side / max(height, width))
    return max(least, round(height * shrink)), max(least, round(width * shrink))


def square_side(image_size: int) -> int:
    """Pixels a side of the squares of images whose longest side is this."""
    return min(_SQUARE_SIDE, image_size)


@dataclass(frozen=True, slots=True, eq=False)
class Squares:
    """Looks like an array `(n, side, side, channels)` uint8; an image is stretched when it is looked at.

    Attributes:
        pixels: (n, longest, longest, channels) uint8, each image in its upper left corner.
        shapes: (height, width) that there are.
        shape_ids: (n,) index of each image's shape in `shapes`.
        side: of the squares.
    """

    pixels: Pixels
    shapes: Sequence[tuple[int, int]]
    shape_ids: IntArray
    side: int

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """The shape of the array that this looks like: `(n, side, side, channels)`."""
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
