"""What all convolutional networks have in common, whatever their configuration: nothing of it is searched."""

from __future__ import annotations

from typing import Final

WIDENING: Final = 8
"""Filters double after each pooling, up to so many times the first convolution's."""

POOLED_FROM: Final = 4
"""Pixels: the smallest side of a feature map that is halved."""

FLAT_MAP: Final = 8
FLAT_IMAGE: Final = 32
"""Pixels a side to which, of images of every size, a feature map or the image itself is brought to be flattened."""
