"""The promise: the score to expect on new images, freed of the winner's luck.

The best of many configurations has won partly by luck, so its own score flatters: by 5 to 9 points with a hundred
images. The bootstrap of the whole selection (BBC-CV; Tsamardinos, Greasidou, Borboudakis 2018) repeats the choice on
drawn images and scores the chosen one on those that were not drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from search.data.strata import strata
from search.records import FloatArray, IntArray
from search.selection import offset
from search.selection.metrics import RANGE, is_decided, prior
from search.selection.results import Promise
from search.selection.scores import OutOfFold, score_matrix
from search.selection.weighted import Array, decided_scores, recalls

BOOTSTRAPS: Final = 1000
PROBABILITY_BOOTSTRAPS: Final = 200
"""For AUC, average precision and skill, which have no single product of matrices for all trials together."""

MIN_USABLE: Final = 0.1
"""Share of the draws that must leave out images of every class, or the others are used as well."""

_NORMAL_95: Final = 1.96


def draws(labels: IntArray, groups: IntArray | None, count: int, rng: np.random.Generator) -> FloatArray:
    """Draw whole groups within classes, with replacement, as many as there are.

    Units and their classes are those of `search.data.strata`.

    Args:
        labels: `(n,)` 0..K-1.
        groups: `(n,)` group of each image, or None.
        count: B.
        rng: source of the draws.

    Returns:
        `(B, n)` how often each image was drawn.
    """
    units, stratum = strata(labels, groups)
    drawn = np.zeros((count, len(stratum)), np.float32)
    for k in np.unique(stratum):
        ours = np.flatnonzero(stratum == k)
        drawn[:, ours] = rng.multinomial(len(ours), np.full(len(ours), 1 / len(ours)), size=count)
    return drawn[:, units]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Winner:
    """What one in-bag winner shows in the draws: with its decision offset fitted on their in-bag rows."""

    outside: Array  # (b,) score on the out-of-bag rows of the draws that it won
    outside_recalls: Array  # (K, b)
    inside: Array  # (B,) score on the in-bag rows of every draw
    inside_recalls: Array  # (K, B)
    tau: float  # fitted on all rows


def promise(
    metric: str,
    labels: IntArray,
    groups: IntArray | None,
    predictions: Sequence[OutOfFold],
    winner: int,
    names: Sequence[str],
    baseline: float,
    rng: np.random.Generator,
    bootstraps: int | None = None,
) -> tuple[Promise, tuple[float, ...]]:
    """Expected score of the recommendation on new images, and its decision offset.

    The interval is the promise plus and minus 1.96 standard deviations of the winner's own score over the draws.
    Draws that leave a class without an out-of-bag image are passed over as long as a tenth of them remains.

    Args:
        metric: the study's.
        labels: `(n,)` of all images.
        groups: `(n,)` group of each image, or None.
        predictions: of every trial that was judged on all folds.
        winner: index of the recommended one.
        names: of the classes, in the order of the labels.
        baseline: score of the best simple method; an interval that reaches down to it is inconclusive.
        rng: source of the draws.
        bootstraps: number of draws; None takes 1,000 (200 for AUC, average precision and skill).

    Returns:
        The promise, and what to add to the last layer's logits `(K,)`.
    """
    if bootstraps is None:
        bootstraps = BOOTSTRAPS if is_decided(metric) else PROBABILITY_BOOTSTRAPS
    weights = draws(labels, groups, bootstraps, rng)
    weights = weights[_usable(weights == 0, labels, len(names))]
    inside = score_matrix(metric, labels, predictions, weights)
    won_by = np.where(np.isnan(inside), -np.inf, inside).argmax(axis=1)
    outside = np.full(len(weights), np.nan)
    outside_recalls = np.full((len(names), len(weights)), np.nan)
    for index in np.unique(np.r_[won_by, winner]):
        draws_won = won_by == index
        one = _watch(metric, labels, predictions[index], weights, draws_won, inside[:, index])
        outside[draws_won] = one.outside
        outside_recalls[:, draws_won] = one.outside_recalls
        if index == winner:
            own = one
    low_end, high_end = RANGE[metric]
    value, low, high = _expected(outside, own.inside, low_end, high_end)
    ranges = {name: _expected(outside_recalls[k], own.inside_recalls[k], 0.0, 1.0) for k, name in enumerate(names)}
    shown = Promise(value=value, low=low, high=high, stages=1, recalls=ranges, inconclusive=low <= baseline)
    return shown, offset.logits(own.tau, prior(labels, len(names)))


def _usable(left_out: npt.NDArray[np.bool_], labels: IntArray, classes: int) -> npt.NDArray[np.bool_]:
    """Which draws `(B,)` leave out images of every class; of any class where too few do."""
    each = np.stack([left_out[:, labels == k].any(axis=1) for k in range(classes)])
    of_all: npt.NDArray[np.bool_] = np.logical_and.reduce(each)
    return of_all if of_all.mean() >= MIN_USABLE else np.ones(len(left_out), np.bool_)


def _watch(
    metric: str,
    labels: IntArray,
    predictions: OutOfFold,
    weights: Array,
    draws_won: npt.NDArray[np.bool_],
    plain: Array,
) -> _Winner:
    classes = predictions.probabilities.shape[1]
    left_out = (weights[draws_won] == 0).astype(weights.dtype)
    every, won = np.arange(len(weights)), np.arange(len(left_out))
    if is_decided(metric):
        decided = offset.decisions(predictions.probabilities, prior(labels, classes))
        scores = decided_scores(metric, labels, decided, weights, classes)
        errors = np.nan_to_num(scores - scores[:, :1]).std(axis=0)
        chosen = offset.choose(scores, errors)
        once = decided_scores(metric, labels, decided, np.ones((1, len(labels))), classes)
        tau = offset.TAUS[int(offset.choose(once, errors)[0])]
        inside = scores[every, chosen]
        outside = decided_scores(metric, labels, decided, left_out, classes)[won, chosen[draws_won]]
    else:
        decided = predictions.probabilities.argmax(axis=1)[None]
        chosen, tau, inside = np.zeros(len(weights), np.intp), 0.0, plain
        outside = score_matrix(metric, labels, [predictions], left_out)[:, 0]
    return _Winner(
        outside=outside,
        outside_recalls=recalls(labels, decided, left_out, classes)[:, won, chosen[draws_won]],
        inside=inside,
        inside_recalls=recalls(labels, decided, weights, classes)[:, every, chosen],
        tau=tau,
    )


def _expected(outside: Array, inside: Array, low: float, high: float) -> tuple[float, float, float]:
    """Mean and 95 % interval, clipped; the in-bag mean in place of what no draw left outside."""
    measured = outside[~np.isnan(outside)]
    own = inside[~np.isnan(inside)]
    if len(own) == 0:
        return low if np.isfinite(low) else 0.0, low, high
    value = float((measured if len(measured) else own).mean())
    half = _NORMAL_95 * float(own.std(ddof=1)) if len(own) > 1 else 0.0
    return value, float(np.clip(value - half, low, high)), float(np.clip(value + half, low, high))
