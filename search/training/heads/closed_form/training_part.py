"""The training part of a split as linear heads are fitted to it: standardized, in few coordinates. Pure NumPy."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from search.arrays import IntArray
from search.training.heads.closed_form.linear_head import DoubleArray, LinearHead

# A feature that varies by less of its size is constant: features are float32, and this is eight of their roundings.
_CONSTANT: Final = 1e-6
# Axes with less than this share of the first one's variance are dropped: the eigenvalues of so flat an axis are mostly
# rounding (2e-16, times some hundred images).
_FLAT: Final = 1e-12


class PrincipalCoordinates:
    """Standardized features of training images, written in the axes of their singular value decomposition.

    The standardized features are Z = U S V'. An L2-penalized linear model has its optimal coefficients in the span of
    the training images (representer theorem: Kimeldorf & Wahba 1971; Hastie, Tibshirani & Friedman, The Elements of
    Statistical Learning, 2009, 18.3.5). So with W = V A it may be fitted to the r <= min(n - 1, features) coordinates
    Z V = U S instead of the features: |W|² = |A|² and Z W = U S A. U, S and V come of the smaller one of ZZ' and Z'Z.

    Each feature has mean 0 and variance 1 over the training images; a constant feature becomes 0 and gets no
    coefficient.

    Args:
        x: `(n, features)`, features of the training images.
        least_share: features whose deviation is less than this share of the median are scaled as if it were this share;
            for features of one unit.

    Raises:
        ValueError: `x` has another shape, or holds a number that is not finite.
    """

    def __init__(self, x: npt.NDArray[np.floating[Any]], least_share: float = 0.0) -> None:
        if x.ndim != 2:
            raise ValueError(f"Features must be (images, features), got an array of shape {x.shape}.")
        if not np.isfinite(x).all():
            raise ValueError(f"{np.count_nonzero(~np.isfinite(x))} of {x.size} features are not finite.")
        z = x.astype(np.float64)
        self._mean = z.mean(0)
        z -= self._mean
        deviation = np.sqrt(np.einsum("ij,ij->j", z, z) / len(z))
        varies = deviation > _CONSTANT * np.abs(self._mean)
        if varies.any():
            deviation = np.maximum(deviation, least_share * np.median(deviation[varies]))
        self._inverse_scale = np.divide(1.0, deviation, out=np.zeros_like(deviation), where=varies)
        z *= self._inverse_scale
        by_images = z.shape[0] <= z.shape[1]
        squares, axes = np.linalg.eigh(z @ z.T if by_images else z.T @ z)
        steep = squares > _FLAT * max(squares.max(initial=0.0), np.finfo(np.float64).tiny)
        axes = np.ascontiguousarray(axes[:, steep])
        self.squares: DoubleArray = squares[steep]  # (r,), squared length of each column of `values`, ascending
        # (n, r), columns are orthogonal to each other and have mean 0.
        self.values: DoubleArray = axes * np.sqrt(self.squares) if by_images else z @ axes
        self.features_used = int(varies.sum())  # those that are not constant
        self._z = z if by_images else None
        self._from_axes: DoubleArray = axes / np.sqrt(self.squares) if by_images else axes

    def heads(self, coefficients: DoubleArray, intercepts: DoubleArray) -> list[LinearHead]:
        """Turn models of the coordinates into heads on the features.

        Args:
            coefficients: `(S, r, K)`, of S models.
            intercepts: `(S, K)`.
        """
        models, _, classes = coefficients.shape
        kernels = self._from_axes @ coefficients.transpose(1, 0, 2).reshape(-1, models * classes)
        if self._z is not None:
            kernels = self._z.T @ kernels
        kernels *= self._inverse_scale[:, None]
        biases = intercepts - (self._mean @ kernels).reshape(models, classes)
        return [
            LinearHead(np.ascontiguousarray(kernel), bias - bias.mean())
            for kernel, bias in zip(np.split(kernels, models, axis=1), biases, strict=True)
        ]


@dataclass(frozen=True)
class TrainingPart:
    """Training images of a split. Make it with `TrainingPart.of`; `dataclasses.replace` shares the coordinates.

    Weights count as numbers of copies: an image of weight 2 is worth two images. Features are standardized without
    them, so that parts with other weights may share their coordinates.
    """

    coordinates: PrincipalCoordinates
    labels: IntArray  # (n,), 0..K-1
    classes: int  # K >= 2, each with an image at least
    weights: DoubleArray  # (n,), > 0
    groups: IntArray  # (n,), equal for images that belong together, such as those of one patient

    @classmethod
    def of(
        cls,
        x: npt.NDArray[np.floating[Any]],
        labels: Iterable[int],
        classes: int,
        weights: npt.ArrayLike | None = None,
        groups: Iterable[int] | None = None,
        *,
        least_share: float = 0.0,
    ) -> TrainingPart:
        """Return the training part of a split, with its features decomposed.

        Args:
            x: `(n, features)`, finite.
            labels: `(n,)` 0..K-1; each class has an image at least.
            classes: K, 2 at least.
            weights: `(n,)`, > 0; None: all 1.
            groups: `(n,)`; None: each image is a group of its own.
            least_share: of `PrincipalCoordinates`.

        Raises:
            ValueError: lengths differ, a class has no image, a label is none of the classes, or a weight or a feature
                is not finite or a weight not positive.
        """
        y = np.asarray(labels, np.int64)
        w = np.ones(len(x)) if weights is None else np.asarray(weights, np.float64)
        g = np.arange(len(x)) if groups is None else np.asarray(groups, np.int64)
        return cls(PrincipalCoordinates(x, least_share), y, classes, w, g)

    def __post_init__(self) -> None:
        images = len(self.coordinates.values)
        lengths = {"labels": self.labels, "weights": self.weights, "groups": self.groups}
        for name, values in lengths.items():
            if values.shape != (images,):
                raise ValueError(f"Expected {images} {name}, one for each image, got an array of shape {values.shape}.")
        if self.classes < 2 or set(np.unique(self.labels)) != set(range(self.classes)):
            raise ValueError(
                f"Expected images of each of {self.classes} classes (2 at least), got labels {np.unique(self.labels)}."
            )
        if not (np.isfinite(self.weights) & (self.weights > 0)).all():
            raise ValueError(f"Weights must be positive and finite, got {self.weights.min()} to {self.weights.max()}.")

    def one_hot(self) -> DoubleArray:
        """Return `(n, K)` float64: 1 in the column of an image's class, otherwise 0."""
        return np.eye(self.classes)[self.labels]

    def class_weights(self) -> DoubleArray:
        """Return `(K,)` float64, the sum of the weights of each class."""
        sums: DoubleArray = np.bincount(self.labels, self.weights, self.classes).astype(np.float64, copy=False)
        return sums

    def groups_by_size(self) -> list[IntArray]:
        """Return the rows of each group, as an array `(groups, images)` for each number of images that groups have.

        Raises:
            ValueError: all images are one group, so that none is left if it is left out.
        """
        _, group_of, sizes = np.unique(self.groups, return_inverse=True, return_counts=True)
        if len(sizes) < 2:
            raise ValueError("All training images are one group: expected two groups at least, as each is left out.")
        by_group = np.argsort(group_of, kind="stable")
        return [by_group[sizes[group_of[by_group]] == size].reshape(-1, size) for size in np.unique(sizes)]
