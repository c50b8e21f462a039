from dataclasses import replace

import numpy as np
import pytest

from search.fit_checks import Collapse
from search.metric_definitions import METRICS
from search.records import TrialState, Verdict
from search.selection.metrics import chance, prior, score
from search.selection.scores import fit_score, fold_scores, is_complete, out_of_fold, pooled_score


@pytest.mark.parametrize(
    ("verdict", "measured", "counts"),
    [
        (Verdict.LEARNED, 0.7, 0.7),
        (Verdict.LEARNED, 0.4, 0.4),
        (Verdict.COLLAPSED, 0.7, 0.5),
        (Verdict.COLLAPSED, 0.4, 0.4),
        (Verdict.COLLAPSED, None, 0.5),
        (Verdict.COLLAPSED, float("nan"), 0.5),
    ],
)
def test_how_a_fit_counts_where_chance_is_a_half(make_trial, labels, verdict, measured, counts) -> None:
    fit = replace(make_trial(labels).fits[0], verdict=verdict, score=measured)
    assert fit_score(fit, 0.5) == counts


def test_a_fit_that_the_audit_let_run_on_counts_as_measured(make_trial, labels) -> None:
    would_be = Collapse(reason="constant-output", hard=False, epoch=3, evidence={})
    fit = replace(make_trial(labels).fits[0], score=0.9, audit=would_be)
    assert fit_score(fit, 0.5) == 0.9


def test_two_attempts_on_a_fold_count_equally_and_the_last_ones_predictions_stay(make_trial, labels) -> None:
    trial = make_trial(labels)
    first = replace(trial.fits[1], verdict=Verdict.COLLAPSED, score=0.2, attempt=0, rows=labels[:0])
    second = replace(trial.fits[1], score=0.8, attempt=1)
    twice = replace(trial, fits=(trial.fits[0], second, first, trial.fits[2]))
    assert fold_scores(twice, 1 / 3)[1] == pytest.approx(0.5)
    assert pooled_score(twice, labels, "mcc", 3) == pooled_score(trial, labels, "mcc", 3)


@pytest.mark.parametrize("metric", ["balanced_accuracy", "macro_f1", "mcc", "accuracy", "average_precision"])
def test_pooled_metrics_look_at_all_predictions_together(make_trial, labels, metric) -> None:
    trial = make_trial(labels)
    given = np.zeros((len(labels), 3))
    for fit in trial.fits:
        given[fit.rows] = fit.probabilities
    assert pooled_score(trial, labels, metric, 3) == pytest.approx(score(metric, labels, given))


@pytest.mark.parametrize("metric", ["auc", "skill"])
def test_the_others_are_means_over_folds(make_trial, labels, metric) -> None:
    trial = make_trial(labels, metric=metric)
    assert pooled_score(trial, labels, metric, 3) == pytest.approx(np.mean([fit.score for fit in trial.fits]), abs=1e-6)


@pytest.mark.parametrize("metric", METRICS)
def test_a_trial_that_collapsed_everywhere_scores_chance(make_trial, labels, metric) -> None:
    trial = make_trial(labels, collapsed=(0, 1, 2))
    assert pooled_score(trial, labels, metric, 3) == pytest.approx(chance(metric, labels), abs=5e-2)
    assert set(fold_scores(trial, 0.25).values()) == {0.25}


def test_a_collapsed_fold_without_predictions_counts_as_the_constant_predictor(make_trial, labels) -> None:
    predictions = out_of_fold(make_trial(labels, collapsed=(1,)), labels, "accuracy", 3)
    assert predictions is not None
    np.testing.assert_allclose(predictions.probabilities[1::3], np.tile(prior(labels, 3), (30, 1)), rtol=1e-6)
    assert (predictions.folds == np.arange(90) % 3).all()


@pytest.mark.parametrize(("quality", "kept"), [(3.0, False), (-3.0, True)])
def test_a_collapsed_fit_is_no_better_than_constant_but_may_be_worse(make_trial, labels, quality, kept) -> None:
    trial = make_trial(labels, quality=quality)
    collapsed = replace(trial.fits[0], verdict=Verdict.COLLAPSED)
    predictions = out_of_fold(replace(trial, fits=(collapsed, *trial.fits[1:])), labels, "balanced_accuracy", 3)
    assert predictions is not None
    assert np.array_equal(predictions.probabilities[collapsed.rows], collapsed.probabilities) == kept


def test_probabilities_that_are_not_finite_are_not_used(make_trial, labels) -> None:
    trial = make_trial(labels)
    broken = replace(trial.fits[0], verdict=Verdict.COLLAPSED, probabilities=trial.fits[0].probabilities * np.nan)
    value = pooled_score(replace(trial, fits=(broken, *trial.fits[1:])), labels, "skill", 3)
    assert value is not None
    assert np.isfinite(value)


@pytest.mark.parametrize(
    ("run", "state", "complete"),
    [
        (3, TrialState.COMPLETE, True),
        (3, TrialState.COLLAPSED, True),
        (2, TrialState.RACED, False),
        (3, TrialState.FAILED, False),
        (3, TrialState.INTERRUPTED, False),
        (0, TrialState.INTERRUPTED, False),
    ],
)
def test_complete_means_every_fold_judged(make_trial, labels, run, state, complete) -> None:
    trial = make_trial(labels, run=run, state=state)
    assert is_complete(trial, 3) is complete
    assert (pooled_score(trial, labels, "accuracy", 3) is not None) is complete


def test_a_stopped_fit_does_not_judge_its_fold(make_trial, labels) -> None:
    trial = make_trial(labels)
    stopped = replace(trial.fits[2], verdict=Verdict.STOPPED)
    assert list(fold_scores(replace(trial, fits=(*trial.fits[:2], stopped)), 0.5)) == [0, 1]
