"""Which images are unlike the training images: the model answers them too, but its answer means little.

An image is described by its levels, colours and the strength of its detail at every scale, in some fifty numbers, and
is unlike the training images if these lie farther from theirs than about 99 in 100 of their own kind do (Mahalanobis
distance, covariance shrunk after Ledoit & Wolf, 2004). How far one's own kind lies is measured on training images that
were held back, as in split conformal prediction, so that the share of false alarms is known whatever the images are.
What is kept are means and covariances, no images. It sees another kind of picture, camera, stain or exposure, and
noise; it does not see that a picture of the usual kind shows something new.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from sklearn.covariance import ledoit_wolf

from search import seeds
from search.arrays import FloatArray, IntArray
from search.errors import DamagedError

Pixels = npt.NDArray[np.uint8]

FALSE_ALARMS: Final = 0.01
"""Share of images of the training images' own kind that are flagged; where these are few, about one in their number."""

FEWEST: Final = 10
"""Images from which anything can be told."""

_PARTS: Final = 20  # held back in turn: with five, the threshold hangs on how they are drawn
_LEVELS: Final = (0.02, 0.25, 0.5, 0.75, 0.98)  # quantiles of a channel's values
_FARTHEST: Final = 4.0
_FAINT: Final = 0.01  # of full scale: detail and colour below it count as none
_AT_ONCE: Final = 256  # images


@dataclass(frozen=True, slots=True)
class OutlierDetector:
    """Where the training images lie, and how far from there an image may be."""

    centre: FloatArray  # (d,)
    whitener: FloatArray  # (d, d): makes distances of features - centre, in units of the threshold

    def distances(self, pixels: Pixels) -> FloatArray:
        """`(n,)` for images `(n, side, side, channels)`: above 1 an image is unlike the training images."""
        found = np.linalg.norm((features(pixels) - self.centre) @ self.whitener, axis=1)
        return np.asarray(found, np.float32)

    def to_bytes(self) -> bytes:
        """As `.npz`."""
        stream = io.BytesIO()
        np.savez_compressed(stream, centre=self.centre, whitener=self.whitener)
        return stream.getvalue()

    @classmethod
    def of_bytes(cls, content: bytes, channels: int, side: int) -> OutlierDetector:
        """From `.npz`, pickle forbidden.

        Args:
            content: of `to_bytes`.
            channels: of the images that it will see.
            side: of the images that it will see.

        Raises:
            DamagedError: it is something else.
        """
        wanted = features(np.zeros((1, side, side, channels), np.uint8)).shape[1]
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
                found = cls(arrays["centre"].astype(np.float32), arrays["whitener"].astype(np.float32))
            if (found.centre.shape, found.whitener.shape) != ((wanted,), (wanted, wanted)):
                raise ValueError(f"shapes {found.centre.shape} and {found.whitener.shape}")
        except Exception as error:  # NumPy's reader raises whatever it stumbles over
            raise DamagedError(
                f"what the model holds to tell unlike images can't be read ({str(error)[:80]}). Train it again."
            ) from None
        return found


def fit_detector(pixels: Pixels, groups: IntArray | None = None) -> OutlierDetector | None:
    """What the training images `(n, side, side, channels)` are like; None for fewer than `FEWEST`.

    Args:
        pixels: all training images.
        groups: (n,) images of one group are held back together.
    """
    if len(pixels) < FEWEST:
        return None
    found = features(pixels)
    own = np.zeros(len(found))
    for held in _parts(len(found), groups):
        rest = np.setdiff1d(np.arange(len(found)), held)
        centre, whitener = _fitted(found[rest])
        own[held] = np.linalg.norm((found[held] - centre) @ whitener, axis=1)
    centre, whitener = _fitted(found)
    return OutlierDetector(centre.astype(np.float32), (whitener / _threshold(own)).astype(np.float32))


def features(pixels: Pixels) -> FloatArray:
    """`(n, d)` numbers that tell of levels, colours and detail; d depends on side and channels only."""
    parts = [_described(pixels[start : start + _AT_ONCE]) for start in range(0, len(pixels), _AT_ONCE)]
    return np.concatenate(parts)


def _parts(count: int, groups: IntArray | None) -> Iterator[IntArray]:
    """Rows to hold back in turn: about a twentieth each, whole groups."""
    owners = np.arange(count) if groups is None else np.unique(groups, return_inverse=True)[1]
    names = owners.max() + 1
    place = seeds.generator(0, "likeness").permutation(names) % min(_PARTS, names)
    for part in range(min(_PARTS, names)):
        yield np.flatnonzero(place[owners] == part)


def _threshold(own: npt.NDArray[np.float64]) -> float:
    """The distance that only `FALSE_ALARMS` of usual images exceed, from those of held-back ones.

    With few images that is the largest, and one blank scan among them would hide every other: so it is at most
    `_FARTHEST` robust deviations above the median, on a log scale, where usual images lie within three and a half.
    """
    place = min(len(own), math.ceil((len(own) + 1) * (1 - FALSE_ALARMS)))  # of the distances, by size
    logs = np.log(np.maximum(own, 1.0))
    deviation = 1.4826 * np.median(np.abs(logs - np.median(logs)))  # 1.4826: of a normal distribution
    return float(min(np.sort(own)[place - 1].clip(1.0), np.exp(np.median(logs) + _FARTHEST * deviation)))


def _fitted(found: FloatArray) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Centre, and the matrix that makes the features' covariance the identity.

    A feature that hardly varies counts as varying by `_FAINT`: less is a matter of rounding.
    """
    centre = found.mean(axis=0, dtype=np.float64)
    deviation = found.std(axis=0, dtype=np.float64)
    scale = np.maximum(deviation, _FAINT)
    covariance, _ = ledoit_wolf((found - centre) / scale)
    covariance += np.diag(1 - (deviation / scale) ** 2)
    return centre, np.linalg.cholesky(np.linalg.inv(covariance)) / scale[:, None]


def _described(pixels: Pixels) -> FloatArray:
    images = pixels.astype(np.float32) / 255
    values = images.reshape(len(images), -1, images.shape[-1])
    quantiles = np.quantile(values, _LEVELS, axis=1).transpose(1, 0, 2).reshape(len(values), -1)
    found = [values.mean(axis=1), values.std(axis=1), quantiles]
    if images.shape[-1] == 3:
        chroma = values[..., :2] - values[..., 1:]
        found += [chroma.mean(axis=1), chroma.std(axis=1), np.log(chroma.std(axis=1) + _FAINT)]
    found += _detail(images.mean(axis=-1))
    return np.concatenate(found, axis=1).astype(np.float32)


def _detail(grey: FloatArray) -> Iterator[FloatArray]:
    """Strength of the differences between neighbours, and how evenly they are spread, at each scale."""
    while min(grey.shape[1:]) >= 4:
        for steps in (np.diff(grey, axis=1), np.diff(grey, axis=2)):
            strength = np.sqrt((steps**2).mean(axis=(1, 2)))
            evenness = np.abs(steps).mean(axis=(1, 2)) / (strength + _FAINT / 10)
            yield np.stack([np.log(strength + _FAINT), evenness], axis=1)
        side = grey.shape[1] // 2 * 2
        halved = grey[:, :side, :side].reshape(len(grey), side // 2, 2, side // 2, 2)
        grey = halved.mean(axis=(2, 4))
