"""Which images are unlike the training images: so far from every one of them that the model's answer means little."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from search.errors import DamagedError

Array = npt.NDArray[np.float32]
Pixels = npt.NDArray[np.uint8]

_SHARE: Final = 0.01
_NEAREST: Final = 3
_MOST_KEPT: Final = 2000


@dataclass(frozen=True, slots=True)
class Likeness:
    """The training images as points, and how far from them an image may lie."""

    centre: Array  # (d,)
    scale: Array  # (d,)
    points: Array  # (n, d)
    threshold: float

    def distances(self, pixels: Pixels) -> Array:
        """Mean distance to the nearest training images, over the threshold: above 1 an image is unlike them."""
        return _nearest((features(pixels) - self.centre) / self.scale, self.points, 0) / np.float32(self.threshold)

    def to_bytes(self) -> bytes:
        """As `.npz`."""
        stream = io.BytesIO()
        np.savez_compressed(
            stream,
            centre=self.centre,
            scale=self.scale,
            points=self.points.astype(np.float16),
            threshold=np.float64(self.threshold),
        )
        return stream.getvalue()

    @classmethod
    def of_bytes(cls, content: bytes) -> Likeness:
        """From `.npz`, pickle forbidden.

        Raises:
            DamagedError: it is something else.
        """
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
                return cls(
                    arrays["centre"].astype(np.float32),
                    arrays["scale"].astype(np.float32),
                    arrays["points"].astype(np.float32),
                    float(arrays["threshold"]),
                )
        except Exception as error:
            raise DamagedError(f"what the model holds to tell unlike images can't be read ({error}).") from None


def learn(pixels: Pixels) -> Likeness:
    """From the training images `(n, side, side, channels)`."""
    found = features(pixels)
    centre, scale = found.mean(0), np.maximum(found.std(0), 1e-3)
    points = ((found - centre) / scale).astype(np.float16).astype(np.float32)
    kept = points[:: -(-len(points) // _MOST_KEPT)]
    own = _nearest(kept, kept, 1)
    return Likeness(centre, scale, kept, float(np.quantile(own, 1 - _SHARE, method="higher")))


def features(pixels: Pixels) -> Array:
    """`(n, d)` float32."""
    side = pixels.shape[1]
    edges = np.linspace(0, side, min(side, 8) + 1).astype(int)
    values = pixels.astype(np.float32) / 255
    small = np.add.reduceat(np.add.reduceat(values, edges[:-1], axis=1), edges[:-1], axis=2)
    return small.reshape(len(pixels), -1)


def _nearest(points: Array, others: Array, leave: int) -> Array:
    squared = (points**2).sum(1)[:, None] + (others**2).sum(1)[None] - 2 * points @ others.T
    near = np.sort(np.maximum(squared, 0), axis=1)[:, leave : leave + _NEAREST]
    return np.asarray(np.sqrt(near).mean(1), np.float32)
