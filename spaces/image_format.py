"""The format of the images that a network is fed with, and how a file is brought to it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageFormat:
    """The size, channels and brightness that images are brought to before a network sees them, as uint8 0..255.

    Attributes:
        image_size: pixels a side; the longest side where there are `shapes`.
        channels: 1 (grey) or 3 (RGB).
        shapes: (height, width) in pixels, one of which each image is brought to; empty where all images become squares.
        white: level that is white in images with more than 8 bits a channel; None where each image has its own, or none
            has more than 8 bits.
    """

    image_size: int
    channels: int
    shapes: tuple[tuple[int, int], ...] = ()
    white: float | None = None

    def __post_init__(self) -> None:  # JSON knows lists only
        object.__setattr__(self, "shapes", tuple((height, width) for height, width in self.shapes))

    @property
    def any_size(self) -> bool:
        """Whether images of several shapes are trained on, so that the network must take any height and width."""
        return bool(self.shapes)

    @property
    def decoded(self) -> ImageFormat:
        """The format once files are decoded to 8 bits a channel, when `white` has no meaning any more."""
        return replace(self, white=None)

    def recipe(self) -> dict[str, Any]:
        """Return how a file becomes the network's input, in words and as data."""
        first = f"of more than 8 bits a channel take {self.white:g} for white; " if self.white is not None else ""
        mode, name = ("RGB", "RGB") if self.channels == 3 else ("L", "grey (Pillow mode L)")
        resize: dict[str, Any] = {"filter": "bilinear", "antialias": True}
        size = self.image_size
        if self.shapes:
            shapes_in_words = ", ".join(f"{width} x {height}" for height, width in self.shapes)
            where = (
                "with Pillow's bilinear filter (antialiased) to that of these widths x heights whose aspect ratio and "
                f"then size is nearest: {shapes_in_words}"
            )
            resize = {"to": [list(shape) for shape in self.shapes], **resize}
        else:
            where = (
                f"to {size} x {size} pixels with Pillow's bilinear filter (antialiased; the aspect ratio is not kept)"
            )
            resize = {"width": size, "height": size, **resize, "keep_aspect": False}
        return {
            **({} if self.shapes else {"size": size}),
            "channels": self.channels,
            "recipe": f"{first}apply the EXIF orientation, convert to {name}, resize {where}; feed the values 0 to 255",
            "steps": [
                *([] if self.white is None else [{"white": self.white}]),
                {"exif_transpose": True},
                {"convert": mode},
                {"resize": resize},
                {"range": [0, 255]},
            ],
        }
