"""Interval of the promise: how far from it the score on new images may lie."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.special import stdtrit  # type: ignore[import-untyped]

from search.arrays import IntArray
from search.data.groups import strata
from search.metric_definitions import METRICS
from search.selection.weighted_metrics import Array

_OF_POOLED: Final = 4  # repeats that the variance between repeats of all finalists weighs as much as
_MOST_NEEDED: Final = 100  # times as many images: beyond that nobody can say


@dataclass(frozen=True, slots=True)
class Evidence:
    """Number of independent images of each class, and a lower bound of the variance of its recall.

    Attributes:
        units: `(K,)` int, number of groups (or of images, without groups) that contain the class.
        least: `(K,)` float, lower bound of the variance of the class's recall.
    """

    units: IntArray
    least: Array

    def half(self, drawn: float, between: float, metric: str) -> float:
        """Return the half-width of the metric's 95 % interval, in units of the metric.

        The variance over bootstrap samples of g units is multiplied by g / (g - 1), and replaced by the lower bound if
        that is larger, as it is if no mistake was made. Student's t allows for few units.

        Args:
            drawn: variance of the score over the bootstrap samples.
            between: variance of the score between repeats.
            metric: a key of `search.metric_definitions.METRICS`.
        """
        least = METRICS[metric].variance_ratio * float(self.least.sum()) / len(self.least) ** 2
        grown = drawn * float(np.mean(_grown(self.units)))
        return _quantile(int((self.units - 1).sum())) * math.sqrt(max(grown, least) + between)

    def half_of_recall(self, k: int, drawn: float, between: float) -> float:
        """Return the half-width of the 95 % interval of one class's recall.

        Args:
            k: number of the class, 0..K-1.
            drawn: variance of the class's recall over the bootstrap samples.
            between: variance of the class's recall between repeats.
        """
        grown = drawn * float(_grown(self.units)[k])
        return _quantile(int(self.units[k] - 1)) * math.sqrt(max(grown, float(self.least[k])) + between)


def evidence(labels: IntArray, groups: IntArray | None, right: Array) -> Evidence:
    """Count the independent images of each class and bound the variance of its recall from below.

    The lower bound is the variance of the recalls of the class's groups, with one hit and one miss added (after Agresti
    and Coull 1998), divided by the number of groups.

    Args:
        labels: `(n,)` int, 0..K-1.
        groups: `(n,)` int, group of each image; None if each image is independent.
        right: `(n,)` float, share of the repeats in which each image was classified correctly, 0..1.
    """
    unit, _ = strata(labels, groups)
    units, least = [], []
    for k in range(int(labels.max()) + 1):
        ours = labels == k
        _, own = np.unique(unit[ours], return_inverse=True)
        means = np.bincount(own, weights=right[ours]) / np.maximum(np.bincount(own), 1)
        units.append(max(1, len(means)))
        least.append(np.var(np.r_[means, 0.0, 1.0]) / max(1, len(means)))
    return Evidence(np.array(units, np.int64), np.array(least))


def between_repeats(scores: Array) -> float:
    """Return the variance of the first finalist's score between repeats.

    It is shrunk towards the mean variance of all finalists, which weighs as much as four repeats.

    Args:
        scores: `(m, R)` scores of m finalists in R repeats, R at least 2.
    """
    own = scores.var(axis=1, ddof=1)
    freedom = scores.shape[1] - 1
    return float((freedom * own[0] + _OF_POOLED * own.mean()) / (freedom + _OF_POOLED))


def images_needed(images: int, value: float, low: float, baseline: float) -> int | None:
    """Return the number of images with which the lower end of the promise's interval would likely reach the baseline.

    The width of the interval is taken to shrink with 1 / sqrt(images).

    Args:
        images: present number of images.
        value: the promise.
        low: lower end of the promise's 95 % interval.
        baseline: score of the best simple method.

    Returns:
        The total number of images, the present ones included. None if the interval lies above the baseline already, or
        if no number can be given: the promise is not above the baseline, or more than 100 times as many images would be
        needed.
    """
    above, half = value - baseline, value - low
    if low > baseline or above <= 0 or half / above > math.sqrt(_MOST_NEEDED):
        return None
    return math.ceil(images * (half / above) ** 2 - 1e-6)


def _grown(units: IntArray) -> Array:
    grown: Array = units / np.maximum(units - 1, 1)
    return grown


def _quantile(freedom: int) -> float:
    return float(stdtrit(max(1, freedom), 0.975))
