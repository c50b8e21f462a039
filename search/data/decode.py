"""Decoding of image files to pixels, in the same way for training, test and prediction.

The first frame is read; its EXIF rotation is applied; transparent parts become white; deep pixels (more than 8 bits a
channel) are scaled to 8 bits by the image's or the data set's white level; the result becomes grey or RGB and is
stretched to a square by Pillow's bilinear resize, which averages over the source pixels when it shrinks.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageChops, ImageFile, ImageOps, UnidentifiedImageError

from search.data.parallel import QUIET
from spaces.image_format import ImageFormat

RECIPE: Final = 2
"""Version of the decoding: raised when the same file would give other pixels."""

FORMATS: Final = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP")
"""Formats that are read, whatever the file's ending. Others are refused: some of Pillow's readers start programs."""

GREY_TOLERANCE: Final = 2
"""Levels (of 0..255) by which the colour channels of a grey image may differ, as they do after lossy conversions."""

JPEG_MARGIN: Final = 4
"""Smallest size, as a multiple of the target side, at which a JPEG is decoded (1/2, 1/4 or 1/8 of its size). This is
many times faster for photographs, and pixels differ by at most one or two levels."""

_MOST_BYTES: Final = 1 << 30  # of a file: the largest image that is taken, uncompressed, with 16 bits and four channels
_FAR_WHITE: Final = 16.0  # times the image's own white level: four of its eight bits are left
_AT_ONCE: Final = 1 << 20  # deep pixels that are brought to eight bits in one go

_LOWER: Final = {"RGB;16B": "RGB;16L", "RGBA;16B": "RGBA;16L", "LA;16B": "RGBA"} | {
    f"{colours};16{order}": f"{colours};16B" for colours in ("RGB", "RGBA") for order in ("L", "N")
}
"""Raw modes of colours with 16 bits, and those by which Pillow reads the same bytes so that the lower eight are in it;
N is this machine's own order, which is L wherever TensorFlow runs."""

Pixels = npt.NDArray[np.uint8]


class UnreadableImage(Exception):
    """Raised for a file that can't be decoded; the text is a short reason without the file's name."""


class UnreadableNow(UnreadableImage):
    """Raised for a file that can't be read now, because of the disk, network or memory; a later attempt may succeed."""


@dataclass(frozen=True, slots=True)
class Probe:
    """Size and colours of an image file before it is resized.

    Attributes:
        width: width in pixels after the EXIF rotation.
        height: height in pixels after the EXIF rotation.
        grey: whether no pixel has a colour.
        white: white level of an image with more than 8 bits a channel, in its own units; 0 for 8 bits or less.
    """

    width: int
    height: int
    grey: bool
    white: float = 0.0


def decode(path: Path, image_format: ImageFormat, shape: tuple[int, int] | None = None) -> Pixels:
    """Decode an image file and resize it. Never warns.

    Args:
        path: the image file.
        image_format: side and channels of the result, and the white level of images with more than 8 bits a channel.
        shape: (height, width) in pixels to resize the image to, at most `image_size` each; the image then lies in the
            upper left corner of the result, and the rest is 0. None: the image is stretched to the whole square.

    Returns:
        Pixels `(image_size, image_size, channels)` uint8, 0..255.

    Raises:
        UnreadableImage: the file is empty, damaged, not an image, or declares too many pixels.
    """
    size, channels = image_format.image_size, image_format.channels
    with opened(path) as image:
        image.draft(None, (size * JPEG_MARGIN, size * JPEG_MARGIN))
        flat = flattened(image, image_format.white).convert("RGB" if channels == 3 else "L")
        height, width = shape or (size, size)
        resized = flat.resize((width, height), Image.Resampling.BILINEAR)
        pixels = np.asarray(resized, dtype=np.uint8).reshape(height, width, channels)
        return np.pad(pixels, ((0, size - height), (0, size - width), (0, 0))) if shape else pixels


def miniature(path: Path, *, side: int) -> Image.Image:
    """Return a thumbnail of an image file, rotated upright, opaque, in its own aspect ratio. Never warns.

    Args:
        path: the image file.
        side: largest width and height in pixels; smaller images keep their size.

    Returns:
        The thumbnail, in mode L or RGB.

    Raises:
        UnreadableImage: the file is empty, damaged, not an image, or declares too many pixels.
    """
    with opened(path) as image:
        image.draft(None, (side * JPEG_MARGIN, side * JPEG_MARGIN))
        small = flattened(image)
        small.thumbnail((side, side), Image.Resampling.LANCZOS)
        return small


def probe(path: Path) -> Probe:
    """Measure the size and colours of an image file. JPEGs are decoded at an eighth of their size.

    Raises:
        UnreadableImage: the file is empty, damaged, not an image, or declares too many pixels. A damaged file may pass
            here and still fail in `decode`.
    """
    with opened(path) as image:
        width, height = image.size
        if min(width, height) >= 64:
            image.draft(None, (width // 8, height // 8))
        flat, white = _flattened(image, None)
        is_turned = flat.size != image.size  # by the EXIF orientation
        return Probe(*((height, width) if is_turned else (width, height)), _is_grey(flat), white)


@contextmanager
def opened(path: Path) -> Iterator[Image.Image]:
    """Open an image file for a `with` block. Never warns.

    Raises:
        UnreadableImage: the file can't be opened, or the block raised any exception.
    """
    try:
        size = path.stat().st_size
        if not size:
            raise UnreadableImage("empty file")
        if size > _MOST_BYTES:
            raise UnreadableImage(f"larger than {_MOST_BYTES >> 20} MB")
        with QUIET, Image.open(BytesIO(path.read_bytes()), formats=FORMATS) as image:
            if math.prod(image.size) > (Image.MAX_IMAGE_PIXELS or math.inf):
                raise UnreadableImage("declares an absurd number of pixels")
            yield image
    except UnreadableImage:
        raise
    except UnidentifiedImageError as error:
        raise UnreadableImage("not an image in a supported format (png, jpg, bmp, gif, tif, webp)") from error
    except Image.DecompressionBombError as error:
        raise UnreadableImage("declares an absurd number of pixels") from error
    except OSError as error:
        # Those of a disk or a network have a number; what Pillow says of contents has none.
        raise (UnreadableImage if error.errno is None else UnreadableNow)(error.strerror or _short(error)) from error
    except MemoryError as error:
        raise UnreadableNow("not enough memory to read it") from error
    except Exception as error:  # Pillow's readers raise whatever they stumble over: OSError, SyntaxError, struct.error
        raise UnreadableImage(_short(error)) from error


def _short(error: Exception) -> str:
    text = str(error).strip().splitlines()
    return text[0][:120] if text else type(error).__name__


def raw_mode(image: Image.Image) -> str:
    """Return Pillow's raw mode (pixel layout in the file) of an opened image, such as RGB;16B; "" once loaded."""
    args = image.tile[0].args if isinstance(image, ImageFile.ImageFile) and image.tile else ""
    return str(args[0] if isinstance(args, tuple) else args)


def flattened(image: Image.Image, white: float | None = None) -> Image.Image:
    """Return an opened image rotated upright, opaque and with 8 bits a channel.

    Args:
        image: an image from `opened`; its pixels are loaded.
        white: white level of the data set for images with more than 8 bits a channel; None: the image's own level.

    Returns:
        The image, in mode L if it is stored without colours, else RGB.

    Raises:
        UnreadableImage: no pixel is a finite number.
    """
    return _flattened(image, white)[0]


def _flattened(image: Image.Image, white: float | None) -> tuple[Image.Image, float]:
    """Return the image as `flattened` does, and its own white level; 0 for 8 bits a channel or less."""
    own = _load(image, white)
    try:
        upright = ImageOps.exif_transpose(image)
    except Exception:  # damaged EXIF data are no reason to lose a sound image
        upright = image
    if upright.mode[0] in "IF":
        pixels, own = _eight_bits(np.asarray(upright), white)
        return Image.fromarray(pixels), own
    if upright.has_transparency_data:
        return _on_white(upright), own
    return upright.convert("L" if upright.mode in ("1", "L") else "RGB"), own


def _load(image: Image.Image, white: float | None) -> float:
    """Load the pixels. Of colours with 16 bits Pillow keeps only the upper eight, which may be almost empty.

    Returns the image's own white level if it has such colours, else 0.
    """
    raw, stream = raw_mode(image), getattr(image, "fp", None)
    content = stream.getvalue() if raw in _LOWER and isinstance(stream, BytesIO) else b""
    image.load()
    if not content:
        return 0.0
    if np.asarray(image)[..., :3].max() >= 128:
        return 65535.0
    with Image.open(BytesIO(content), formats=FORMATS) as twin:
        twin.tile = [tile._replace(args=_lower(tile.args)) for tile in twin.tile]
        lower = np.asarray(twin)[..., [1, 1, 1] if raw == "LA;16B" else [0, 1, 2]]
    pixels, own = _eight_bits(np.asarray(image)[..., :3].astype(np.int64) * 256 + lower, white)
    deep = Image.fromarray(pixels)
    if image.mode == "RGBA":
        deep.putalpha(image.getchannel("A"))
    image.paste(deep)
    return own


def _lower(args: Any) -> Any:
    return (_LOWER[args[0]], *args[1:]) if isinstance(args, tuple) else _LOWER[args]


def _on_white(image: Image.Image) -> Image.Image:
    """Put an image on a white background, as image viewers do: dark strokes would vanish on black.

    An alpha channel that hides every pixel is taken for a mistake of the program that wrote it, and is ignored.
    """
    colours = image.convert("RGBA")
    if colours.getchannel("A").getextrema() != (0, 0):
        colours = Image.alpha_composite(Image.new("RGBA", colours.size, "white"), colours)
    return colours.convert("RGB")


def _eight_bits(values: npt.NDArray[np.generic], white: float | None) -> tuple[Pixels, float]:
    """Scale pixels of more than 8 bits to 0..255; returns them and the image's own white level.

    0 stays black. The own white level is 2^n - 1 with the fewest bits n that hold the maximum; for maxima up to 1 it is
    the smallest power of two that is not below the maximum. Sensors often store 10, 12 or 14 bits in files of 16 bits,
    which would look black if 65535 were white. A data set's level `white` is used instead of the image's own, unless
    the image is brighter or so dim that less than four bits would be left. Images with negative values have no known
    black: they are stretched from minimum to maximum, and their own white level is 0.
    """
    flat = values.reshape(-1)
    parts = [flat[start : start + _AT_ONCE] for start in range(0, len(flat), _AT_ONCE)]
    ends = [(part.min(), part.max()) for part in (part[np.isfinite(part)] for part in parts) if len(part)]
    if not ends:
        raise UnreadableImage("no pixel is a finite number")
    own = 0.0
    low, high = float(min(least for least, _ in ends)), float(max(most for _, most in ends))
    if low >= 0 and high > 0:
        own = 2.0 ** math.ceil(math.log2(high)) if high <= 1 else 2.0 ** math.ceil(high).bit_length() - 1
        low, high = 0.0, white if white is not None and own <= white <= _FAR_WHITE * own else own
    pixels = np.empty(len(flat), np.uint8)
    for start, part in zip(range(0, len(flat), _AT_ONCE), parts, strict=True):
        shares = (np.where(np.isfinite(part), part, low).astype(np.float64) - low) / ((high - low) or 1.0)
        pixels[start : start + _AT_ONCE] = np.rint(shares * 255).clip(0, 255)
    return pixels.reshape(values.shape), own


def _is_grey(flat: Image.Image) -> bool:
    if flat.mode == "L":
        return True
    red, green, blue = flat.split()
    pairs = (ImageChops.difference(red, green), ImageChops.difference(green, blue), ImageChops.difference(red, blue))
    return all(pair.getextrema()[1] <= GREY_TOLERANCE for pair in pairs)  # type: ignore[operator]
