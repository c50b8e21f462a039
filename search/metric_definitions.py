"""The metrics of a study. An entry in `METRICS` holds everything about a metric except its formula.

The module does not import NumPy, so that the command line can list the metrics at once. Formulas are in
`search.selection.weighted_metrics`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

PRECISION: Final = 0.9
"""Precision at which the metric `recall_at_precision` reads the recall."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MetricDefinition:
    """Description and properties of a metric. Higher is better in every metric.

    Attributes:
        title: name in sentences and tables.
        sentence: definition, as part of a sentence.
        low: lowest possible value.
        high: highest possible value.
        undefined: value if the images don't define the metric: there are none, or only those of a single class.
        is_decided: True if the metric depends on the predicted classes alone; a decision offset can change it.
        is_pooled: True if a trial's score is the metric on the pooled out-of-fold predictions, False if it is the mean
            over folds.
        counts_rare: True if a rare class has the same weight as a frequent one.
        variance_ratio: lower bound of the metric's variance, divided by that of balanced accuracy on the same images.
    """

    title: str
    sentence: str
    low: float = 0.0
    high: float = 1.0
    undefined: float = 0.0
    is_decided: bool
    is_pooled: bool
    counts_rare: bool = False
    variance_ratio: float = 1.0


METRICS: Final[Mapping[str, MetricDefinition]] = {
    "balanced_accuracy": MetricDefinition(
        title="balanced accuracy",
        sentence="the recall averaged over the classes",
        is_decided=True,
        is_pooled=True,
        counts_rare=True,
    ),
    "macro_f1": MetricDefinition(
        title="macro F1",
        sentence="the harmonic mean of precision and recall, averaged over the classes",
        is_decided=True,
        is_pooled=True,
        counts_rare=True,
    ),
    "mcc": MetricDefinition(
        title="Matthews correlation",
        sentence="the correlation between predictions and labels: 0 is chance, 1 is perfect",
        low=-1.0,
        is_decided=True,
        is_pooled=True,
        variance_ratio=4.0,  # about twice balanced accuracy less one
    ),
    "accuracy": MetricDefinition(
        title="accuracy",
        sentence="the share of images classified correctly",
        is_decided=True,
        is_pooled=True,
    ),
    "auc": MetricDefinition(
        title="area under the ROC curve",
        sentence="the probability that an image of a class is ranked above one of another class: 0.5 is chance",
        undefined=0.5,
        is_decided=False,
        is_pooled=False,  # it ranks an image among all others: those of another fit may lie on another scale
    ),
    "average_precision": MetricDefinition(
        title="average precision",
        sentence="the area under the precision-recall curve, averaged over classes",
        is_decided=False,
        is_pooled=True,  # this and the next need many images of a class: those of one fold may be two or three
    ),
    "recall_at_precision": MetricDefinition(
        title="recall at 90 % precision",
        sentence="the highest recall at which the precision is at least 90 %, averaged over the classes",
        is_decided=False,
        is_pooled=True,
    ),
    "skill": MetricDefinition(
        title="skill",
        sentence="1 - cross-entropy / cross-entropy of a constant prediction of the class shares: 0 is chance",
        low=-float("inf"),
        is_decided=False,
        is_pooled=False,  # a mean over images anyway
        variance_ratio=0.0,  # its draws always differ, as no network reaches the upper end
    ),
}
"""Every metric by its name, as `--metric` takes it and files write it."""
