"""Small pictures of a few images, to be shown in a report that stands alone."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from io import BytesIO
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image

from search.data.decode import Pixels, UnreadableImage, miniature
from search.data.parallel import OnProgress, map_in_threads

SIDE: Final = 128
"""Pixels that the longer side has at most: enough to see what a picture shows, some 4 kB as JPEG."""

_QUALITY: Final = 82


def thumbnails(
    rows: Iterable[int],
    *,
    folder: Path,
    files: Sequence[str],
    pixels: Pixels,
    side: int = SIDE,
    on_progress: OnProgress = lambda what, done, of: None,
) -> dict[int, str]:
    """Draw small pictures of some images: of the original file in its own proportions, or else of the decoded pixels.

    JPEG, because photographs take a sixth of what they would as PNG. The same files give the same bytes.

    Args:
        rows: of the images to show; one that comes twice is shown once.
        folder: the image folder.
        files: `(n,)` relative to it, in row order.
        pixels: `(n, side, side, channels)` uint8, what was trained on.
        side: pixels that width and height have at most.
        on_progress: called with what is done, how many are done and how many there are.

    Returns:
        Row -> JPEG in base64, by row.
    """

    def draw(row: int) -> str:
        return encoded(_picture(folder / files[row], pixels[row], side))

    wanted = sorted({int(row) for row in rows})
    return dict(zip(wanted, map_in_threads(draw, wanted, "drawing thumbnails", on_progress), strict=True))


def _picture(path: Path, pixels: Pixels, side: int) -> Image.Image:
    try:
        return miniature(path, side=side)
    except UnreadableImage:
        decoded = np.asarray(pixels)
        picture = Image.fromarray(decoded[..., 0] if decoded.shape[2] == 1 else decoded)
        picture.thumbnail((side, side), Image.Resampling.LANCZOS)
        return picture


def encoded(picture: Image.Image) -> str:
    """Return a picture as JPEG in base64."""
    file = BytesIO()
    picture.info = {}  # a comment in the original would be passed on
    picture.save(file, "JPEG", quality=_QUALITY, optimize=True)
    return base64.b64encode(file.getvalue()).decode("ascii")
