"""Eight image corruptions in two strengths, such as another camera or an unsteady hand would cause.

Mild is what another device causes on a normal day; strong is obvious, but people still recognise the image. Most
follow Hendrycks and Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions and Perturbations"
(ICLR 2019): ImageNet-C at 224 pixels and CIFAR-10-C at 32. Lengths are shares of the image's side, so that an image
loses the same detail at every size. Where a corruption has a direction, the image has the same one in both strengths.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from search import seeds

Pixels = npt.NDArray[np.uint8]
Apply = Callable[[Pixels, float, np.random.Generator], Pixels]
"""Function of an image `(height, width, channels)` uint8, the amount and a random generator; returns a new image."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Corruption:
    """A corruption and the amounts of its mild and its strong form, both in `unit`."""

    apply: Apply
    mild: float
    strong: float
    unit: str


def corrupt(images: Pixels, form: str, seed: int = 0) -> Pixels:
    """Return a corrupted version of each image, which depends only on its pixels, the corruption and the seed.

    Args:
        images: `(n, height, width, channels)` uint8, sides of at least 8 pixels, 1 or 3 channels.
        form: corruption and strength, one of `FORMS`, such as "noise/2".
        seed: root seed of the random numbers.

    Returns:
        New images of the same shape and type.

    Raises:
        ValueError: `form` is not one of `FORMS`.
    """
    if form not in FORMS:
        raise ValueError(f"form must be one of {', '.join(FORMS)}, got {form!r}.")
    name, _, strength = form.partition("/")
    corruption = CORRUPTIONS[name]
    amount = corruption.mild if strength == "1" else corruption.strong
    copies = np.empty_like(images)
    for row, image in enumerate(images):
        content = hashlib.blake2b(image.tobytes(), digest_size=16).hexdigest()
        copies[row] = corruption.apply(image, amount, seeds.generator(seed, "corruption", name, content))
    return copies


def _noise(image: Pixels, amount: float, rng: np.random.Generator) -> Pixels:
    """A sensor's noise in poor light: normal, in each pixel and channel on its own."""
    return _rounded(image + 255 * amount * rng.standard_normal(image.shape, np.float32))


def _blur(image: Pixels, amount: float, rng: np.random.Generator) -> Pixels:
    """Out of focus: a normal distribution's bell, below 32 pixels as wide as at 32 so that anything changes."""
    width = amount * max(_side(image), _LEAST_BLURRED)
    return _pixels(_image(image).filter(ImageFilter.GaussianBlur(width)), image)


def _brightness(image: Pixels, amount: float, rng: np.random.Generator) -> Pixels:
    """Too little or too much light, as an exponent: unlike a sum or a factor it wipes out no dark or bright image."""
    exponent = amount if rng.integers(2) else 1 / amount
    return _rounded(255 * (np.arange(256) / 255) ** exponent)[image]


def _contrast(image: Pixels, amount: float, rng: np.random.Generator) -> Pixels:
    """Flat light or haze: each channel is drawn towards its mean."""
    means = image.mean(axis=(0, 1), keepdims=True, dtype=np.float32)
    return _rounded(image + amount * (means - image))


def _shift(image: Pixels, amount: float, rng: np.random.Generator) -> Pixels:
    """Not centred: moved by whole pixels in any direction."""
    height, width = image.shape[:2]
    angle = rng.uniform(0, 2 * np.pi)
    length = amount * max(_side(image), _LEAST_SHIFTED)
    down, right = round(length * np.sin(angle)), round(length * np.cos(angle))
    wide, margin = _framed(image)
    return wide[margin + down : margin + down + height, margin + right : margin + right + width]


def _rotation(image: Pixels, amount: float, rng: np.random.Generator) -> Pixels:
    """Held askew, to the left or to the right."""
    height, width = image.shape[:2]
    angle = amount * (1 if rng.integers(2) else -1)
    wide, margin = _framed(image)
    turned = np.asarray(_image(wide).rotate(angle, Image.Resampling.BILINEAR)).reshape(wide.shape)
    return turned[margin : margin + height, margin : margin + width]


def _jpeg(image: Pixels, amount: float, rng: np.random.Generator) -> Pixels:
    """Sent through a messenger: stored as JPEG.

    Small images are stored enlarged, as their files were before they were shrunk: JPEG works on blocks of 8 pixels,
    which would be a quarter of an image of 32.
    """
    times, file = -(-_LEAST_STORED // _side(image)), BytesIO()
    _image(image.repeat(times, axis=0).repeat(times, axis=1)).save(file, "JPEG", quality=round(amount))
    with Image.open(file, formats=["JPEG"]) as stored:
        return _pixels(stored.reduce(times), image)


def _resolution(image: Pixels, amount: float, rng: np.random.Generator) -> Pixels:
    """A smaller sensor, or a picture of a picture: shrunk, and blown up again."""
    height, width = image.shape[:2]
    shrunk = _image(image).resize((round(amount * width), round(amount * height)), Image.Resampling.BILINEAR)
    return _pixels(shrunk.resize((width, height), Image.Resampling.BILINEAR), image)


CORRUPTIONS: Final[dict[str, Corruption]] = {
    # CIFAR-10-C's mildest is 0.04: looked at, that already hides faint structure of dark images.
    "noise": Corruption(apply=_noise, mild=0.02, strong=0.06, unit="standard deviation, share of the full range"),
    # CIFAR-10-C: 0.0125 to 0.03 (0.4 to 1 pixel of 32).
    "blur": Corruption(apply=_blur, mild=0.011, strong=0.022, unit="standard deviation, share of the side"),
    # ImageNet-C adds 0.1 to 0.5 to the lightness; mid-grey becomes lighter by 0.07 and 0.17 here, darker by as much.
    "brightness": Corruption(apply=_brightness, mild=1.25, strong=1.75, unit="exponent, or 1 / exponent"),
    # CIFAR-10-C keeps 0.75 to 0.15: severities 1 and 3.
    "contrast": Corruption(apply=_contrast, mild=0.25, strong=0.6, unit="share of the contrast that is lost"),
    # Neither set has shifts or turns.
    "shift": Corruption(apply=_shift, mild=0.05, strong=0.12, unit="share of the side"),
    "rotation": Corruption(apply=_rotation, mild=5.0, strong=15.0, unit="degrees"),
    # ImageNet-C: 25 to 7, at 224 pixels. 15 is its severity 3.
    "jpeg": Corruption(apply=_jpeg, mild=40, strong=15, unit="quality, 1 to 95"),
    # ImageNet-C's pixelate: 0.6 to 0.25; CIFAR-10-C's: 0.95 to 0.65.
    "resolution": Corruption(apply=_resolution, mild=0.7, strong=0.5, unit="share of the side that is left"),
}
"""Every corruption by name."""

FORMS: Final = tuple(f"{name}/{strength}" for name in CORRUPTIONS for strength in (1, 2))
"""Every corruption in both strengths: 1 is mild, 2 is strong."""

_LEAST_BLURRED: Final = 32
_LEAST_STORED: Final = 64
_LEAST_SHIFTED: Final = 20  # a mild shift is one pixel at least
_FRAME: Final = 0.25  # of the side: more than any shift, or a corner turned by 15 degrees, needs


def _framed(image: Pixels) -> tuple[Pixels, int]:
    """The image with its edges mirrored outwards, as in training, and by how many pixels."""
    margin = int(_FRAME * max(image.shape[:2])) + 1
    return np.pad(image, ((margin, margin), (margin, margin), (0, 0)), mode="symmetric"), margin


def _side(image: Pixels) -> int:
    """The shorter one."""
    return int(min(image.shape[:2]))


def _image(image: Pixels) -> Image.Image:
    return Image.fromarray(image[..., 0] if image.shape[2] == 1 else image)


def _pixels(image: Image.Image, like: Pixels) -> Pixels:
    return np.asarray(image, dtype=np.uint8).reshape(like.shape)


def _rounded(values: npt.NDArray[np.floating[Any]]) -> Pixels:
    levels: Pixels = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    return levels
