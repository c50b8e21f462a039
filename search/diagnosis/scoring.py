"""Scores of a network's predictions. NumPy only."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata  # type: ignore[import-untyped]

from search.arrays import IntArray

Array = npt.NDArray[Any]

HALF_WAY: Final = 0.5  # of the way from chance to the best simple method is learned,
LEAST: Final = 0.1  # but at least this much above chance,
MOST: Final = 0.2  # and at most this much
LUCK: Final = 1.5  # standard errors of guessing on the held-out images that are not yet learning


def threshold(chance: float, baseline: float, held_out: int) -> float:
    """Balanced accuracy from which a fit has learned.

    Half way from chance to what simple methods reach, 0.1 to 0.2 above chance; on few held-out images more than luck.

    Args:
        chance: balanced accuracy of guessing.
        baseline: balanced accuracy of the best simple method.
        held_out: number of held-out images.
    """
    return chance + float(np.clip(HALF_WAY * (baseline - chance), _least(chance, held_out), MOST))


def goal(chance: float, baseline: float, held_out: int) -> float:
    """Balanced accuracy that a fixed network has to reach: 0.2 above chance, less if simple methods stay below that.

    Args:
        chance: balanced accuracy of guessing.
        baseline: balanced accuracy of the best simple method.
        held_out: number of held-out images.
    """
    return chance + float(np.clip(baseline - chance, _least(chance, held_out), MOST))


def _least(chance: float, held_out: int) -> float:
    return max(LEAST, min(MOST, LUCK * float(np.sqrt(chance * (1 - chance) / max(1, held_out)))))


def decided(outputs: Array, logits: bool = False) -> IntArray:
    """Class of each row of `(n, units)`; a single unit is cut at 0.5, or at 0 if it gives logits."""
    if outputs.shape[-1] == 1:
        return (np.nan_to_num(outputs[:, 0]) > (0.0 if logits else 0.5)).astype(np.int64)
    classes: IntArray = np.argmax(np.nan_to_num(outputs, nan=-np.inf), axis=-1).astype(np.int64)
    return classes


def balanced_accuracy(labels: IntArray, classes: IntArray, count: int) -> float:
    """Mean recall over the classes that occur, 0..1.

    Args:
        labels: `(n,)` 0..K-1.
        classes: `(n,)` predicted classes.
        count: K.
    """
    recalls = [float((classes[labels == k] == k).mean()) for k in range(count) if (labels == k).any()]
    return float(np.mean(recalls))


def area(labels: IntArray, outputs: Array, count: int) -> float:
    """Mean one-vs-rest area under the ROC curve; 0.5 where it is not defined.

    Args:
        labels: `(n,)` 0..K-1.
        outputs: `(n, units)` of the network.
        count: K.
    """
    if not np.isfinite(outputs).all():
        return 0.5
    columns = np.column_stack([-outputs[:, 0], outputs[:, 0]]) if outputs.shape[-1] == 1 else outputs
    areas = []
    for k in range(min(count, columns.shape[1])):
        inside = labels == k
        own, rest = int(inside.sum()), int((~inside).sum())
        if own and rest:  # the share of pairs in the right order, from the rank sum
            areas.append((float(rankdata(columns[:, k])[inside].sum()) - own * (own + 1) / 2) / (own * rest))
    return float(np.mean(areas)) if areas else 0.5


def top_share(classes: IntArray) -> float:
    """Share of the most predicted class, 0..1, by predicted classes `(n,)`."""
    return float(np.bincount(classes).max() / len(classes))


def cross_entropy(labels: IntArray, outputs: Array, logits: bool = False) -> float:
    """Mean cross-entropy in nats; NaN for outputs that are neither probabilities nor logits.

    Args:
        labels: `(n,)` 0..K-1.
        outputs: `(n, units)` probabilities, or logits.
        logits: whether the outputs are logits.
    """
    if not np.isfinite(outputs).all():
        return float("nan")
    values = outputs.astype(np.float64)
    if logits:
        values = np.column_stack([np.zeros(len(values)), values[:, 0]]) if values.shape[-1] == 1 else values
        values = np.exp(values - values.max(axis=1, keepdims=True))
    elif values.shape[-1] == 1:
        values = np.column_stack([1 - values[:, 0], values[:, 0]])
    if values.min() < 0 or labels.max() >= values.shape[1]:
        return float("nan")
    values = values / np.maximum(values.sum(axis=1, keepdims=True), 1e-12)
    return float(-np.log(np.maximum(values[np.arange(len(labels)), labels], 1e-7)).mean())


def prior_entropy(counts: list[int]) -> float:
    """Cross-entropy in nats of a predictor that says the class shares."""
    shares = np.array(counts, np.float64) / max(1, sum(counts))
    return float(-(shares[shares > 0] * np.log(shares[shares > 0])).sum())
