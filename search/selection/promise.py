"""The promise: the expected score on new images, corrected for the optimism of choosing the best configuration.

The best of many configurations has won partly by luck, so its own score is too high: by 5 to 9 percentage points with a
hundred images. Bootstrap bias corrected cross-validation (BBC-CV; Tsamardinos, Greasidou, Borboudakis 2018) repeats the
choice on bootstrap samples of the images and scores the chosen configuration on the images left out. With confirmed
finalists the choice has two stages, the shortlist of the search and the winner of the fits on fresh splits; both are
repeated on the same sample.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from search.arrays import IntArray
from search.metric_definitions import METRICS
from search.selection import offset, robust_score
from search.selection.bootstrap import draws, usable
from search.selection.interval import between_repeats, evidence, images_needed
from search.selection.metrics import prior
from search.selection.results import Promise
from search.selection.scores import OutOfFold, score_matrix
from search.selection.weighted_metrics import Array, decided_scores, recalls

BOOTSTRAPS: Final = 1000
PROBABILITY_BOOTSTRAPS: Final = 200
"""Number of bootstrap samples for metrics of probabilities (AUC, skill, ...), which take longer to compute."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class SecondStage:
    """The m finalists that were fitted on all fresh splits, the recommended one first, and their predictions there."""

    places: tuple[int, ...]  # (m,) index of each finalist among the candidates of the search
    repeats: tuple[tuple[OutOfFold, ...], ...]  # (m, R) out-of-fold predictions on each of the R fresh splits
    healthy: tuple[bool, ...]  # (m,) whether the finalist may win
    folds: int  # k, number of folds of a fresh split
    order: tuple[int, ...]  # (m,) rank by network size, then speed; the lowest wins a tie
    entitled: tuple[int, ...]  # indices of the candidates that could be shortlisted: healthy, no close duplicates
    shortlist: int  # number of candidates on the shortlist


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Contender:
    """Scores of one winner over the draws, with its decision offset fitted on the in-bag rows of each."""

    outside: Array  # (b,) score on the out-of-bag rows of the draws that it won
    outside_recalls: Array  # (K, b)
    inside: Array  # (B,) score on the in-bag rows of every draw
    inside_recalls: Array  # (K, B)
    right: Array  # (n,) share of the repeats in which each image is decided rightly
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
    second: SecondStage | None = None,
) -> tuple[Promise, tuple[float, ...]]:
    """Return the expected score of the recommended configuration on new images, and its decision offset.

    The interval is the promise plus and minus Student's quantile times the deviation of the winner's score over the
    bootstrap samples and between its repeats (`search.selection.interval`). Samples without an out-of-bag image of some
    class are discarded as long as a tenth of the samples remains.

    Args:
        metric: a key of `search.metric_definitions.METRICS`.
        labels: `(n,)` int, 0..K-1, of all images.
        groups: `(n,)` int, group of each image; None if each image is independent.
        predictions: out-of-fold predictions of every trial that was judged on all folds.
        winner: index of the recommended configuration in `predictions`.
        names: class names, in label order.
        baseline: score of the best simple method; the promise is inconclusive if its interval reaches down to it.
        rng: source of the bootstrap samples.
        bootstraps: number of samples; None takes `BOOTSTRAPS`, or `PROBABILITY_BOOTSTRAPS` for metrics of
            probabilities.
        second: the finalists that were fitted on all fresh splits, the recommended one first; None without any.

    Returns:
        The promise, and the decision offset: K numbers to add to the last layer's logits.
    """
    if bootstraps is None:
        bootstraps = BOOTSTRAPS if METRICS[metric].is_decided else PROBABILITY_BOOTSTRAPS
    weights = draws(labels, groups, bootstraps, rng)
    weights = weights[usable(weights == 0, labels, len(names))]
    searched = score_matrix(metric, labels, predictions, weights)
    searched = np.where(np.isnan(searched), -np.inf, searched)
    if second is None:
        contenders: list[tuple[OutOfFold, ...]] = [(one,) for one in predictions]
        first, won_by = winner, searched.argmax(axis=1)
    else:
        contenders, first = list(second.repeats), 0
        won_by = _confirmed_winners(metric, labels, searched, weights, second)
    outside = np.full(len(weights), np.nan)
    outside_recalls = np.full((len(names), len(weights)), np.nan)
    for index in np.unique(np.r_[won_by, first]):
        draws_won = won_by == index
        one = _contender(metric, labels, contenders[index], weights, draws_won)
        outside[draws_won] = one.outside
        outside_recalls[:, draws_won] = one.outside_recalls
        if index == first:
            own = one
    images_evidence = evidence(labels, groups, own.right)
    between, recalls_between = _between(metric, labels, predictions, second)
    half = images_evidence.half(_variance(own.inside), between, metric)
    definition = METRICS[metric]
    value, low, high = _expected(outside, own.inside, half, definition.low, definition.high)
    ranges = {}
    for k, name in enumerate(names):
        inside = own.inside_recalls[k]
        around = images_evidence.half_of_recall(k, _variance(inside), float(recalls_between[k]))
        ranges[name] = _expected(outside_recalls[k], inside, around, 0.0, 1.0)
    expected = Promise(
        value=value,
        low=low,
        high=high,
        stages=1 if second is None else 2,
        recalls=ranges,
        inconclusive=low <= baseline,
        images_needed=images_needed(len(labels), value, low, baseline),
    )
    return expected, offset.logits(own.tau, prior(labels, len(names)))


def _confirmed_winners(
    metric: str, labels: IntArray, searched: Array, weights: Array, second: SecondStage
) -> npt.NDArray[np.intp]:
    """Finalist that wins each draw `(B,)`, chosen by the product's rule.

    Only those may win that the draw's in-bag rows would have sent on from the first stage.
    """
    entitled = np.asarray(second.entitled)
    rank = np.full(searched.shape, len(entitled))
    rank[:, entitled] = (-searched[:, entitled]).argsort(axis=1, kind="stable").argsort(axis=1)
    healthy = np.asarray(second.healthy)
    allowed = healthy & (rank[:, np.asarray(second.places)] < second.shortlist)
    allowed |= healthy & ~allowed.any(axis=1, keepdims=True)
    scores = np.stack(
        [
            score_matrix(metric, labels[rows], [_part(one[repeat], rows) for one in second.repeats], weights[:, rows])
            for repeat, rows in _fits(second.repeats[0])
        ],
        axis=-1,
    )
    unknown = np.isnan(scores)
    if unknown.any():  # a draw without any image of a fit's fold: the fit counts as the finalist's others
        scores = np.where(unknown, np.nan_to_num(np.nanmean(scores, axis=-1, keepdims=True)), scores)
    return robust_score.winner(scores, second.folds, second.order, allowed)


def _fits(repeats: Sequence[OutOfFold]) -> list[tuple[int, IntArray]]:
    """Repeat and held-back rows of each fit."""
    return [
        (number, np.flatnonzero(one.folds == fold))
        for number, one in enumerate(repeats)
        for fold in np.unique(one.folds)
    ]


def _part(one: OutOfFold, rows: IntArray) -> OutOfFold:
    return OutOfFold(probabilities=one.probabilities[rows], folds=one.folds[rows])


def _between(
    metric: str, labels: IntArray, predictions: Sequence[OutOfFold], second: SecondStage | None
) -> tuple[float, Array]:
    """Variance of the score, and of the recalls `(K,)`, between repeats; one repeat is compared with the search."""
    classes = predictions[0].probabilities.shape[1]
    if second is None:
        return 0.0, np.zeros(classes)
    rows = [
        one if len(one) > 1 else (predictions[place], *one)
        for place, one in zip(second.places, second.repeats, strict=True)
    ]
    once = np.ones((1, len(labels)))
    scores = np.stack([score_matrix(metric, labels, repeats, once)[0] for repeats in rows])
    decided = [np.stack([one.probabilities.argmax(axis=1) for one in repeats]) for repeats in rows]
    recalled = np.stack([recalls(labels, one, once, classes)[:, 0] for one in decided])  # (m, K, R)
    of_classes = np.array([between_repeats(recalled[:, k]) for k in range(classes)])
    return between_repeats(scores), np.nan_to_num(of_classes)


def _contender(
    metric: str,
    labels: IntArray,
    repeats: Sequence[OutOfFold],
    weights: Array,
    draws_won: npt.NDArray[np.bool_],
) -> _Contender:
    """Mean over a contender's repeats, each scored with one decision offset for all of them."""
    classes = repeats[0].probabilities.shape[1]
    left_out = (weights[draws_won] == 0).astype(weights.dtype)
    once = np.ones((1, len(labels)), weights.dtype)
    every, won = np.arange(len(weights)), np.arange(len(left_out))
    shares = prior(labels, classes)
    if METRICS[metric].is_decided:
        decided = [offset.decisions(one.probabilities, shares) for one in repeats]

        def scored(wanted: Array) -> Array:  # (b, T)
            each = [decided_scores(metric, labels, one, wanted, classes) for one in decided]
            return np.asarray(np.stack(each).mean(axis=0))

        scores = scored(weights)
        errors = np.nan_to_num(scores - scores[:, :1]).std(axis=0)
        chosen = offset.choose(scores, errors)
        best = int(offset.choose(scored(once), errors)[0])
        inside, outside = scores[every, chosen], scored(left_out)[won, chosen[draws_won]]
    else:
        decided = [one.probabilities.argmax(axis=1)[None] for one in repeats]
        chosen, best = np.zeros(len(weights), np.intp), 0
        inside = score_matrix(metric, labels, repeats, weights).mean(axis=1)
        outside = score_matrix(metric, labels, repeats, left_out).mean(axis=1)

    def recalled(wanted: Array) -> Array:  # (K, b, T)
        return np.asarray(np.stack([recalls(labels, one, wanted, classes) for one in decided]).mean(axis=0))

    return _Contender(
        outside=outside,
        outside_recalls=recalled(left_out)[:, won, chosen[draws_won]],
        inside=inside,
        inside_recalls=recalled(weights)[:, every, chosen],
        right=np.mean([one[best] == labels for one in decided], axis=0),
        tau=offset.TAUS[best] if METRICS[metric].is_decided else 0.0,
    )


def _variance(inside: Array) -> float:
    defined = inside[~np.isnan(inside)]
    return float(defined.var(ddof=1)) if len(defined) > 1 else 0.0


def _expected(outside: Array, inside: Array, half: float, low: float, high: float) -> tuple[float, float, float]:
    """Mean and 95 % interval, clipped; the in-bag mean in place of what no draw left outside."""
    measured = outside[~np.isnan(outside)]
    own = inside[~np.isnan(inside)]
    if len(own) == 0:
        return low if np.isfinite(low) else 0.0, low, high
    value = float((measured if len(measured) else own).mean())
    return value, float(np.clip(value - half, low, high)), float(np.clip(value + half, low, high))
