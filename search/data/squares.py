"""Images of every size as squares of one size, for methods that take no others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from PIL import Image

from search.arrays import IntArray
from search.data.decode import Pixels

_SIDE: Final = 64


def square_side(image_size: int) -> int:
    """Pixels a side of the squares of images whose longest side is this."""
    return min(_SIDE, image_size)


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
        """As of an array."""
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
