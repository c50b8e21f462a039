"""The promise: the score to expect on new images, freed of the winner's luck.

The best of many configurations has won partly by luck, so its own score flatters: by 5 to 9 points with a hundred
images. The bootstrap of the whole selection (BBC-CV; Tsamardinos, Greasidou, Borboudakis 2018) repeats the choice on
drawn images and scores the chosen one on those that were not drawn. With confirmed finalists the choice has two stages,
the search's best and among them the winner of the fresh fits, and both are repeated on the same draw.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from search.records import IntArray
from search.selection import offset, robust
from search.selection.draws import draws, usable
from search.selection.metrics import RANGE, is_decided, prior
from search.selection.results import Promise
from search.selection.scores import OutOfFold, score_matrix
from search.selection.weighted import Array, decided_scores, recalls

BOOTSTRAPS: Final = 1000
PROBABILITY_BOOTSTRAPS: Final = 200
"""For AUC, average precision and skill, which have no single product of matrices for all trials together."""

_NORMAL_95: Final = 1.96
_MOST_NEEDED: Final = 100  # times as many images: beyond that nobody can say


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class SecondStage:
    """The finalists that may win, with their fresh predictions, all on the same splits."""

    places: tuple[int, ...]  # of the finalists among the candidates of the first stage
    repeats: tuple[tuple[OutOfFold, ...], ...]  # (m, repeats)
    folds: int  # k of the fresh splits
    order: tuple[int, ...]  # place by size, then speed, for ties
    winner: int  # index of the recommended one
    shortlist: int  # how many the first stage sends on


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Contender:
    """What one in-bag winner shows in the draws: with its decision offset fitted on their in-bag rows."""

    outside: Array  # (b,) score on the out-of-bag rows of the draws that it won
    outside_recalls: Array  # (K, b)
    inside: Array  # (B,) score on the in-bag rows of every draw
    inside_recalls: Array  # (K, B)
    between: float  # variance of the score between its repeats
    recalls_between: Array  # (K,)
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
    """Expected score of the recommendation on new images, and its decision offset.

    The interval is the promise plus and minus 1.96 standard deviations: of the winner's own score over the draws, and
    between its repeats. Draws that leave a class without an out-of-bag image are passed over as long as a tenth of them
    remains.

    Args:
        metric: the study's.
        labels: `(n,)` of all images.
        groups: `(n,)` group of each image, or None.
        predictions: of every trial that was judged on all folds.
        winner: index of the recommended one; not used with a second stage.
        names: of the classes, in the order of the labels.
        baseline: score of the best simple method; an interval that reaches down to it is inconclusive.
        rng: source of the draws.
        bootstraps: number of draws; None takes 1,000 (200 for AUC, average precision and skill).
        second: the confirmed finalists, None without any.

    Returns:
        The promise, and what to add to the last layer's logits `(K,)`.
    """
    if bootstraps is None:
        bootstraps = BOOTSTRAPS if is_decided(metric) else PROBABILITY_BOOTSTRAPS
    weights = draws(labels, groups, bootstraps, rng)
    weights = weights[usable(weights == 0, labels, len(names))]
    searched = score_matrix(metric, labels, predictions, weights)
    searched = np.where(np.isnan(searched), -np.inf, searched)
    if second is None:
        contenders: list[tuple[OutOfFold, ...]] = [(one,) for one in predictions]
        won_by = searched.argmax(axis=1)
    else:
        contenders, winner = list(second.repeats), second.winner
        won_by = _confirmed_winners(metric, labels, searched, weights, second)
    outside = np.full(len(weights), np.nan)
    outside_recalls = np.full((len(names), len(weights)), np.nan)
    for index in np.unique(np.r_[won_by, winner]):
        draws_won = won_by == index
        one = _watch(metric, labels, contenders[index], weights, draws_won)
        outside[draws_won] = one.outside
        outside_recalls[:, draws_won] = one.outside_recalls
        if index == winner:
            own = one
    low_end, high_end = RANGE[metric]
    floor = _floor(metric, labels, own.inside_recalls)
    value, low, high = _expected(outside, own.inside, own.between, floor.sum(), low_end, high_end)
    ranges = {
        name: _expected(
            outside_recalls[k],
            own.inside_recalls[k],
            float(own.recalls_between[k]),
            float(floor[k] * len(names) ** 2) if metric == "balanced_accuracy" else 0.0,
            0.0,
            1.0,
        )
        for k, name in enumerate(names)
    }
    shown = Promise(
        value=value,
        low=low,
        high=high,
        stages=1 if second is None else 2,
        recalls=ranges,
        inconclusive=low <= baseline,
        images_needed=images_needed(len(labels), value, low, baseline),
    )
    return shown, offset.logits(own.tau, prior(labels, len(names)))


def _confirmed_winners(
    metric: str, labels: IntArray, searched: Array, weights: Array, second: SecondStage
) -> npt.NDArray[np.intp]:
    """Which finalist wins each draw `(B,)`: of those that its in-bag rows would have sent on, by the product's rule."""
    places = np.asarray(second.places)
    rank = (-searched).argsort(axis=1, kind="stable").argsort(axis=1)
    sent_on = rank[:, places] < second.shortlist
    sent_on |= ~sent_on.any(axis=1, keepdims=True)
    scores = np.stack(
        [
            score_matrix(metric, labels[rows], [_part(one[repeat], rows) for one in second.repeats], weights[:, rows])
            for repeat, rows in _fits(second.repeats[0])
        ],
        axis=-1,
    )
    known = np.isnan(scores)
    if known.any():  # a draw without any image of a fit's fold: the fit counts as the finalist's others
        scores = np.where(known, np.nan_to_num(np.nanmean(scores, axis=-1, keepdims=True)), scores)
    return robust.winner(scores, second.folds, second.order, sent_on)


def _fits(repeats: Sequence[OutOfFold]) -> list[tuple[int, IntArray]]:
    """Repeat and held-back rows of each fit."""
    return [
        (number, np.flatnonzero(one.folds == fold))
        for number, one in enumerate(repeats)
        for fold in np.unique(one.folds)
    ]


def _part(one: OutOfFold, rows: IntArray) -> OutOfFold:
    return OutOfFold(probabilities=one.probabilities[rows], folds=one.folds[rows])


def _watch(
    metric: str,
    labels: IntArray,
    repeats: Sequence[OutOfFold],
    weights: Array,
    draws_won: npt.NDArray[np.bool_],
) -> _Contender:
    """The mean over the repeats, each scored with one decision offset for all of them."""
    classes = repeats[0].probabilities.shape[1]
    left_out = (weights[draws_won] == 0).astype(weights.dtype)
    once = np.ones((1, len(labels)), weights.dtype)
    every, won = np.arange(len(weights)), np.arange(len(left_out))
    shares = prior(labels, classes)
    if is_decided(metric):
        decided = [offset.decisions(one.probabilities, shares) for one in repeats]

        def scored(wanted: Array) -> Array:  # (repeats, b, T)
            return np.stack([decided_scores(metric, labels, one, wanted, classes) for one in decided])

        scores = scored(weights).mean(axis=0)
        errors = np.nan_to_num(scores - scores[:, :1]).std(axis=0)
        chosen = offset.choose(scores, errors)
        alone = scored(once)[:, 0]
        best = int(offset.choose(alone.mean(axis=0)[None], errors)[0])
        inside, outside = scores[every, chosen], scored(left_out).mean(axis=0)[won, chosen[draws_won]]
        of_repeats = alone[:, best]
    else:
        decided = [one.probabilities.argmax(axis=1)[None] for one in repeats]
        chosen, best = np.zeros(len(weights), np.intp), 0
        inside = score_matrix(metric, labels, repeats, weights).mean(axis=1)
        outside = score_matrix(metric, labels, repeats, left_out).mean(axis=1)
        of_repeats = score_matrix(metric, labels, repeats, once)[0]

    def recalled(wanted: Array) -> Array:  # (K, b, T)
        return np.asarray(np.stack([recalls(labels, one, wanted, classes) for one in decided]).mean(axis=0))

    apart = np.stack([recalls(labels, one, once, classes)[:, 0, best] for one in decided])
    several = len(repeats) > 1
    return _Contender(
        outside=outside,
        outside_recalls=recalled(left_out)[:, won, chosen[draws_won]],
        inside=inside,
        inside_recalls=recalled(weights)[:, every, chosen],
        between=float(np.var(of_repeats, ddof=1)) if several else 0.0,
        recalls_between=apart.var(axis=0, ddof=1) if several else np.zeros(classes),
        tau=offset.TAUS[best] if is_decided(metric) else 0.0,
    )


def _floor(metric: str, labels: IntArray, inside_recalls: Array) -> Array:
    """Least variance of the score, by class `(K,)`: without a single mistake a bootstrap sees none at all.

    Binomial, with one hit and one miss added (Agresti and Coull 1998, for 95 %: two and two). For balanced accuracy;
    other metrics have none.
    """
    counts = np.bincount(labels, minlength=len(inside_recalls))
    if metric != "balanced_accuracy":
        return np.zeros(len(counts))
    known = np.array([one[~np.isnan(one)].mean() if (~np.isnan(one)).any() else 0.5 for one in inside_recalls])
    share = (known * counts + 1) / (counts + 2)
    variance: Array = share * (1 - share) / np.maximum(counts, 1) / len(counts) ** 2
    return variance


def _expected(
    outside: Array, inside: Array, between: float, least: float, low: float, high: float
) -> tuple[float, float, float]:
    """Mean and 95 % interval, clipped; the in-bag mean in place of what no draw left outside."""
    measured = outside[~np.isnan(outside)]
    own = inside[~np.isnan(inside)]
    if len(own) == 0:
        return low if np.isfinite(low) else 0.0, low, high
    value = float((measured if len(measured) else own).mean())
    drawn = float(own.var(ddof=1)) if len(own) > 1 else 0.0
    half = _NORMAL_95 * math.sqrt(max(drawn, least) + between)
    return value, float(np.clip(value - half, low, high)), float(np.clip(value + half, low, high))


def images_needed(images: int, value: float, low: float, baseline: float) -> int | None:
    """Images in all with which the interval would likely end at the baseline; None where it does, or nobody can say.

    The interval's width goes with 1 / sqrt(n).
    """
    above, half = value - baseline, value - low
    if low > baseline or above <= 0 or half / above > math.sqrt(_MOST_NEEDED):
        return None
    return math.ceil(images * (half / above) ** 2 - 1e-6)
