"""Ridge regression on one-hot labels, for all strengths of a grid, with exact left-out scores. Pure NumPy.

It minimizes sum_i w_i |y_i - b - W'z_i|² + strength |W|² over kernel W and bias b, where y_i is 1 for the image's class
and otherwise 0. Scores are linear in the labels, S = H Y. So what an image would score if it, or its whole group, had
been left out of the training follows from one fit: with R = Y - S and the block of H of the group, the left-out
residuals are (I - H_gg)^-1 R_g, of a single image R_i / (1 - h_ii) (PRESS: Allen 1974, Technometrics 16; Golub, Heath &
Wahba 1979, Technometrics 21; Hastie, Tibshirani & Friedman, The Elements of Statistical Learning, 2009, 7.10).
Standardization is that of all training images. One eigendecomposition serves all strengths.

Scores are no probabilities; `search.training.heads.closed_form.calibration` makes logits of them by the left-out
scores. So a strong penalty alone does not make the probabilities flat, as it does in logistic regression. It leaves the
directions of the class means, and the calibration undoes the shrinkage as far as that is worth it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from search.training.heads.blas_threads import one_thread
from search.training.heads.closed_form.calibration import calibrated_heads
from search.training.heads.closed_form.linear_head import DoubleArray, LinearHead
from search.training.heads.closed_form.training_part import TrainingPart


def fit_ridge(part: TrainingPart, strengths: Sequence[float]) -> list[LinearHead]:
    """Fit a ridge regression for each strength, and turn its scores into logits by its left-out scores.

    Args:
        part: the training images. Images of a group are left out together.
        strengths: weight of the penalty, > 0.

    Returns:
        A head for each strength, in their order.

    Raises:
        ValueError: a strength is not positive, or all images are one group.
    """
    with one_thread():
        ridge = _Ridge(part, strengths)
        return calibrated_heads(part, ridge.left_out_scores(part), *ridge.models())


def left_out_scores(part: TrainingPart, strengths: Sequence[float]) -> DoubleArray:
    """Compute what each training image scores if its group is left out of the ridge regression.

    Args:
        part: the training images.
        strengths: weight of the penalty, > 0.

    Returns:
        `(S, n, K)` float64, for each strength; rows add up to 1, but scores may be negative.

    Raises:
        ValueError: a strength is not positive, or all images are one group.
    """
    with one_thread():
        return _Ridge(part, strengths).left_out_scores(part)


class _Ridge:
    """The regression in axes in which the weighted, centred coordinates are orthogonal to each other."""

    def __init__(self, part: TrainingPart, strengths: Sequence[float]) -> None:
        if not all(0 < strength < math.inf for strength in strengths):
            raise ValueError(f"Strengths of a ridge regression must be positive and finite, got {list(strengths)}.")
        values, weights = part.coordinates.values, part.weights
        self._weights, self._total = weights, float(weights.sum())
        self._shares = part.class_weights() / self._total
        self._mean = weights @ values / self._total
        centred = values - self._mean
        self._axes: DoubleArray | None = None
        if np.ptp(weights) == 0:  # the coordinates themselves are orthogonal
            squares = weights[0] * part.coordinates.squares
        else:
            squares, self._axes = np.linalg.eigh((centred * weights[:, None]).T @ centred)
            centred = centred @ self._axes
        self._x = centred
        self._inverse = 1 / (np.maximum(squares, 0.0) + np.array(strengths)[:, None])  # (S, r)
        self._one_hot = part.one_hot()
        moments = (centred * weights[:, None]).T @ (self._one_hot - self._shares)
        self._coefficients = self._inverse[:, :, None] * moments  # (S, r, K)

    def models(self) -> tuple[DoubleArray, DoubleArray]:
        """Coefficients `(S, r, K)` of the principal coordinates, and intercepts `(S, K)`."""
        coefficients = self._coefficients if self._axes is None else self._axes @ self._coefficients
        return coefficients, self._shares - self._mean @ coefficients

    def left_out_scores(self, part: TrainingPart) -> DoubleArray:
        """Scores `(S, n, K)` of each image by the regression on the images of other groups."""
        residuals = self._one_hot - self._shares - self._x @ self._coefficients
        for rows in part.groups_by_size():  # (groups, images)
            x = self._x[rows]
            for inverse, of_strength in zip(self._inverse, residuals, strict=True):
                hat = ((x * inverse) @ x.transpose(0, 2, 1) + 1 / self._total) * self._weights[rows][:, None, :]
                of_strength[rows] = np.linalg.solve(np.eye(rows.shape[1]) - hat, of_strength[rows])
        scores: DoubleArray = self._one_hot - residuals
        return scores
