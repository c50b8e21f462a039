"""Constants of the architecture that all convolutional networks share; none of them is searched."""

from __future__ import annotations

from typing import Final

WIDENING: Final = 8
"""Largest ratio of a convolution's filters to the first one's: they double after each pooling up to here."""

POOLED_FROM: Final = 4
"""Smallest side of a feature map, in pixels, that pooling still halves."""

FLAT_MAP: Final = 8
FLAT_IMAGE: Final = 32
"""Pixels a side to which a feature map (`FLAT_MAP`), or an image without convolutions (`FLAT_IMAGE`), is resized before
it is flattened, where images have several sizes."""
