"""Scores of a trial: by fold, and on all out-of-fold predictions together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from search.arrays import FloatArray, IntArray
from search.metric_definitions import METRICS
from search.records import Fit, Trial, TrialState, Verdict
from search.selection.metrics import defined, prior, score
from search.selection.weighted_metrics import Array, decided_scores, mean_over_folds, probability_scores

JUDGED = (Verdict.LEARNED, Verdict.COLLAPSED)
"""Verdicts that judge the configuration: others say nothing about it."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class OutOfFold:
    """Predictions of a trial's networks for the images they were not trained on."""

    probabilities: FloatArray  # (n, K)
    folds: IntArray  # (n,) the fold that held the image back, from 0


def judged_fits(trial: Trial) -> dict[int, tuple[Fit, ...]]:
    """Fits of each fold that learned or collapsed, by attempt; folds without any are left out."""
    by_fold: dict[int, list[Fit]] = {}
    for fit in sorted(trial.fits, key=lambda fit: (fit.fold, fit.attempt)):
        if fit.verdict in JUDGED:
            by_fold.setdefault(fit.fold, []).append(fit)
    return {fold: tuple(fits) for fold, fits in by_fold.items()}


def is_complete(trial: Trial, folds: int) -> bool:
    """Whether every one of the study's folds was judged. A trial that failed or was cut off never is."""
    left_open = trial.state in (TrialState.FAILED, TrialState.INTERRUPTED)
    return not left_open and set(range(folds)) <= judged_fits(trial).keys()


def fit_score(fit: Fit, chance: float) -> float:
    """Score of a fit as it counts: a collapsed one no more than chance; chance if nothing finite was measured.

    A fit that the audit let run on has learned, or has collapsed, like any other.
    """
    if fit.score is None or not np.isfinite(fit.score):
        return chance
    return min(fit.score, chance) if fit.verdict is Verdict.COLLAPSED else fit.score


def fold_scores(trial: Trial, chance: float) -> dict[int, float]:
    """Score of each judged fold, in the order of the folds. Two attempts on a fold count equally.

    Fold scores serve racing and standard errors only: with rare classes a single fold's value is noise.
    """
    return {fold: fmean(fit_score(fit, chance) for fit in fits) for fold, fits in judged_fits(trial).items()}


def out_of_fold(trial: Trial, labels: IntArray, metric: str, folds: int) -> OutOfFold | None:
    """Predictions of each fold's last attempt; None unless every fold was judged.

    A collapsed fit counts for no more than the constant predictor: where it left no usable probabilities, or scored
    better than that by luck, the shares of the classes take its place.

    Args:
        trial: with its fits.
        labels: `(n,)` of all images.
        metric: the study's, by which a collapsed fit is compared with the constant predictor.
        folds: number of folds in the study.
    """
    if not is_complete(trial, folds):
        return None
    classes = int(labels.max()) + 1
    shares = prior(labels, classes).astype(np.float32)
    probabilities = np.tile(shares, (len(labels), 1))
    fold_of = np.full(len(labels), -1)
    for fold, fits in judged_fits(trial).items():
        last = fits[-1]
        rows = last.rows
        fold_of[rows] = fold
        if last.probabilities.shape != (len(rows), classes) or not np.isfinite(last.probabilities).all():
            continue
        if last.verdict is Verdict.COLLAPSED:
            constant = score(metric, labels[rows], probabilities[rows])
            if score(metric, labels[rows], last.probabilities) > constant:
                continue
        probabilities[rows] = last.probabilities
    # A fit that broke off may not even name its images. What it says of them is the same for all, so it does not
    # matter which fold without images they are given to.
    nameless = [fold for fold in range(folds) if not (fold_of == fold).any()]
    unnamed = np.flatnonzero(fold_of < 0)
    if len(unnamed):
        fold_of[unnamed] = np.resize(nameless or [0], len(unnamed))
    return OutOfFold(probabilities=probabilities, folds=fold_of)


def score_matrix(metric: str, labels: IntArray, predictions: Sequence[OutOfFold], weights: Array) -> Array:
    """Scores `(B, N)` of N trials under B weightings of the images; NaN where undefined.

    Args:
        metric: one of `search.metric_definitions.METRICS`.
        labels: `(n,)` 0..K-1.
        predictions: of N trials.
        weights: `(B, n)` not negative.
    """
    if not predictions:
        return np.zeros((len(weights), 0))
    if METRICS[metric].is_decided:
        decided = np.stack([trial.probabilities.argmax(axis=1) for trial in predictions])
        return decided_scores(metric, labels, decided, weights, predictions[0].probabilities.shape[1])
    columns = []
    for trial in predictions:
        if METRICS[metric].is_pooled:
            columns.append(probability_scores(metric, labels, trial.probabilities, weights))
        else:
            columns.append(mean_over_folds(metric, labels, trial.probabilities, trial.folds, weights))
    return np.stack(columns, axis=1)


def pooled_score(trial: Trial, labels: IntArray, metric: str, folds: int) -> float | None:
    """Score of a trial: the metric on its pooled out-of-fold predictions (AUC and skill: mean over folds).

    None unless every fold was judged.

    Args:
        trial: with its fits.
        labels: `(n,)` of all images.
        metric: one of `search.metric_definitions.METRICS`.
        folds: number of folds in the study.
    """
    predictions = out_of_fold(trial, labels, metric, folds)
    if predictions is None:
        return None
    value = float(score_matrix(metric, labels, [predictions], np.ones((1, len(labels))))[0, 0])
    return defined(metric, value)
