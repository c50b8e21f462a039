"""Ranking of the configurations that were judged on all folds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from search.arrays import IntArray
from search.records import Trial, Verdict
from search.selection.results import Ranked
from search.selection.robust_score import TIE
from search.selection.scores import OutOfFold, fold_scores, judged_fits, out_of_fold, score_matrix
from search.selection.standard_error import paired_error, pooled_deviation, standard_error
from search.settings import TrainingProtocol
from spaces.network_size import size

_NOTABLY_MORE: Final = 1.5  # updates are compared in steps of this factor: less is no reason to prefer one


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Candidate:
    """A ranked trial with its out-of-fold predictions."""

    ranked: Ranked
    predictions: OutOfFold
    weights: int  # of the network


def candidates(
    trials: Sequence[Trial], labels: IntArray, metric: str, chance: float, protocol: TrainingProtocol, folds: int
) -> tuple[Candidate, ...]:
    """Rank the trials that were judged on all folds, best first; a configuration that was sampled twice is listed once.

    The first place goes to the smallest, then fastest network among those whose score ties with the highest one; the
    others follow by score. (Ties are not transitive: sorting all of them by size could move a poor small network up
    step by step.)

    Args:
        trials: all trials of the study.
        labels: `(n,)` int, 0..K-1, of all images.
        metric: a key of `search.metric_definitions.METRICS`.
        chance: the metric's value for the constant predictor.
        protocol: image size, channels and number of classes, from which network sizes are computed.
        folds: number of folds in the study.
    """
    chosen: dict[str, tuple[Trial, OutOfFold, tuple[float, ...]]] = {}
    for trial in sorted(trials, key=lambda trial: trial.number):
        predictions = out_of_fold(trial, labels, metric, folds)
        if predictions is not None and trial.configuration.hash not in chosen:
            scores = fold_scores(trial, chance)
            chosen[trial.configuration.hash] = (trial, predictions, tuple(scores[fold] for fold in range(folds)))
    if not chosen:
        return ()
    deviation = pooled_deviation([scores for _, _, scores in chosen.values()]) or 0.0
    se = standard_error(deviation, folds, folds) if folds > 1 else deviation
    once = np.ones((1, len(labels)))
    pooled = score_matrix(metric, labels, [predictions for _, predictions, _ in chosen.values()], once)[0]
    pooled = np.where(np.isnan(pooled), chance, pooled)
    ranked = [
        Candidate(
            ranked=_ranked(trial, float(value), scores, se, chance),
            predictions=predictions,
            weights=size(
                trial.configuration,
                protocol.images.image_size,
                protocol.images.channels,
                protocol.classes,
                any_size=protocol.images.any_size,
            ),
        )
        for (trial, predictions, scores), value in zip(chosen.values(), pooled, strict=True)
    ]
    ranked.sort(key=lambda one: (-one.ranked.pooled, one.ranked.trial.number))
    best = ranked[0].ranked
    tied = [one for one in ranked if one.ranked.healthy == best.healthy and is_tie(one.ranked, best)]
    first = min(tied, key=_smallest_then_fastest)
    return (first, *(one for one in ranked if one is not first))


def is_tie(one: Ranked, other: Ranked) -> bool:
    """Return whether two pooled scores tie: they differ by less than `TIE` standard errors of the paired difference."""
    difference = abs(one.pooled - other.pooled)
    if difference == 0:
        return True
    return len(one.folds) > 1 and difference < TIE * paired_error(one.folds, other.folds)


def _ranked(trial: Trial, pooled: float, scores: tuple[float, ...], se: float, chance: float) -> Ranked:
    fits = [fit for fits in judged_fits(trial).values() for fit in fits]
    return Ranked(
        trial=trial,
        pooled=pooled,
        folds=scores,
        mean=float(np.mean(scores)),
        se=se,
        worst=min(scores),
        collapse_rate=sum(fit.verdict is Verdict.COLLAPSED for fit in fits) / len(fits),
        healthy=pooled - se > chance,
    )


def by_size_then_speed(candidates: Sequence[Candidate]) -> list[int]:
    """Return the rank of each candidate by network size, then speed: 0 is the smallest, then fastest network."""
    order = sorted(range(len(candidates)), key=lambda place: _smallest_then_fastest(candidates[place]))
    return [order.index(place) for place in range(len(candidates))]


def _smallest_then_fastest(one: Candidate) -> tuple[int, float, float, int]:
    """Sort key: number of weights, then updates of a fit in coarse steps, as seconds are not reproducible."""
    trial = one.ranked.trial
    epochs = [fit.epochs for fit in trial.fits if fit.verdict is Verdict.LEARNED]
    updates = float(np.median(epochs)) / trial.configuration.batch_size if epochs else math.inf
    slowness = round(math.log(updates) / math.log(_NOTABLY_MORE)) if 0 < updates < math.inf else updates
    return (one.weights, slowness, -one.ranked.pooled, trial.number)
