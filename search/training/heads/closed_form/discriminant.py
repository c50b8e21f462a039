"""Linear discriminant analysis with a shrunk covariance, for all shrinkages of a grid. Pure NumPy.

Classes are Gaussians with means m_k, one covariance C and priors q_k, so the log-odds of the classes are linear:
x'P m_k - m_k'P m_k / 2 + log q_k, where P is the inverse of the covariance. Means, priors and the covariance within the
classes are weighted by the images' weights. With few images C is singular; it is shrunk towards t I, where t is its
mean variance of a feature: (1 - s) C + s t I (Friedman 1989; Hastie, Tibshirani & Friedman, The Elements of Statistical
Learning, 2009, 4.3.1). It is scikit-learn's `LinearDiscriminantAnalysis(solver="lsqr", shrinkage=s)` on standardized
features. One eigendecomposition in principal coordinates gives P for every s.

With fewer images than features these log-odds are several times too large. What an image's log-odds would be if it, or
its whole group, had been left out of the training follows from the same decomposition, as means and covariance change
by few directions (Lachenbruch & Mickey 1968, Technometrics 10; Woodbury's formula). They say how much to believe:
`search.training.heads.closed_form.calibration`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from search.arrays import IntArray
from search.training.heads.blas_threads import one_thread
from search.training.heads.closed_form.calibration import calibrated_heads
from search.training.heads.closed_form.linear_head import DoubleArray, LinearHead
from search.training.heads.closed_form.training_part import TrainingPart

LEDOIT_WOLF: Final = 0.0  # in place of a shrinkage: the one that Ledoit and Wolf's formula gives for the training part

# Standardized features have variance 1. Less than this within the classes is not believed: with an image a class there
# is none at all, and with none the log-odds are infinite.
_LEAST_VARIANCE: Final = 1e-6
_LEAST_SHRINKAGE: Final = 1e-3  # of Ledoit and Wolf's formula, which may give 0


def fit_discriminant(part: TrainingPart, strengths: Sequence[float], *, calibrated: bool = True) -> list[LinearHead]:
    """Fit a linear discriminant analysis for each shrinkage.

    Args:
        part: the training images. Images of a group are left out together.
        strengths: shrinkages, 0 < s <= 1, or `LEDOIT_WOLF`. 1 takes all features as independent of each other within a
            class and as equally spread: the nearest class mean decides.
        calibrated: whether the log-odds are scaled and shifted by those of left-out images; otherwise they are the
            logits.

    Returns:
        A head for each strength, in their order.

    Raises:
        ValueError: a strength is negative or above 1, or all images are one group.
    """
    with one_thread():
        discriminant = _Discriminant(part, strengths)
        models = discriminant.models()
        if not calibrated:
            return part.coordinates.heads(*models)
        return calibrated_heads(part, discriminant.left_out_log_odds(), *models)


def left_out_log_odds(part: TrainingPart, strengths: Sequence[float]) -> DoubleArray:
    """Compute the log-odds of each training image by discriminants fitted without its group.

    Standardization, shrinkage and the variance that the covariance is shrunk to are those of all training images: the
    sum of products (1 - s) W C + s W t I, where W is the sum of the weights, loses the group's part and is divided by
    the weights that are left. A class that is left out as a whole keeps its prior and gets the mean of all images.

    Args:
        part: the training images.
        strengths: shrinkages, 0 < s <= 1, or `LEDOIT_WOLF`.

    Returns:
        `(S, n, K)` float64, logarithms of prior times density but for a number that all classes share.

    Raises:
        ValueError: a strength is negative or above 1, or all images are one group.
    """
    with one_thread():
        return _Discriminant(part, strengths).left_out_log_odds()


class _Discriminant:
    """Class means and covariance in the axes in which the covariance within the classes is diagonal."""

    def __init__(self, part: TrainingPart, strengths: Sequence[float]) -> None:
        if not all(0 <= strength <= 1 for strength in strengths):
            raise ValueError(f"Shrinkages must be in (0, 1], or 0 for Ledoit and Wolf's, got {list(strengths)}.")
        self._part, self._total, self._of_classes = part, float(part.weights.sum()), part.class_weights()
        values, features = part.coordinates.values, max(part.coordinates.features_used, 1)
        means = (part.one_hot() * part.weights[:, None]).T @ values / self._of_classes[:, None]
        deviations = values - means[part.labels]
        variances, self._axes = np.linalg.eigh((deviations * (part.weights / self._total)[:, None]).T @ deviations)
        if LEDOIT_WOLF in strengths:
            automatic = ledoit_wolf_shrinkage(deviations, part.weights, features)
            strengths = [automatic if strength == LEDOIT_WOLF else strength for strength in strengths]
        self._shrinkages = np.array(strengths)
        target = max(float(variances.sum()) / features, _LEAST_VARIANCE)
        shrunk = np.outer(1 - self._shrinkages, np.maximum(variances, 0.0)) + self._shrinkages[:, None] * target
        self._inverse = 1 / shrunk  # (S, r)
        self._means = means @ self._axes  # (K, r)
        self._deviations = deviations @ self._axes  # (n, r)

    def models(self) -> tuple[DoubleArray, DoubleArray]:
        """Coefficients `(S, r, K)` of the principal coordinates, and intercepts `(S, K)`."""
        whitened = self._means.T * self._inverse[:, :, None]
        lengths = self._inverse @ (self._means**2).T
        return self._axes @ whitened, np.log(self._of_classes / self._total) - lengths / 2

    def left_out_log_odds(self) -> DoubleArray:
        """Log-odds `(S, n, K)` of each image by the discriminants of the images of other groups."""
        groups = [_LeftOut(rows, self._part, self._of_classes) for rows in self._part.groups_by_size()]
        log_odds = np.empty((len(self._shrinkages), *self._part.one_hot().shape))
        x = self._deviations + self._means[self._part.labels]
        for shrinkage, inverse, of_strength in zip(self._shrinkages, self._inverse, log_odds, strict=True):
            scaled = self._deviations * inverse
            x_scaled = x * inverse
            x_x = np.einsum("ir,ir->i", x_scaled, x)
            x_m, m_m = x_scaled @ self._means.T, inverse @ (self._means**2).T
            d_m = scaled @ self._means.T
            for group in groups:
                rows = group.rows
                d_x = scaled[rows] @ x[rows].transpose(0, 2, 1)
                of_strength[rows] = group.log_odds(
                    (1 - shrinkage) / self._total, x_x[rows], x_m[rows], m_m, d_x, d_m[rows]
                )
        return log_odds


class _LeftOut:
    """Groups of g images each, and what is left of the classes without each of them.

    Without the group the sum of products of deviations loses D'M D, where D are the g deviations and M = diag(w) +
    sum_k w_k w_k' / (weight left of class k): the second term is the way that the class means move.

    Args:
        rows: `(G, g)`, rows of the images of each group.
        part: the training images.
        of_classes: `(K,)`, sum of the weights of each class.
    """

    def __init__(self, rows: IntArray, part: TrainingPart, of_classes: DoubleArray) -> None:
        self.rows = rows
        weights, self._one_hot = part.weights[rows], part.one_hot()[rows]
        of_class = weights[:, :, None] * self._one_hot  # (G, g, K)
        left = of_classes - of_class.sum(1)  # (G, K)
        self._there = left > 1e-9 * of_classes
        left = np.where(self._there, left, of_classes)
        self._log_prior = np.log(left / left.sum(1, keepdims=True))
        self._share_left = 1 - weights.sum(1) / of_classes.sum()
        # (G, K, g): a class mean moves by minus these times the deviations.
        self._moves = (of_class * (self._there / left)[:, None, :]).transpose(0, 2, 1)
        self._removed = weights[:, :, None] * np.eye(rows.shape[1]) + of_class @ self._moves  # (G, g, g), M above

    def log_odds(
        self,
        removal: float,
        x_x: DoubleArray,
        x_m: DoubleArray,
        m_m: DoubleArray,
        d_x: DoubleArray,
        d_m: DoubleArray,
    ) -> DoubleArray:
        """Log-odds `(G, g, K)` of the images of each group by the others, from inner products of all images' model.

        Args:
            removal: share of D'M D in the shrunk covariance.
            x_x: `(G, g)`, of each image with itself.
            x_m: `(G, g, K)`, of images with class means.
            m_m: `(K,)`, of class means with themselves.
            d_x: `(G, g, g)`, of deviations (axis 1) with images (axis 2).
            d_m: `(G, g, K)`, of deviations with class means.
        """
        there, moves = self._there[:, None, :], self._moves.transpose(0, 2, 1)  # (G, g, K)
        d_d = d_x - d_m @ self._one_hot.transpose(0, 2, 1)
        distances = x_x[:, :, None] + there * (m_m - 2 * x_m)  # of image i from the old mean of class k
        d_e = d_x[:, :, :, None] - (there * d_m)[:, :, None, :]  # of deviation j with that difference: (G, j, i, K)
        moved = d_d @ moves  # of deviation j with the move of class k
        distances += 2 * np.einsum("gjk,gjik->gik", moves, d_e) + np.add.reduce(moves * moved, axis=1)[:, None, :]
        d_e += moved[:, :, None, :]
        groups, images = self.rows.shape
        lost = (self._removed @ d_e.reshape(groups, images, -1)) * removal
        solved = np.linalg.solve(np.eye(images) - removal * self._removed @ d_d, lost).reshape(d_e.shape)
        distances += np.add.reduce(d_e * solved, axis=1)
        result: DoubleArray = self._log_prior[:, None, :] - distances * self._share_left[:, None, None] / 2
        return result


def ledoit_wolf_shrinkage(deviations: DoubleArray, weights: DoubleArray, features: int) -> float:
    """Return the shrinkage that is expected to bring the covariance nearest to the true one, 0.001 to 1.

    The formula is that of Ledoit & Wolf 2004 (Journal of Multivariate Analysis 88) with known means: the variance of
    the entries of the covariance as a share of their squared distance from t I. scikit-learn's
    `ledoit_wolf_shrinkage(assume_centered=True)` computes the same.

    Args:
        deviations: `(n, r)`, deviations of the images from the means of their classes.
        weights: `(n,)` > 0, numbers of copies of the images.
        features: number of features, which may be more than r if the others add no length to the deviations.
    """
    total = float(weights.sum())
    lengths = np.einsum("ij,ij->i", deviations, deviations)
    gram = (deviations * weights[:, None]).T @ deviations / total
    squared = float(np.vdot(gram, gram))
    distance = squared - float(np.trace(gram)) ** 2 / features
    variance = (float(np.dot(weights, lengths**2)) / total - squared) / total
    if distance <= variance:
        return 1.0
    return max(variance / distance, _LEAST_SHRINKAGE)
