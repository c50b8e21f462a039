"""The format of the images that a network takes, and how an image file is converted to it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageFormat:
    """Size, channels and white level to which images are converted before a network sees them, as uint8 0..255.

    Attributes:
        image_size: side of the square images in pixels; with `shapes`, the longest side of any shape.
        channels: 1 (grey) or 3 (RGB).
        shapes: pairs (height, width) in pixels; each image is resized to one of them. Empty if all images become
            squares.
        white: pixel value that becomes 255 in images with more than 8 bits per channel; None if each image has its own,
            or no image has more than 8 bits.
    """

    image_size: int
    channels: int
    shapes: tuple[tuple[int, int], ...] = ()
    white: float | None = None

    def __post_init__(self) -> None:  # JSON knows lists only
        object.__setattr__(self, "shapes", tuple((height, width) for height, width in self.shapes))

    @property
    def any_size(self) -> bool:
        """Whether images have several shapes, so that the network must take any height and width."""
        return bool(self.shapes)

    @property
    def decoded(self) -> ImageFormat:
        """The format without `white`, which has no effect once files are decoded to 8 bits per channel."""
        return replace(self, white=None)

    def recipe(self) -> dict[str, Any]:
        """Return how an image file becomes the network's input: as text under `recipe`, as data under `steps`."""
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
