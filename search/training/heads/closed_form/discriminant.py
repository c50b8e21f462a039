"""Linear discriminant analysis with a shrunk covariance, for all shrinkages of a grid. Pure NumPy.

Classes are Gaussians with means m_k, one covariance C and priors q_k, so the log-odds of the classes are linear:
x'P m_k - m_k'P m_k / 2 + log q_k, where P is the inverse of the covariance. Means, priors and the covariance within the
classes are weighted by the images' weights. With few images C is singular; it is shrunk towards t I, where t is its
mean variance of a feature: (1 - s) C + s t I (Friedman 1989; Hastie, Tibshirani & Friedman, The Elements of Statistical
Learning, 2009, 4.3.1). It is scikit-learn's `LinearDiscriminantAnalysis(solver="lsqr", shrinkage=s)` on standardized
features. One eigendecomposition in principal coordinates gives P for every s.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from search.training.heads.blas_threads import one_thread
from search.training.heads.closed_form.linear_head import DoubleArray, LinearHead
from search.training.heads.closed_form.training_part import TrainingPart

LEDOIT_WOLF: Final = 0.0  # in place of a shrinkage: the one that Ledoit and Wolf's formula gives for the training part

# Standardized features have variance 1. Less than this within the classes is not believed: with an image a class there
# is none at all, and with none the log-odds are infinite.
_LEAST_VARIANCE: Final = 1e-6
_LEAST_SHRINKAGE: Final = 1e-3  # of Ledoit and Wolf's formula, which may give 0


def fit_discriminant(part: TrainingPart, strengths: Sequence[float]) -> list[LinearHead]:
    """Fit a linear discriminant analysis for each shrinkage.

    Args:
        part: the training images.
        strengths: shrinkages, 0 < s <= 1, or `LEDOIT_WOLF`. 1 takes all features as independent of each other within a
            class and as equally spread: the nearest class mean decides.

    Returns:
        A head for each strength, in their order.

    Raises:
        ValueError: a strength is negative or above 1.
    """
    if not all(0 <= strength <= 1 for strength in strengths):
        raise ValueError(f"Shrinkages must be in (0, 1], or 0 for Ledoit and Wolf's, got {list(strengths)}.")
    values, total, of_classes = part.coordinates.values, part.weights.sum(), part.class_weights()
    with one_thread():
        means = (part.one_hot() * part.weights[:, None]).T @ values / of_classes[:, None]
        deviations = values - means[part.labels]
        variances, axes = np.linalg.eigh((deviations * (part.weights / total)[:, None]).T @ deviations)
        features = max(part.coordinates.features_used, 1)
        target = max(variances.sum() / features, _LEAST_VARIANCE)
        if LEDOIT_WOLF in strengths:
            automatic = ledoit_wolf_shrinkage(deviations, part.weights, features)
            strengths = [automatic if strength == LEDOIT_WOLF else strength for strength in strengths]
        shrinkages = np.array(strengths)[:, None]
        shrunk = (1 - shrinkages) * np.maximum(variances, 0.0) + shrinkages * target
        along = means @ axes
        whitened = along.T / shrunk[:, :, None]  # (S, r, K)
        intercepts = np.log(of_classes / total) - np.einsum("kr,srk->sk", along, whitened) / 2
        return part.coordinates.heads(axes @ whitened, intercepts)


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
