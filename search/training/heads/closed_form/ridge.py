"""Ridge regression on one-hot labels, for all strengths of a grid, with exact left-out scores. Pure NumPy.

It minimizes sum_i w_i |y_i - b - W'z_i|² + strength |W|² over kernel W and bias b, where y_i is 1 for the image's class
and otherwise 0. Scores are linear in the labels, S = H Y. So what an image would score if it, or its whole group, had
been left out of the training follows from one fit: with R = Y - S and the block of H of the group, the left-out
residuals are (I - H_gg)^-1 R_g, of a single image R_i / (1 - h_ii) (PRESS: Allen 1974, Technometrics 16; Golub, Heath &
Wahba 1979, Technometrics 21; Hastie, Tibshirani & Friedman, The Elements of Statistical Learning, 2009, 7.10).
Standardization is that of all training images. One eigendecomposition serves all strengths.

Scores are no probabilities. They become logits by a factor and a bias for each class, fitted to the left-out scores:
temperature scaling (Guo et al. 2017) with Platt's smoothed labels (1999), which keep the factor finite if the left-out
scores separate the classes. So a strong penalty alone does not make the probabilities flat, as it does in logistic
regression: it leaves the directions of the class means, and the factor undoes the shrinkage as far as that is worth it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np

from search.arrays import IntArray
from search.training.heads.blas_threads import one_thread
from search.training.heads.closed_form.linear_head import DoubleArray, LinearHead
from search.training.heads.closed_form.training_part import TrainingPart
from search.training.measures import log_softmax

_STEPS: Final = 50  # of Newton's method for factor and biases: mostly five
_HALVINGS: Final = 30
_ACCURATE: Final = 1e-14  # decrease of the mean cross-entropy that a further step promises
_DAMPING: Final = 1e-10  # of the Hessian, which is singular: all logits of an image may be shifted


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
        shares = part.class_weights() / part.weights.sum()
        smooth = 1 / (part.weights.sum() + 1)  # as if one more image were known by no more than the class shares
        targets = (1 - smooth) * part.one_hot() + smooth * shares
        factors, biases = np.empty(len(strengths)), np.empty((len(strengths), part.classes))
        factor = 0.0
        bias = np.log(shares)
        for place, scores in enumerate(ridge.left_out_scores(part.groups)):
            scores -= shares
            spread = float(np.sqrt(np.mean(scores**2))) or 1.0
            factor, bias = _fit_logits(scores / spread, targets, part.weights, factor, bias)
            if factor < 0:  # worse than chance: the best factor that ranks no class upside down
                factor, bias = 0.0, np.log(shares)
            factors[place], biases[place] = factor / spread, bias
        coefficients, intercepts = ridge.models()
        intercepts = factors[:, None] * (intercepts - shares) + biases
        return part.coordinates.heads(factors[:, None, None] * coefficients, intercepts)


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
        return _Ridge(part, strengths).left_out_scores(part.groups)


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

    def left_out_scores(self, groups: IntArray) -> DoubleArray:
        """Scores `(S, n, K)` of each image by the regression on the images of other groups."""
        _, group_of, sizes = np.unique(groups, return_inverse=True, return_counts=True)
        if len(sizes) < 2:
            raise ValueError("All training images are one group: expected two groups at least, as each is left out.")
        residuals = self._one_hot - self._shares - self._x @ self._coefficients
        leverages = (self._inverse @ (self._x**2).T + 1 / self._total) * self._weights  # (S, n)
        alone = sizes[group_of] == 1
        residuals[:, alone] /= (1 - leverages[:, alone])[:, :, None]
        by_group = np.split(np.argsort(group_of, kind="stable"), np.cumsum(sizes)[:-1])
        for rows in by_group:
            if len(rows) > 1:
                x = self._x[rows]
                hat = ((self._inverse[:, None, :] * x) @ x.T + 1 / self._total) * self._weights[rows]
                residuals[:, rows] = np.linalg.solve(np.eye(len(rows)) - hat, residuals[:, rows])
        scores: DoubleArray = self._one_hot - residuals
        return scores


def _fit_logits(
    scores: DoubleArray, targets: DoubleArray, weights: DoubleArray, factor: float, bias: DoubleArray
) -> tuple[float, DoubleArray]:
    """Factor and bias `(K,)` with the least cross-entropy of softmax(factor * scores + bias) from the targets.

    Newton's method on a convex function of K + 1 numbers, from where it is told to start.
    """
    share = (weights / weights.sum())[:, None]
    theta = np.append(bias, factor)
    log_p = log_softmax(factor * scores + bias)
    value = -float(np.vdot(share * targets, log_p))
    for _ in range(_STEPS):
        p = np.exp(log_p)
        slope = share * (p - targets)
        gradient = np.append(slope.sum(0), np.vdot(slope, scores))
        deviations = scores - np.add.reduce(p * scores, axis=1, keepdims=True)
        weighted = share * p
        hessian = np.empty((len(theta), len(theta)))
        hessian[:-1, :-1] = np.diag(weighted.sum(0)) - weighted.T @ p
        hessian[-1, :-1] = hessian[:-1, -1] = np.add.reduce(weighted * deviations, axis=0)
        hessian[-1, -1] = np.vdot(weighted, deviations**2)
        hessian[np.diag_indices_from(hessian)] += _DAMPING
        step = np.linalg.solve(hessian, -gradient)
        if -np.dot(gradient, step) <= _ACCURATE:
            break
        for _ in range(_HALVINGS):
            trial_log_p = log_softmax((theta[-1] + step[-1]) * scores + theta[:-1] + step[:-1])
            trial_value = -float(np.vdot(share * targets, trial_log_p))
            if trial_value < value:
                break
            step /= 2
        else:  # no decrease that could be told from rounding
            break
        theta, log_p, value = theta + step, trial_log_p, trial_value
    return float(theta[-1]), theta[:-1]
