"""Metrics under many weightings of the images at once, for the bootstrap.

A weighting is a row of `weights` `(B, n)`: how often each image was drawn, 0 if it was left out. Unweighted scores are
the special case of one row of ones, so each metric has a single implementation. Undefined values are NaN here;
`search.selection.metrics` replaces them by the `undefined` values of the metrics.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from search.arrays import IntArray
from search.metric_definitions import PRECISION

Array = npt.NDArray[np.floating[Any]]
Predictions = npt.NDArray[np.integer[Any]]

SMALLEST_PROBABILITY: Final = 1e-7


def hits(labels: IntArray, predictions: Predictions, weights: Array, classes: int) -> tuple[Array, Array]:
    """Return, by class, the total weight of the correctly classified images and that of all images.

    Args:
        labels: `(n,)` int, 0..K-1.
        predictions: `(N, n)` int, predicted classes of N predictors.
        weights: `(B, n)` float, not negative.
        classes: number of classes, K.

    Returns:
        Weight of the correct images `(K, B, N)`, and of all images `(K, B, 1)`.
    """
    right = np.zeros((classes, len(weights), len(predictions)), weights.dtype)
    total = np.zeros((classes, len(weights), 1), weights.dtype)
    for k in range(classes):
        rows = np.flatnonzero(labels == k)
        ours = weights[:, rows]
        right[k] = ours @ (predictions[:, rows] == k).T.astype(weights.dtype)
        total[k, :, 0] = ours.sum(axis=1)
    return right, total


def recalls(labels: IntArray, predictions: Predictions, weights: Array, classes: int) -> Array:
    """Return the recall of each class.

    Args:
        labels: `(n,)` int, 0..K-1.
        predictions: `(N, n)` int, predicted classes of N predictors.
        weights: `(B, n)` float, not negative.
        classes: number of classes, K.

    Returns:
        `(K, B, N)`, 0..1; NaN for a class whose images all have weight 0.
    """
    return _ratio(*hits(labels, predictions, weights, classes))


def decided_scores(metric: str, labels: IntArray, predictions: Predictions, weights: Array, classes: int) -> Array:
    """Return a metric of predicted classes for N predictors under B weightings.

    Args:
        metric: a key of `DECIDED_FORMULAS`.
        labels: `(n,)` int, 0..K-1.
        predictions: `(N, n)` int, predicted classes.
        weights: `(B, n)` float, not negative.
        classes: number of classes, K.

    Returns:
        `(B, N)`. Means over classes leave out the classes whose images all have weight 0.

    Raises:
        ValueError: `metric` is not a key of `DECIDED_FORMULAS`.
    """
    if metric not in DECIDED_FORMULAS:
        raise ValueError(f"metric must be one of {', '.join(DECIDED_FORMULAS)}, got {metric!r}.")
    right, total = hits(labels, predictions, weights, classes)

    def called() -> Array:
        return np.stack([weights @ (predictions == k).T.astype(weights.dtype) for k in range(classes)])

    return DECIDED_FORMULAS[metric](right, total, called)


def _accuracy(right: Array, total: Array, called: Callable[[], Array]) -> Array:
    return _ratio(right.sum(axis=0), total.sum(axis=0))


def _balanced_accuracy(right: Array, total: Array, called: Callable[[], Array]) -> Array:
    return _mean_of_defined(_ratio(right, total))


def _macro_f1(right: Array, total: Array, called: Callable[[], Array]) -> Array:
    return _mean_of_defined(np.where(total > 0, 2 * right / np.maximum(total + called(), 1e-30), np.nan))


def _mcc(right: Array, total: Array, called: Callable[[], Array]) -> Array:
    """Gorodkin's K-class correlation; 0 where either side names one class only."""
    right, total, named = (values.astype(np.float64) for values in (right, total, called()))
    everything = total.sum(axis=0)
    covariance = right.sum(axis=0) * everything - (named * total).sum(axis=0)
    scale = (everything**2 - (named**2).sum(axis=0)) * (everything**2 - (total**2).sum(axis=0))
    return np.where(scale > 0, covariance / np.sqrt(np.where(scale > 0, scale, 1)), 0.0)


DECIDED_FORMULAS: Final[Mapping[str, Callable[[Array, Array, Callable[[], Array]], Array]]] = {
    "balanced_accuracy": _balanced_accuracy,
    "macro_f1": _macro_f1,
    "mcc": _mcc,
    "accuracy": _accuracy,
}
"""Metrics of the predicted class. Each is a function of three weights by class: of the correctly classified images
`(K, B, N)`, of all images `(K, B, 1)`, and of the images predicted as the class, `(K, B, N)`, which a function computes
on demand."""


def probability_scores(metric: str, labels: IntArray, probabilities: Array, weights: Array) -> Array:
    """Return a metric of probabilities for one predictor under B weightings.

    Args:
        metric: a key of `CURVE_FORMULAS` or `PROBABILITY_FORMULAS`.
        labels: `(n,)` int, 0..K-1.
        probabilities: `(n, K)` float.
        weights: `(B, n)` float, not negative.

    Returns:
        `(B,)`; NaN where the images with a positive weight don't define the metric.

    Raises:
        ValueError: `metric` is not a key of either.
    """
    if metric in PROBABILITY_FORMULAS:
        return PROBABILITY_FORMULAS[metric](labels, probabilities, weights)
    if metric not in CURVE_FORMULAS:
        names = ", ".join((*CURVE_FORMULAS, *PROBABILITY_FORMULAS))
        raise ValueError(f"metric must be one of {names}, got {metric!r}.")
    classes = probabilities.shape[1]
    # With two classes one curve is the other's mirror image for the AUC, but not for the others.
    wanted = [1] if metric == "auc" and classes == 2 else range(classes)
    return _mean_of_defined(class_scores(metric, labels, probabilities, weights, wanted))


def class_scores(metric: str, labels: IntArray, probabilities: Array, weights: Array, wanted: Iterable[int]) -> Array:
    """Return a metric of single classes, each against all others, under B weightings.

    Args:
        metric: a key of `CURVE_FORMULAS`.
        labels: `(n,)` int, 0..K-1.
        probabilities: `(n, K)` float.
        weights: `(B, n)` float, not negative.
        wanted: the classes to score, 0..K-1.

    Returns:
        `(number of wanted classes, B)`; NaN where the images with a positive weight don't define the metric.
    """
    by_image = np.ascontiguousarray(weights.T)
    values = []
    for k in wanted:
        order = np.argsort(-probabilities[:, k], kind="stable")
        ordered = probabilities[order, k]
        starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])  # equal probabilities are one threshold
        drawn = by_image[order]
        ours = drawn * (labels[order] == k)[:, None].astype(weights.dtype)
        if len(starts) < len(order):
            drawn, ours = np.add.reduceat(drawn, starts), np.add.reduceat(ours, starts)
        values.append(CURVE_FORMULAS[metric](ours, drawn))
    return np.stack(values)


def _area_under_roc(ours: Array, everything: Array) -> Array:
    """Area under the ROC curve from weights at each threshold `(t, B)`, highest probability first; ties count half."""
    others = everything - ours
    above = np.cumsum(ours, axis=0) - ours / 2
    return _ratio((others * above).sum(axis=0), ours.sum(axis=0) * others.sum(axis=0))


def _average_precision(ours: Array, everything: Array) -> Array:
    """Precision at each threshold, weighted by the recall gained there."""
    precision = np.cumsum(ours, axis=0) / np.maximum(np.cumsum(everything, axis=0), 1e-30)
    return _ratio((ours * precision).sum(axis=0), ours.sum(axis=0))


def _recall_at_precision(ours: Array, everything: Array) -> Array:
    """Largest recall of a threshold at which the precision is high enough; 0 where it never is."""
    true_positives, called = np.cumsum(ours, axis=0), np.cumsum(everything, axis=0)
    enough = (true_positives > 0) & (true_positives >= PRECISION * called - 1e-9)
    return _ratio(np.where(enough, true_positives, 0).max(axis=0, initial=0.0), ours.sum(axis=0))


CURVE_FORMULAS: Final[Mapping[str, Callable[[Array, Array], Array]]] = {
    "auc": _area_under_roc,
    "average_precision": _average_precision,
    "recall_at_precision": _recall_at_precision,
}
"""Metrics of one class against all others, as functions of the weights of the class's images `(t, B)` and of all images
`(t, B)` at each threshold, highest probability first."""


def _skill(labels: IntArray, probabilities: Array, weights: Array) -> Array:
    classes = probabilities.shape[1]
    label_probabilities = np.clip(
        probabilities[np.arange(len(labels)), labels].astype(np.float64), SMALLEST_PROBABILITY, 1
    )
    total = weights.sum(axis=1)
    loss = _ratio(weights @ -np.log(label_probabilities), total)
    shares = _ratio(weights @ np.eye(classes)[labels], total[:, None])
    entropy = -(shares * np.log(np.where(shares > 0, shares, 1))).sum(axis=1)
    return 1 - _ratio(loss, np.where(entropy > 1e-12, entropy, 0))


PROBABILITY_FORMULAS: Final[Mapping[str, Callable[[IntArray, Array, Array], Array]]] = {"skill": _skill}
"""Metrics of all classes at once, as functions of labels `(n,)`, probabilities `(n, K)` and weights `(B, n)`."""


def _ratio(above: Array, below: Array) -> Array:
    """Quotient; NaN where `below` is not positive."""
    return np.where(below > 0, above / np.where(below > 0, below, 1), np.nan)


def _mean_of_defined(values: Array) -> Array:
    """Mean over the first axis without its NaN; NaN where nothing else is left."""
    defined = ~np.isnan(values)
    return _ratio(np.where(defined, values, 0).sum(axis=0), defined.sum(axis=0))


def mean_over_folds(metric: str, labels: IntArray, probabilities: Array, folds: IntArray, weights: Array) -> Array:
    """Return the mean over folds of `probability_scores`, as probabilities of different fits may differ in scale.

    Args:
        metric: a key of `CURVE_FORMULAS` or `PROBABILITY_FORMULAS`.
        labels: `(n,)` int, 0..K-1.
        probabilities: `(n, K)` float.
        folds: `(n,)` int, fold whose validation set holds the image.
        weights: `(B, n)` float, not negative.

    Returns:
        `(B,)`; folds that don't define the metric are left out, NaN if none does.
    """
    values = []
    for fold in np.unique(folds):
        rows = np.flatnonzero(folds == fold)
        values.append(probability_scores(metric, labels[rows], probabilities[rows], weights[:, rows]))
    return _mean_of_defined(np.stack(values))
