"""A weight of w is the same as w copies of the image."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search.selection.metrics import facts_of, score
from search.selection.scores import OutOfFold, score_matrix
from search.selection.weighted_metrics import decided_scores, probability_scores, recalls
from search.settings import METRICS


@given(seed=st.integers(0, 10_000), metric=st.sampled_from(METRICS), classes=st.integers(2, 4))
@settings(max_examples=40)
def test_weights_are_copies(seed: int, metric: str, classes: int) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, 15)
    weights = rng.integers(0, 3, (4, 15)).astype(np.float32)
    weights[:, 0] = 1
    trials = [
        OutOfFold(probabilities=rng.dirichlet(np.ones(classes), 15).round(2), folds=np.zeros(15, np.int64))
        for _ in range(3)
    ]
    found = score_matrix(metric, labels, trials, weights)
    assert found.shape == (4, 3)
    for b, times in enumerate(weights.astype(int)):
        rows = np.repeat(np.arange(15), times)
        for n, trial in enumerate(trials):
            expected = score(metric, labels[rows], trial.probabilities[rows])
            value = facts_of(metric).undefined if np.isnan(found[b, n]) else found[b, n]
            assert value == pytest.approx(expected, abs=1e-5)


def test_recalls_by_class() -> None:
    labels, decided = np.array([0, 0, 1, 1, 2]), np.array([[0, 1, 1, 1, 0]])
    weights = np.array([[1, 1, 1, 1, 1], [3, 1, 0, 2, 0]], np.float64)
    found = recalls(labels, decided, weights, 3)[:, :, 0]
    np.testing.assert_allclose(found, [[0.5, 0.75], [1, 1], [0, np.nan]])


def test_mean_over_folds_compares_within_folds_only() -> None:
    labels, folds = np.array([0, 1, 0, 1]), np.array([0, 0, 1, 1])
    up = np.array([0.1, 0.2, 0.8, 0.9])  # right in each fold, though the second is on another scale
    trial = OutOfFold(probabilities=np.c_[1 - up, up], folds=folds)
    assert score_matrix("auc", labels, [trial], np.ones((1, 4)))[0, 0] == 1.0
    assert score("auc", labels, trial.probabilities) == 0.75


def test_metrics_of_one_kind_are_not_asked_for_the_other() -> None:
    labels = np.array([0, 1])
    with pytest.raises(ValueError, match=r"decided classes is one of .*; got 'auc'"):
        decided_scores("auc", labels, labels[None], np.ones((1, 2)), 2)
    with pytest.raises(ValueError, match=r"metric of probabilities is .*; got 'mcc'"):
        probability_scores("mcc", labels, np.ones((2, 2)), np.ones((1, 2)))
