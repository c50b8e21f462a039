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
"""Verdicts that say something about the configuration; a fold with such a fit counts as judged."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class OutOfFold:
    """Predictions of a trial's networks for the images that they were not trained on."""

    probabilities: FloatArray  # (n, K)
    folds: IntArray  # (n,) fold whose validation set holds the image, from 0


def judged_fits(trial: Trial) -> dict[int, tuple[Fit, ...]]:
    """Return fold -> its fits that learned or collapsed, by attempt; folds without such a fit are left out."""
    by_fold: dict[int, list[Fit]] = {}
    for fit in sorted(trial.fits, key=lambda fit: (fit.fold, fit.attempt)):
        if fit.verdict in JUDGED:
            by_fold.setdefault(fit.fold, []).append(fit)
    return {fold: tuple(fits) for fold, fits in by_fold.items()}


def is_complete(trial: Trial, folds: int) -> bool:
    """Return whether all `folds` folds of the study were judged; False for failed and interrupted trials."""
    left_open = trial.state in (TrialState.FAILED, TrialState.INTERRUPTED)
    return not left_open and set(range(folds)) <= judged_fits(trial).keys()


def fit_score(fit: Fit, chance: float) -> float:
    """Return the score with which a fit counts.

    It is min(own score, chance) for a collapsed fit, chance if no finite score was measured, else the fit's own score.
    """
    if fit.score is None or not np.isfinite(fit.score):
        return chance
    return min(fit.score, chance) if fit.verdict is Verdict.COLLAPSED else fit.score


def fold_scores(trial: Trial, chance: float) -> dict[int, float]:
    """Return fold -> score for each judged fold, in the order of the folds; two attempts on a fold are averaged.

    Fold scores serve only racing and standard errors: with rare classes the score of a single fold is noise.
    """
    return {fold: fmean(fit_score(fit, chance) for fit in fits) for fold, fits in judged_fits(trial).items()}


def out_of_fold(trial: Trial, labels: IntArray, metric: str, folds: int) -> OutOfFold | None:
    """Return the out-of-fold predictions of a trial, from the last attempt on each fold.

    The class shares replace the predictions of a fit without usable probabilities, and those of a collapsed fit that
    scored better than the class shares by luck.

    Args:
        trial: the trial with its fits.
        labels: `(n,)` int, 0..K-1, of all images.
        metric: a key of `METRICS`, by which collapsed fits are compared with the class shares.
        folds: number of folds in the study.

    Returns:
        Predictions for all n images; None unless every fold was judged.
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
    """Return the scores of N trials under B weightings of the images.

    Args:
        metric: a key of `search.metric_definitions.METRICS`.
        labels: `(n,)` int, 0..K-1.
        predictions: out-of-fold predictions of the N trials.
        weights: `(B, n)` float, weight of each image, not negative.

    Returns:
        `(B, N)`; NaN where the weighted images don't define the metric.
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
    """Return the score of a trial: the metric on its pooled out-of-fold predictions (AUC and skill: mean over folds).

    Args:
        trial: the trial with its fits.
        labels: `(n,)` int, 0..K-1, of all images.
        metric: a key of `search.metric_definitions.METRICS`.
        folds: number of folds in the study.

    Returns:
        The score; None unless every fold was judged.
    """
    predictions = out_of_fold(trial, labels, metric, folds)
    if predictions is None:
        return None
    value = float(score_matrix(metric, labels, [predictions], np.ones((1, len(labels))))[0, 0])
    return defined(metric, value)
