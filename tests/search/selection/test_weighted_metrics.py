"""Recalls and means over folds under weightings of the images. That weights are copies: `test_metrics`."""

import numpy as np
import pytest

from search.selection.metrics import score
from search.selection.scores import OutOfFold, score_matrix
from search.selection.weighted_metrics import decided_scores, probability_scores, recalls


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
    with pytest.raises(ValueError, match=r"metric must be one of .*, got 'auc'"):
        decided_scores("auc", labels, labels[None], np.ones((1, 2)), 2)
    with pytest.raises(ValueError, match=r"metric must be one of .*, got 'mcc'"):
        probability_scores("mcc", labels, np.ones((2, 2)), np.ones((1, 2)))
