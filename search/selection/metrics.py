"""Values of the metrics on predictions, and at chance."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from search.arrays import FloatArray, IntArray
from search.metric_definitions import METRICS
from search.selection.weighted_metrics import Array, decided_scores, probability_scores


class MetricScorer:
    """Computes the study's metric and the AUC of predictions.

    Args:
        metric: a key of `search.metric_definitions.METRICS`.
    """

    def __init__(self, metric: str = "balanced_accuracy") -> None:
        self._metric = metric

    def score(self, labels: IntArray, probabilities: FloatArray) -> float:
        """Return the study's metric for labels `(n,)` int and probabilities `(n, K)`."""
        return score(self._metric, labels, probabilities)

    def auc(self, labels: IntArray, probabilities: FloatArray) -> float:
        """Return the AUC, mean over classes, for labels `(n,)` int and probabilities `(n, K)`."""
        return score("auc", labels, probabilities)


def prior(labels: IntArray, classes: int) -> Array:
    """Return the share of each class, `(K,)` float64, among labels `(n,)` int; zeros if there are no labels."""
    counts = np.bincount(labels, minlength=classes)
    return np.asarray(counts / max(1, counts.sum()), np.float64)


def score(metric: str, labels: IntArray, probabilities: Array) -> float:
    """Return the value of a metric; higher is better.

    - `balanced_accuracy`, `macro_f1` and `average_precision` are means over the classes that occur in `labels`.
    - `auc` is the AUC of class 1 for two classes, else the mean of the one-versus-rest AUCs that are defined.
    - `recall_at_precision` is the mean over classes of the largest recall at which the precision is at least 90 %.
    - `skill` is 1 - cross-entropy / entropy of the class shares in `labels`.

    The predicted class is the most probable one, the first of them in a tie. If the images don't define the metric, its
    `undefined` value is returned.

    Args:
        metric: a key of `search.metric_definitions.METRICS`.
        labels: `(n,)` int, 0..K-1.
        probabilities: `(n, K)` float, rows that sum to 1.

    Raises:
        ValueError: `metric` is unknown, or the shape of `probabilities` does not match `labels`.
    """
    if metric not in METRICS:
        raise ValueError(f"metric must be one of {', '.join(METRICS)}, got {metric!r}.")
    if probabilities.ndim != 2 or len(probabilities) != len(labels):
        raise ValueError(f"probabilities must have the shape ({len(labels)}, K), got {probabilities.shape}.")
    once = np.ones((1, len(labels)))
    if METRICS[metric].is_decided:
        decided = probabilities.argmax(axis=1)[None]
        value = float(decided_scores(metric, labels, decided, once, probabilities.shape[1])[0, 0])
    else:
        value = float(probability_scores(metric, labels, probabilities, once)[0])
    return defined(metric, value)


def defined(metric: str, value: float) -> float:
    """Return `value`, or the metric's `undefined` value if it is NaN because the images don't define the metric."""
    return METRICS[metric].undefined if np.isnan(value) else value


def chance(metric: str, labels: IntArray) -> float:
    """Return the metric's value for the constant predictor: the class shares of `labels` `(n,)` for every image.

    It is 1/K for balanced accuracy and average precision, 1/2 for AUC, 0 for MCC and skill, the largest class share for
    accuracy, and 0 for recall at 90 % precision unless a class has a share of at least 90 %.
    """
    shares = prior(labels, int(labels.max(initial=0)) + 1)
    return round(score(metric, labels, np.tile(shares, (len(labels), 1))), 12)


def softmax(logits: npt.NDArray[np.floating[Any]]) -> FloatArray:
    """Return the softmax of logits `(n, K)`: probabilities `(n, K)` float32, computed in float64."""
    wide = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    return np.asarray(wide / wide.sum(axis=1, keepdims=True), dtype=np.float32)
