"""Values of the metrics on predictions, and at chance."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from search.arrays import FloatArray, IntArray
from search.metric_definitions import METRICS
from search.selection.weighted_metrics import Array, decided_scores, probability_scores


class MetricScorer:
    """Scores of a fit's predictions: the study's metric, and the area under the curve."""

    def __init__(self, metric: str = "balanced_accuracy") -> None:
        self._metric = metric

    def score(self, labels: IntArray, probabilities: FloatArray) -> float:
        """The study's metric of labels `(n,)` and probabilities `(n, K)`."""
        return score(self._metric, labels, probabilities)

    def auc(self, labels: IntArray, probabilities: FloatArray) -> float:
        """Area under the ROC curve of labels `(n,)` and probabilities `(n, K)`, mean over classes."""
        return score("auc", labels, probabilities)


def prior(labels: IntArray, classes: int) -> Array:
    """Share of each class `(K,)` float64 among labels `(n,)`; zeros without any."""
    counts = np.bincount(labels, minlength=classes)
    return np.asarray(counts / max(1, counts.sum()), np.float64)


def score(metric: str, labels: IntArray, probabilities: Array) -> float:
    """The metric's value; higher is better.

    `balanced_accuracy`, `macro_f1` and `average_precision` are means over the classes that occur in `labels`; `auc` is
    that of class 1 for two classes, else the mean of one-versus-rest over the classes that occur beside others;
    `recall_at_precision` is the mean over classes of the share of their images that can be found while 90 % of what is
    taken for the class is right;
    `skill` is 1 - cross-entropy / entropy of the class shares in `labels`. The decided class is the first of the most
    probable ones.

    Args:
        metric: one of `search.metric_definitions.METRICS`.
        labels: `(n,)` 0..K-1.
        probabilities: `(n, K)`.

    Raises:
        ValueError: an unknown metric, or probabilities that don't fit the labels.
    """
    if metric not in METRICS:
        raise ValueError(f"metric is one of {', '.join(METRICS)}; got {metric!r}.")
    if probabilities.ndim != 2 or len(probabilities) != len(labels):
        raise ValueError(f"probabilities have the shape ({len(labels)}, K); got {probabilities.shape}.")
    once = np.ones((1, len(labels)))
    if METRICS[metric].is_decided:
        decided = probabilities.argmax(axis=1)[None]
        value = float(decided_scores(metric, labels, decided, once, probabilities.shape[1])[0, 0])
    else:
        value = float(probability_scores(metric, labels, probabilities, once)[0])
    return defined(metric, value)


def defined(metric: str, value: float) -> float:
    """The metric's value, or its agreed value where it is NaN because the images do not define it."""
    return METRICS[metric].undefined if np.isnan(value) else value


def chance(metric: str, labels: IntArray) -> float:
    """Value of the metric for the predictor that gives every image the class shares of `labels` `(n,)`.

    Balanced accuracy and average precision 1/K, AUC 1/2, MCC and skill 0, accuracy the largest share; recall at a
    precision 0, if no class has that share.
    """
    shares = prior(labels, int(labels.max(initial=0)) + 1)
    return round(score(metric, labels, np.tile(shares, (len(labels), 1))), 12)


def softmax(logits: npt.NDArray[np.floating[Any]]) -> FloatArray:
    """Probabilities `(n, K)` float32 of logits `(n, K)`; computed in float64."""
    wide = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    return np.asarray(wide / wide.sum(axis=1, keepdims=True), dtype=np.float32)
