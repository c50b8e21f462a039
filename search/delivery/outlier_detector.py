"""Detection of images unlike the training images: the model predicts them too, but that means little.

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
"""Share (0..1) of images like the training images that are flagged; at least about one in the number of images."""

FEWEST: Final = 10
"""Smallest number of training images for a detector."""

_PARTS: Final = 20  # held back in turn: with five, the threshold hangs on how they are drawn
_LEVELS: Final = (0.02, 0.25, 0.5, 0.75, 0.98)  # quantiles of a channel's values
_FARTHEST: Final = 4.0
_FAINT: Final = 0.01  # of full scale: detail and colour below it count as none
_AT_ONCE: Final = 256  # images


@dataclass(frozen=True, slots=True)
class OutlierDetector:
    """The distribution of the training images' features, scaled so that 1 is the threshold of an outlier.

    Attributes:
        centre: `(d,)` float32 mean of the features.
        whitener: `(d, d)` float32; the norm of (features - centre) @ whitener is the distance in threshold units.
    """

    centre: FloatArray
    whitener: FloatArray

    def distances(self, pixels: Pixels) -> FloatArray:
        """Return each image's Mahalanobis distance from the training images, divided by the limit for outliers.

        Args:
            pixels: `(n, side, side, channels)` uint8, side and channels as in training.

        Returns:
            `(n,)` float32; an outlier is above 1.
        """
        distances = np.linalg.norm((features(pixels) - self.centre) @ self.whitener, axis=1)
        return np.asarray(distances, np.float32)

    def to_bytes(self) -> bytes:
        """Return the detector as the bytes of an `.npz` file."""
        stream = io.BytesIO()
        np.savez_compressed(stream, centre=self.centre, whitener=self.whitener)
        return stream.getvalue()

    @classmethod
    def of_bytes(cls, content: bytes, channels: int, side: int) -> OutlierDetector:
        """Read a detector from bytes of an `.npz` file; pickled objects are refused.

        Args:
            content: bytes from `to_bytes`.
            channels: channels of the images, 1 or 3.
            side: side of the images in pixels.

        Raises:
            DamagedError: the bytes are not a detector, or one for images of another side or number of channels.
        """
        wanted = features(np.zeros((1, side, side, channels), np.uint8)).shape[1]
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
                detector = cls(arrays["centre"].astype(np.float32), arrays["whitener"].astype(np.float32))
            if (detector.centre.shape, detector.whitener.shape) != ((wanted,), (wanted, wanted)):
                raise ValueError(f"shapes {detector.centre.shape} and {detector.whitener.shape}")
        except Exception as error:  # NumPy's reader raises whatever it stumbles over
            raise DamagedError(
                f"the outlier detector in the model can't be read ({str(error)[:80]}). Train the model again."
            ) from None
        return detector


def fit_detector(pixels: Pixels, groups: IntArray | None = None) -> OutlierDetector | None:
    """Fit a detector to the training images.

    Args:
        pixels: `(n, side, side, channels)` uint8, all training images.
        groups: `(n,)` group of each image, None without groups; images of one group are held back together when the
            threshold is measured.

    Returns:
        The detector; None for fewer than `FEWEST` images.
    """
    if len(pixels) < FEWEST:
        return None
    described = features(pixels)
    distances = np.zeros(len(described))
    for held_back in _parts(len(described), groups):
        rest = np.setdiff1d(np.arange(len(described)), held_back)
        centre, whitener = _fit(described[rest])
        distances[held_back] = np.linalg.norm((described[held_back] - centre) @ whitener, axis=1)
    centre, whitener = _fit(described)
    return OutlierDetector(centre.astype(np.float32), (whitener / _threshold(distances)).astype(np.float32))


def features(pixels: Pixels) -> FloatArray:
    """Return the features `(n, d)` float32 of images `(n, side, side, channels)` uint8: levels, colours and detail.

    d only depends on side and channels.
    """
    parts = [_describe(pixels[start : start + _AT_ONCE]) for start in range(0, len(pixels), _AT_ONCE)]
    return np.concatenate(parts)


def _parts(count: int, groups: IntArray | None) -> Iterator[IntArray]:
    """Rows to hold back in turn: about a twentieth each, whole groups."""
    owners = np.arange(count) if groups is None else np.unique(groups, return_inverse=True)[1]
    names = owners.max() + 1
    place = seeds.generator(0, "likeness").permutation(names) % min(_PARTS, names)
    for part in range(min(_PARTS, names)):
        yield np.flatnonzero(place[owners] == part)


def _threshold(distances: npt.NDArray[np.float64]) -> float:
    """The distance that only `FALSE_ALARMS` of usual images exceed, from those of held-back ones.

    With few images that is the largest, and one blank scan among them would hide every other: so it is at most
    `_FARTHEST` robust deviations above the median, on a log scale, where usual images lie within three and a half.
    """
    rank = min(len(distances), math.ceil((len(distances) + 1) * (1 - FALSE_ALARMS)))
    logs = np.log(np.maximum(distances, 1.0))
    deviation = 1.4826 * np.median(np.abs(logs - np.median(logs)))  # 1.4826: of a normal distribution
    return float(min(np.sort(distances)[rank - 1].clip(1.0), np.exp(np.median(logs) + _FARTHEST * deviation)))


def _fit(described: FloatArray) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Centre, and the matrix that makes the features' covariance the identity.

    A feature that hardly varies counts as varying by `_FAINT`: less is a matter of rounding.
    """
    centre = described.mean(axis=0, dtype=np.float64)
    deviation = described.std(axis=0, dtype=np.float64)
    scale = np.maximum(deviation, _FAINT)
    covariance, _ = ledoit_wolf((described - centre) / scale)
    covariance += np.diag(1 - (deviation / scale) ** 2)
    return centre, np.linalg.cholesky(np.linalg.inv(covariance)) / scale[:, None]


def _describe(pixels: Pixels) -> FloatArray:
    images = pixels.astype(np.float32) / 255
    values = images.reshape(len(images), -1, images.shape[-1])
    quantiles = np.quantile(values, _LEVELS, axis=1).transpose(1, 0, 2).reshape(len(values), -1)
    parts = [values.mean(axis=1), values.std(axis=1), quantiles]
    if images.shape[-1] == 3:
        chroma = values[..., :2] - values[..., 1:]
        parts += [chroma.mean(axis=1), chroma.std(axis=1), np.log(chroma.std(axis=1) + _FAINT)]
    parts += _detail(images.mean(axis=-1))
    return np.concatenate(parts, axis=1).astype(np.float32)


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
