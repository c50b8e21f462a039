"""The control by shuffled labels: scikit-learn's areas, its false alarms, and whom it suspects."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from search.selection.label_permutation import EQUIVALENT, _areas, _ranks, label_control
from search.selection.scores import OutOfFold

pytestmark = pytest.mark.slow

SIMPLE = {"constant": 0.5, "knn": 0.52, "logistic": 0.5}


def guesses(labels: np.ndarray, classes: int, known: float, rng: np.random.Generator, folds: int = 5) -> OutOfFold:
    logits = rng.normal(size=(len(labels), classes)) + known * np.eye(classes)[labels]
    shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    return OutOfFold(probabilities=shares.astype(np.float32), folds=np.arange(len(labels)) % folds)


@pytest.mark.parametrize("classes", [2, 4])
def test_on_one_fold_the_area_is_scikit_learns(classes) -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, classes, 60)
    one = guesses(labels, classes, 0.5, rng, folds=1)
    expected = np.mean([roc_auc_score(labels == k, one.probabilities[:, k]) for k in range(classes)])
    assert _areas(_ranks(one)[None], labels[None], one.folds) == pytest.approx(expected)


def test_scales_of_folds_are_never_compared() -> None:
    labels = np.array([0, 1] * 10)
    fold = np.repeat([0, 1], 10)
    p = 0.4 + 0.1 * labels + 0.3 * fold  # perfect within each fold, shifted between them
    one = OutOfFold(probabilities=np.stack([1 - p, p], 1).astype(np.float32), folds=fold)
    assert _areas(_ranks(one)[None], labels[None], fold) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("images", "known", "baselines", "suspect"),
    [
        (200, 1.5, SIMPLE, "networks"),  # some configuration knows something
        (200, 0.0, {**SIMPLE, "knn": 0.7}, "networks"),  # a simple method does
        (2000, 0.0, SIMPLE, "labels"),  # nobody does, and there are enough images to say so
        (40, 0.0, SIMPLE, "unknown"),
    ],
)
def test_whom_it_suspects(images, known, baselines, suspect) -> None:
    rng = np.random.default_rng(1)
    labels = np.arange(images) % 2
    control = label_control([guesses(labels, 2, known, rng)], labels, baselines, 0.5, rng)
    assert control is not None
    assert control.suspect == suspect
    assert suspect != "labels" or control.upper_95 < EQUIVALENT


def test_many_tries_are_no_advantage() -> None:
    """The best of ten guessers: in at most a tenth of the runs below .05, where each alone would often be."""
    alarms = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        labels = np.arange(50) % 2
        tries = [guesses(labels, 2, 0.0, rng) for _ in range(10)]
        control = label_control(tries, labels, SIMPLE, 0.5, rng)
        alarms += control is not None and control.p_value < 0.05
    assert alarms <= 3


def test_with_nothing_judged_there_is_nothing_to_say() -> None:
    assert label_control([], np.array([0, 1]), SIMPLE, 0.5, np.random.default_rng(0)) is None
