"""Scores of a network's predictions. NumPy only."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata  # type: ignore[import-untyped]

from search.arrays import IntArray

Array = npt.NDArray[Any]

HALF_WAY: Final = 0.5  # share of the way from chance to the best simple method that counts as learned,
LEAST: Final = 0.1  # at least this much above chance
MOST: Final = 0.2  # and at most this much
LUCK: Final = 1.5  # standard errors of guessing that may be luck


def threshold(chance: float, baseline: float, held_out: int) -> float:
    """Return the balanced accuracy, 0..1, from which a fit has learned.

    It is half-way from chance to `baseline`, but 0.1 to 0.2 above chance, and at least 1.5 standard errors of guessing.

    Args:
        chance: balanced accuracy of guessing, 0..1.
        baseline: balanced accuracy of the best simple method, 0..1.
        held_out: number of held-out images.
    """
    return chance + float(np.clip(HALF_WAY * (baseline - chance), _least(chance, held_out), MOST))


def goal(chance: float, baseline: float, held_out: int) -> float:
    """Return the balanced accuracy from which a changed network has learned: `baseline`, but 0.1 to 0.2 above chance.

    Args:
        chance: balanced accuracy of guessing, 0..1.
        baseline: balanced accuracy of the best simple method, 0..1.
        held_out: number of held-out images.
    """
    return chance + float(np.clip(baseline - chance, _least(chance, held_out), MOST))


def _least(chance: float, held_out: int) -> float:
    return max(LEAST, min(MOST, LUCK * float(np.sqrt(chance * (1 - chance) / max(1, held_out)))))


def decided(outputs: Array, logits: bool = False) -> IntArray:
    """Return the predicted class of each image.

    Args:
        outputs: `(n, units)` outputs of the network; a single unit means class 1 above 0.5 (above 0 for logits).
        logits: whether outputs are logits rather than probabilities.

    Returns:
        `(n,)` int64.
    """
    if outputs.shape[-1] == 1:
        return (np.nan_to_num(outputs[:, 0]) > (0.0 if logits else 0.5)).astype(np.int64)
    classes: IntArray = np.argmax(np.nan_to_num(outputs, nan=-np.inf), axis=-1).astype(np.int64)
    return classes


def balanced_accuracy(labels: IntArray, classes: IntArray, count: int) -> float:
    """Return the mean recall, 0..1, over the classes that occur in `labels`.

    Args:
        labels: `(n,)` 0..K-1.
        classes: `(n,)` predicted classes.
        count: K.
    """
    recalls = [float((classes[labels == k] == k).mean()) for k in range(count) if (labels == k).any()]
    return float(np.mean(recalls))


def area(labels: IntArray, outputs: Array, count: int) -> float:
    """Return the mean one-vs-rest area under the ROC curve, 0..1; 0.5 if it is not defined.

    Args:
        labels: `(n,)` 0..K-1.
        outputs: `(n, units)` outputs of the network.
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
    """Return the share, 0..1, of the most frequent class among predicted classes `(n,)`."""
    return float(np.bincount(classes).max() / len(classes))


def cross_entropy(labels: IntArray, outputs: Array, logits: bool = False) -> float:
    """Return the mean cross-entropy in nats; NaN if the outputs can't be probabilities (or logits).

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
    """Return the cross-entropy in nats of a constant prediction of the class shares. `counts`: images of each class."""
    shares = np.array(counts, np.float64) / max(1, sum(counts))
    return float(-(shares[shares > 0] * np.log(shares[shares > 0])).sum())
