"""Permutation test of the labels, for studies in which nothing learns: is it the networks, or the images and labels?

The control shuffles the labels. For each configuration judged on all folds, how well do its out-of-fold predictions
rank the images of each class, and how well would they rank them under shuffled labels? The best configuration is
compared with the best under each shuffle, which corrects for many configurations (Westfall and Young 1993, the maximum
statistic). Labels are shuffled within folds, as the predictions of different folds come from different networks.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from search.arrays import IntArray
from search.selection.results import Control
from search.selection.scores import OutOfFold

SHUFFLES: Final = 499
EQUIVALENT: Final = 0.60
"""Area under the curve below which, with 95 % confidence, images and labels are called unrelated."""

SIGNIFICANT: Final = 0.05
_MOST_WORK: Final = 400_000_000  # shuffles x images x configurations x classes


def label_control(
    predictions: Sequence[OutOfFold],
    labels: IntArray,
    baselines: Mapping[str, float],
    chance: float,
    rng: np.random.Generator,
) -> Control | None:
    """Test whether any configuration's out-of-fold predictions are related to the labels; None without predictions.

    Args:
        predictions: out-of-fold predictions of the configurations that were judged on all folds, best first.
        labels: `(n,)` int, 0..K-1.
        baselines: scores of the simple methods by name; `constant` is ignored.
        chance: the metric's value for the constant predictor.
        rng: source of the shuffles.
    """
    if not predictions:
        return None
    classes = predictions[0].probabilities.shape[1]
    most = max(1, _MOST_WORK // (SHUFFLES * len(labels) * classes))
    ranks = np.stack([_ranks(one) for one in predictions[:most]])  # (configurations, n, K)
    folds = predictions[0].folds
    observed = float(_areas(ranks, labels[None], folds).max())
    shuffled = _areas(ranks, np.stack([_within(labels, folds, rng) for _ in range(SHUFFLES)]), folds).max(1)
    p_value = (1 + int((shuffled >= observed).sum())) / (SHUFFLES + 1)
    simple = max((score for name, score in baselines.items() if name != "constant"), default=chance)
    upper = min(1.0, observed + 1.645 * _error(observed, np.bincount(labels, minlength=classes)))
    return Control(
        auc=observed,
        shuffled_auc=float(np.median(shuffled)),
        p_value=p_value,
        upper_95=upper,
        baseline=simple,
        suspect=_suspect(p_value, upper, simple > chance + 0.05),
    )


def _suspect(p_value: float, upper: float, simple_learns: bool) -> str:
    """Likely reason that nothing learns: `networks`, `labels`, or `unknown` where the images are too few to tell."""
    if p_value < SIGNIFICANT or simple_learns:
        return "networks"
    return "labels" if upper < EQUIVALENT else "unknown"


def _ranks(one: OutOfFold) -> npt.NDArray[np.float64]:
    """Mid-ranks of each class's probability within its fold: (n, K)."""
    from scipy.stats import rankdata  # type: ignore[import-untyped]  # a second that few runs need

    ranks = np.zeros(one.probabilities.shape)
    for fold in np.unique(one.folds):
        rows = one.folds == fold
        ranks[rows] = rankdata(one.probabilities[rows], axis=0)
    return ranks


def _areas(
    ranks: npt.NDArray[np.float64], labelings: npt.NDArray[np.int64], folds: IntArray
) -> npt.NDArray[np.float64]:
    """Mean one-versus-rest area under the curve under each labeling of each configuration: (labelings, configurations).

    Mann and Whitney's U is summed over folds before it is divided by the pairs, so that scales are never mixed.
    Labelings `(s, n)` have the same class counts in each fold.
    """
    areas = []
    for label in range(ranks.shape[2]):
        wins = np.zeros((len(labelings), len(ranks)))
        pairs = 0
        for fold in np.unique(folds):
            rows = np.flatnonzero(folds == fold)
            own = (labelings[:, rows] == label).astype(np.float64)
            n = int(own[0].sum())
            if 0 < n < len(rows):
                wins += own @ ranks[:, rows, label].T - n * (n + 1) / 2
                pairs += n * (len(rows) - n)
        if pairs:
            areas.append(wins / pairs)
    return np.mean(areas, axis=0) if areas else np.full((len(labelings), len(ranks)), 0.5)


def _within(labels: IntArray, folds: IntArray, rng: np.random.Generator) -> IntArray:
    shuffled = labels.copy()
    for fold in np.unique(folds):
        rows = np.flatnonzero(folds == fold)
        shuffled[rows] = labels[rng.permutation(rows)]
    return shuffled


def _error(area: float, counts: IntArray) -> float:
    """Standard error of an area under the curve (Hanley and McNeil 1982), of the rarest class against the rest."""
    positive = int(counts[counts > 0].min())
    negative = int(counts.sum() - positive)
    if not positive or not negative:
        return math.inf
    first, second = area / (2 - area), 2 * area**2 / (1 + area)
    variance = area * (1 - area) + (positive - 1) * (first - area**2) + (negative - 1) * (second - area**2)
    return math.sqrt(max(variance, 0.0) / (positive * negative))
