"""Statistics of image files before they are resized for training: one pass over all files, then cached."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from PIL import Image
from PIL.ExifTags import IFD, Base

from search.data import disk_cache
from search.data.decode import Pixels, UnreadableImage, UnreadableNow, flattened, opened, raw_mode
from search.data.parallel import OnProgress, map_in_threads
from search.data.scan import ImageFolder

SIDE: Final = 64
"""Side in pixels of the grey pictures that duplicates are found with."""

TINY: Final = 16
"""Side in pixels of the coloured pictures that the baselines are fitted to."""

RECIPE: Final = 3
"""Version of the statistics: raised when the same file would get other values."""

_SHARP_SIDE: Final = 256  # largest side in pixels at which sharpness is measured: finer detail is camera noise
_BITS: Final = {"1": 1, "I": 32, "F": 32, "I;16": 16, "I;16B": 16, "I;16L": 16}  # of Pillow's modes; others have 8

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageStats:
    """Statistics of n image files, in the order of the files. Unreadable files have a reason, and zeros elsewhere."""

    reasons: tuple[str, ...]  # why the file can't be read; "" if it can
    formats: tuple[str, ...]  # Pillow's, such as JPEG
    modes: tuple[str, ...]  # Pillow's, such as RGB or I;16
    width: Ints  # (n,) pixels, after the EXIF rotation
    height: Ints  # (n,) pixels, after the EXIF rotation
    bits: Ints  # (n,) bits a channel
    frames: Ints  # (n,) number of frames; more than one in an animation or a file of several pages
    size: Ints  # (n,) bytes
    taken: Ints  # (n,) EXIF time of the photograph, seconds since 1970; 0 if unknown
    darkest: Floats  # (n,) 5th percentile of grey, 0..1
    brightest: Floats  # (n,) 99th percentile of grey, 0..1
    contrast: Floats  # (n,) standard deviation of grey, 0..1
    sharpness: Floats  # (n,) standard deviation of the Laplacian of grey (0..1), at a side of at most 256 pixels
    grey: Pixels  # (n, 64, 64) uint8 thumbnails, stretched to squares
    colour: Pixels  # (n, 16, 16, 3) uint8 thumbnails, stretched to squares

    @property
    def readable(self) -> npt.NDArray[np.bool_]:
        """Mask `(n,)`: whether each file can be read."""
        return np.array([not reason for reason in self.reasons], np.bool_)


_TEXTS: Final = ("reasons", "formats", "modes")


def image_stats(images: ImageFolder, *, on_progress: OnProgress) -> ImageStats:
    """Return the statistics of all files of a folder, from the cache or computed now.

    Args:
        images: the image files.
        on_progress: called after each file that had to be read; see `OnProgress`.

    Raises:
        DataError: the cache folder can't be written.
    """

    def packed(stats: ImageStats) -> dict[str, npt.NDArray[Any]]:
        return {field.name: np.array(getattr(stats, field.name)) for field in fields(ImageStats)}

    def unpacked(arrays: dict[str, npt.NDArray[Any]]) -> ImageStats:
        if len(arrays["width"]) != len(images.files):
            raise ValueError("another number of files")
        values: dict[str, Any] = dict(arrays)
        return ImageStats(**values | {name: tuple(map(str, arrays[name])) for name in _TEXTS})

    name = disk_cache.entry_name(["looks", RECIPE, images.digests])
    stats = disk_cache.arrays(f"{name}.looks.npz", unpacked)
    if stats is None:
        paths = [images.path / file for file in images.files]
        of_files = list(map_in_threads(_stats_of_file, paths, "looking at", on_progress))
        stats = _joined(of_files)
        if not any(values.get("may_pass") for values in of_files):
            disk_cache.keep_arrays(f"{name}.looks.npz", packed(stats))
    return stats


def _stats_of_file(path: Path) -> dict[str, Any]:
    """The fields of `ImageStats` for one file; `may_pass` is true if a later attempt may read it."""
    try:
        size = path.stat().st_size
        with opened(path) as image:
            values: dict[str, Any] = {"formats": image.format or "", "modes": image.mode, "size": size, "reasons": ""}
            values["width"], values["height"] = reversed(image.size) if _is_turned(image) else image.size
            values["bits"] = 16 if ";16" in raw_mode(image) else _BITS.get(image.mode, 8)
            values["frames"] = 1 if image.format == "MPO" else int(getattr(image, "n_frames", 1))
            values["taken"] = _taken(image)
            image.draft(None, (2 * _SHARP_SIDE, 2 * _SHARP_SIDE))  # a JPEG at half, a quarter, an eighth of its size
            return values | _appearance(flattened(image))
    except (UnreadableImage, OSError) as error:
        may_pass = isinstance(error, UnreadableNow | OSError)
        return {"reasons": str(error) or type(error).__name__, "may_pass": may_pass}


def _is_turned(image: Image.Image) -> bool:
    """Whether the EXIF orientation swaps width and height."""
    with contextlib.suppress(Exception):
        return int(image.getexif().get(Base.Orientation, 1)) in (5, 6, 7, 8)
    return False


def _taken(image: Image.Image) -> int:
    with contextlib.suppress(Exception):  # EXIF data are as various as those who wrote them
        text = str(image.getexif().get_ifd(IFD.Exif).get(Base.DateTimeOriginal, ""))
        return int(datetime.strptime(text, "%Y:%m:%d %H:%M:%S").replace(tzinfo=UTC).timestamp())
    return 0


def _appearance(flat: Image.Image) -> dict[str, Any]:
    small = flat.copy()
    small.thumbnail((_SHARP_SIDE, _SHARP_SIDE), Image.Resampling.BILINEAR)
    fine: Floats = np.asarray(small.convert("L"), np.float32) / np.float32(255)
    dark, bright = np.percentile(fine, (5, 99))
    grey = flat.convert("L").resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    return {
        "darkest": dark,
        "brightest": bright,
        "contrast": fine.std(),
        "sharpness": _laplacian(fine).std() if min(fine.shape) > 2 else 0.0,
        "grey": np.asarray(grey, np.uint8),
        "colour": np.asarray(flat.convert("RGB").resize((TINY, TINY), Image.Resampling.BILINEAR), np.uint8),
    }


def _laplacian(image: Floats) -> Floats:
    middle = image[1:-1, 1:-1]
    around = image[:-2, 1:-1] + image[2:, 1:-1] + image[1:-1, :-2] + image[1:-1, 2:]
    laplacian: Floats = around - 4 * middle
    return laplacian


def _joined(of_files: Sequence[dict[str, Any]]) -> ImageStats:
    blank: dict[str, Any] = {
        "formats": "",
        "modes": "",
        "grey": np.zeros((SIDE, SIDE)),
        "colour": np.zeros((TINY, TINY, 3)),
    }
    kinds = {
        "width": np.int64,
        "height": np.int64,
        "bits": np.int64,
        "frames": np.int64,
        "size": np.int64,
        "taken": np.int64,
    }
    values: dict[str, Any] = {}
    for field in fields(ImageStats):
        column = [values_of_file.get(field.name, blank.get(field.name, 0)) for values_of_file in of_files]
        if field.name in _TEXTS:
            values[field.name] = tuple(column)
        else:
            kind = np.uint8 if field.name in ("grey", "colour") else kinds.get(field.name, np.float32)
            values[field.name] = np.array(column, kind)
    return ImageStats(**values)
