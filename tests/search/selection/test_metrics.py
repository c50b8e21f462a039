from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from reports.wording import metric_name
from search.metric_definitions import METRICS
from search.selection.metrics import chance, prior, score
from search.selection.scores import OutOfFold, score_matrix
from search.selection.weighted_metrics import CURVE_FORMULAS, DECIDED_FORMULAS, PROBABILITY_FORMULAS

Oracle = Callable[[np.ndarray, np.ndarray], float]


def _sample(seed: int, classes: int, n: int = 60) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = np.r_[np.arange(classes), rng.integers(0, classes, n)]
    shares = np.round(rng.dirichlet(np.ones(classes), len(labels)) + 0.3 * np.eye(classes)[labels], 1)  # with ties
    return labels, (shares + 1e-3) / (shares + 1e-3).sum(axis=1, keepdims=True)


def _mean_over_classes(curve: Callable[[np.ndarray, np.ndarray], float]) -> Oracle:
    """The mean over the classes that occur of a metric of one class against all others."""

    def oracle(labels: np.ndarray, given: np.ndarray) -> float:
        return float(np.mean([curve(labels == k, given[:, k]) for k in np.unique(labels)]))

    return oracle


def _recall_at_precision(is_it: np.ndarray, said: np.ndarray) -> float:
    precision, recall, _ = sk.precision_recall_curve(is_it, said)
    return recall[precision >= 0.9 - 1e-9].max(initial=0)


def _auc(labels: np.ndarray, given: np.ndarray) -> float:
    if given.shape[1] == 2:
        return sk.roc_auc_score(labels, given[:, 1])
    return _mean_over_classes(sk.roc_auc_score)(labels, given)


def _skill(labels: np.ndarray, given: np.ndarray) -> float:
    constant = np.tile(np.bincount(labels) / len(labels), (len(labels), 1))
    return 1 - sk.log_loss(labels, given, labels=range(given.shape[1])) / sk.log_loss(labels, constant)


ORACLES: dict[str, Oracle] = {
    "balanced_accuracy": lambda labels, given: sk.recall_score(
        labels, given.argmax(axis=1), labels=np.unique(labels), average="macro"
    ),
    "macro_f1": lambda labels, given: sk.f1_score(
        labels, given.argmax(axis=1), labels=np.unique(labels), average="macro", zero_division=0
    ),
    "mcc": lambda labels, given: sk.matthews_corrcoef(labels, given.argmax(axis=1)),
    "accuracy": lambda labels, given: sk.accuracy_score(labels, given.argmax(axis=1)),
    "auc": _auc,
    "average_precision": _mean_over_classes(sk.average_precision_score),
    "recall_at_precision": _mean_over_classes(_recall_at_precision),
    "skill": _skill,
}
"""By scikit-learn; a metric that it does not have needs none."""


@pytest.mark.parametrize("metric", ORACLES)
@pytest.mark.parametrize("classes", [2, 3, 6])
@pytest.mark.parametrize("seed", range(3))
def test_equals_scikit_learn(metric: str, classes: int, seed: int) -> None:
    labels, given = _sample(seed, classes)
    assert score(metric, labels, given) == pytest.approx(ORACLES[metric](labels, given), abs=1e-9)


@pytest.mark.parametrize("metric", ["balanced_accuracy", "macro_f1", "auc", "average_precision"])
def test_a_class_without_images_is_left_out_of_the_mean(metric: str) -> None:
    labels, given = _sample(0, 4)
    kept = labels != 2
    assert score(metric, labels[kept], given[kept]) == pytest.approx(ORACLES[metric](labels[kept], given[kept]))


@pytest.mark.parametrize(("metric", "value"), [("auc", 0.5), ("skill", 0.0), ("mcc", 0.0), ("balanced_accuracy", 1.0)])
def test_images_of_one_class_only(metric: str, value: float) -> None:
    labels = np.ones(4, np.int64)
    assert score(metric, labels, np.array([[0.2, 0.8]] * 4)) == value


CHANCE: dict[str, float] = {
    "balanced_accuracy": 1 / 3,
    "macro_f1": 2 * 0.5 / 1.5 / 3,
    "accuracy": 0.5,
    "auc": 0.5,
    "average_precision": 1 / 3,
}
"""For 10, 20 and 30 images of three classes; what is not named has 0."""


@pytest.mark.parametrize("metric", METRICS)
def test_chance(metric: str) -> None:
    labels = np.repeat([0, 1, 2], [10, 20, 30])
    assert chance(metric, labels) == pytest.approx(CHANCE.get(metric, 0.0), abs=1e-9)
    constant = np.tile(prior(labels, 3), (60, 1))
    assert score(metric, labels, constant) == pytest.approx(CHANCE.get(metric, 0.0), abs=1e-9)


@given(seed=st.integers(0, 10_000), classes=st.integers(2, 5), metric=st.sampled_from(sorted(METRICS)))
@settings(max_examples=40)
def test_scores_stay_in_their_range_and_a_perfect_predictor_gets_the_top(seed: int, classes: int, metric: str) -> None:
    labels, given = _sample(seed, classes, n=12)
    low, high = METRICS[metric].low, METRICS[metric].high
    assert low <= score(metric, labels, given) <= high + 1e-12
    assert score(metric, labels, np.eye(classes)[labels]) == pytest.approx(high)


@given(seed=st.integers(0, 10_000), metric=st.sampled_from(sorted(METRICS)))
@settings(max_examples=30)
def test_the_order_of_images_does_not_matter(seed: int, metric: str) -> None:
    labels, given = _sample(seed, 3, n=20)
    order = np.random.default_rng(seed).permutation(len(labels))
    assert score(metric, labels[order], given[order]) == pytest.approx(score(metric, labels, given), abs=1e-9)


@given(seed=st.integers(0, 10_000), metric=st.sampled_from(sorted(METRICS)), classes=st.integers(2, 4))
@settings(max_examples=40)
def test_a_weight_is_as_many_copies_of_the_image(seed: int, metric: str, classes: int) -> None:
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
            value = METRICS[metric].undefined if np.isnan(found[b, n]) else found[b, n]
            assert value == pytest.approx(expected, abs=1e-5)


def test_every_metric_has_one_formula_and_every_formula_a_metric() -> None:
    decided = {name for name, definition in METRICS.items() if definition.is_decided}
    assert set(DECIDED_FORMULAS) == decided
    assert sorted((*CURVE_FORMULAS, *PROBABILITY_FORMULAS)) == sorted(METRICS.keys() - decided)


@pytest.mark.parametrize("metric", METRICS)
def test_every_metric_has_words(metric: str) -> None:
    assert metric_name(metric) == METRICS[metric].title
    assert METRICS[metric].sentence


def test_only_auc_and_skill_are_means_over_folds() -> None:
    assert {metric for metric in METRICS if not METRICS[metric].is_pooled} == {"auc", "skill"}


def test_errors_say_what_came_and_what_was_expected() -> None:
    labels = np.array([0, 1])
    with pytest.raises(ValueError, match=r"metric must be one of balanced_accuracy, .*, got 'f2'"):
        score("f2", labels, np.ones((2, 2)))
    with pytest.raises(ValueError, match=r"shape \(2, K\), got \(3, 2\)"):
        score("auc", labels, np.ones((3, 2)))
