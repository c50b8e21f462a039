"""The metrics, what chance gives in each, and what else there is to know of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, cast

import numpy as np
import numpy.typing as npt

from search.arrays import FloatArray, IntArray
from search.selection.weighted_metrics import DECIDED, Array, decided_scores, probability_scores
from search.settings import Metric


@dataclass(frozen=True, kw_only=True, slots=True)
class Facts:
    """What there is to know of a metric beside its formula; higher is better in all of them."""

    low: float = 0.0  # lowest and
    high: float = 1.0  # highest possible value
    undefined: float = 0.0  # where there are no images, or those of a single class in a metric that needs two
    is_pooled: bool  # whether a trial's score is the metric on all out-of-fold predictions, or the mean over folds
    counts_rare: bool = False  # a rare class counts as much as a frequent one, whatever it is confused with
    spread: float = 1.0  # least variance, beside that of balanced accuracy on the same images


METRIC_FACTS: Final[Mapping[Metric, Facts]] = {
    "balanced_accuracy": Facts(is_pooled=True, counts_rare=True),
    "macro_f1": Facts(is_pooled=True, counts_rare=True),
    "mcc": Facts(is_pooled=True, low=-1.0, spread=4.0),  # about twice balanced accuracy less one
    "accuracy": Facts(is_pooled=True),
    # Its rank of each image is among all others: those of another fit may lie on another scale.
    "auc": Facts(undefined=0.5, is_pooled=False),
    # These two need many images of a class: those of one fold may be two or three.
    "average_precision": Facts(is_pooled=True),
    "recall_at_precision": Facts(is_pooled=True),
    # A mean over images anyway. No upper end that networks reach, so that its draws always differ.
    "skill": Facts(low=-float("inf"), is_pooled=False, spread=0.0),
}


def facts_of(metric: str) -> Facts:
    """Raises KeyError for an unknown one."""
    return METRIC_FACTS[cast(Metric, metric)]


def is_decided(metric: str) -> bool:
    """Whether the metric looks at the decided class alone, so that a decision offset can change it."""
    return metric in DECIDED


class MetricScorer:
    """What a fit needs of the study's metric: its value, and the area under the curve."""

    def __init__(self, metric: str = "balanced_accuracy") -> None:
        self._metric = metric

    def score(self, labels: IntArray, probabilities: FloatArray) -> float:
        """The study's metric."""
        return score(self._metric, labels, probabilities)

    def auc(self, labels: IntArray, probabilities: FloatArray) -> float:
        """Area under the curve."""
        return score("auc", labels, probabilities)


def prior(labels: IntArray, classes: int) -> Array:
    """Share of each class `(K,)`."""
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
        metric: one of `search.settings.METRICS`.
        labels: `(n,)` 0..K-1.
        probabilities: `(n, K)`.

    Raises:
        ValueError: an unknown metric, or probabilities that don't fit the labels.
    """
    if metric not in METRIC_FACTS:
        raise ValueError(f"metric is one of {', '.join(METRIC_FACTS)}; got {metric!r}.")
    if probabilities.ndim != 2 or len(probabilities) != len(labels):
        raise ValueError(f"probabilities have the shape ({len(labels)}, K); got {probabilities.shape}.")
    once = np.ones((1, len(labels)))
    if is_decided(metric):
        decided = probabilities.argmax(axis=1)[None]
        value = float(decided_scores(metric, labels, decided, once, probabilities.shape[1])[0, 0])
    else:
        value = float(probability_scores(metric, labels, probabilities, once)[0])
    return defined(metric, value)


def defined(metric: str, value: float) -> float:
    """The value, or what stands for it where the images do not define it."""
    return facts_of(metric).undefined if np.isnan(value) else value


def chance(metric: str, labels: IntArray) -> float:
    """The metric's value for the predictor that gives every image the class shares of `labels`.

    Balanced accuracy and average precision 1/K, AUC 1/2, MCC and skill 0, accuracy the largest share; recall at a
    precision 0, if no class has that share.
    """
    shares = prior(labels, int(labels.max(initial=0)) + 1)
    return round(score(metric, labels, np.tile(shares, (len(labels), 1))), 12)


def softmax(logits: npt.NDArray[np.floating[Any]]) -> FloatArray:
    """Probabilities `(n, K)` float32 of logits `(n, K)`; computed in float64."""
    wide = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    return np.asarray(wide / wide.sum(axis=1, keepdims=True), dtype=np.float32)
