import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from search.selection.metrics import METRIC_FACTS, chance, facts_of, prior, score
from search.settings import METRICS


def _sample(seed: int, classes: int, n: int = 60) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = np.r_[np.arange(classes), rng.integers(0, classes, n)]
    shares = np.round(rng.dirichlet(np.ones(classes), len(labels)) + 0.3 * np.eye(classes)[labels], 1)  # with ties
    return labels, (shares + 1e-3) / (shares + 1e-3).sum(axis=1, keepdims=True)


def _oracle(metric: str, labels: np.ndarray, given: np.ndarray) -> float:
    classes, decided = given.shape[1], given.argmax(axis=1)
    present = np.unique(labels)
    truth = np.eye(classes)[labels]
    if metric == "macro_f1":
        return sk.f1_score(labels, decided, labels=present, average="macro", zero_division=0)
    if metric == "average_precision":
        return float(np.mean([sk.average_precision_score(truth[:, k], given[:, k]) for k in present]))
    if metric == "recall_at_precision":
        curves = [sk.precision_recall_curve(truth[:, k], given[:, k])[:2] for k in present]
        return float(np.mean([recall[precision >= 0.9 - 1e-9].max(initial=0) for precision, recall in curves]))
    if metric == "auc":
        if classes == 2:
            return sk.roc_auc_score(labels, given[:, 1])
        return float(np.mean([sk.roc_auc_score(truth[:, k], given[:, k]) for k in present]))
    if metric == "skill":
        shares = np.bincount(labels) / len(labels)
        return 1 - sk.log_loss(labels, given, labels=range(classes)) / sk.log_loss(
            labels, np.tile(shares, (len(labels), 1))
        )
    if metric == "balanced_accuracy":
        return sk.recall_score(labels, decided, labels=present, average="macro")
    of_decided = {
        "accuracy": sk.accuracy_score,
        "mcc": sk.matthews_corrcoef,
    }
    return of_decided[metric](labels, decided)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("classes", [2, 3, 6])
@pytest.mark.parametrize("seed", range(3))
def test_equals_scikit_learn(metric: str, classes: int, seed: int) -> None:
    labels, given = _sample(seed, classes)
    assert score(metric, labels, given) == pytest.approx(_oracle(metric, labels, given), abs=1e-9)


@pytest.mark.parametrize("metric", ["balanced_accuracy", "macro_f1", "auc", "average_precision"])
def test_a_class_without_images_is_left_out_of_the_mean(metric: str) -> None:
    labels, given = _sample(0, 4)
    kept = labels != 2
    assert score(metric, labels[kept], given[kept]) == pytest.approx(_oracle(metric, labels[kept], given[kept]))


@pytest.mark.parametrize(("metric", "value"), [("auc", 0.5), ("skill", 0.0), ("mcc", 0.0), ("balanced_accuracy", 1.0)])
def test_images_of_one_class_only(metric: str, value: float) -> None:
    labels = np.ones(4, np.int64)
    assert score(metric, labels, np.array([[0.2, 0.8]] * 4)) == value


@pytest.mark.parametrize(
    ("metric", "value"),
    [
        ("balanced_accuracy", 1 / 3),
        ("macro_f1", 2 * 0.5 / 1.5 / 3),
        ("mcc", 0.0),
        ("accuracy", 0.5),
        ("auc", 0.5),
        ("average_precision", 1 / 3),
        ("recall_at_precision", 0.0),
        ("skill", 0.0),
    ],
)
def test_chance(metric: str, value: float) -> None:
    labels = np.repeat([0, 1, 2], [10, 20, 30])
    assert chance(metric, labels) == pytest.approx(value, abs=1e-9)
    constant = np.tile(prior(labels, 3), (60, 1))
    assert score(metric, labels, constant) == pytest.approx(value, abs=1e-9)


@given(seed=st.integers(0, 10_000), classes=st.integers(2, 5), metric=st.sampled_from(METRICS))
@settings(max_examples=40)
def test_scores_stay_in_their_range_and_a_perfect_predictor_gets_the_top(seed: int, classes: int, metric: str) -> None:
    labels, given = _sample(seed, classes, n=12)
    low, high = facts_of(metric).low, facts_of(metric).high
    assert low <= score(metric, labels, given) <= high + 1e-12
    assert score(metric, labels, np.eye(classes)[labels]) == pytest.approx(high)


@given(seed=st.integers(0, 10_000), metric=st.sampled_from(METRICS))
@settings(max_examples=30)
def test_the_order_of_images_does_not_matter(seed: int, metric: str) -> None:
    labels, given = _sample(seed, 3, n=20)
    order = np.random.default_rng(seed).permutation(len(labels))
    assert score(metric, labels[order], given[order]) == pytest.approx(score(metric, labels, given), abs=1e-9)


def test_facts_are_told_of_every_metric() -> None:
    assert tuple(METRIC_FACTS) == METRICS


def test_only_auc_and_skill_are_means_over_folds() -> None:
    assert {metric for metric in METRICS if not facts_of(metric).is_pooled} == {"auc", "skill"}


def test_errors_say_what_came_and_what_was_expected() -> None:
    labels = np.array([0, 1])
    with pytest.raises(ValueError, match=r"metric is one of balanced_accuracy, .*; got 'f2'"):
        score("f2", labels, np.ones((2, 2)))
    with pytest.raises(ValueError, match=r"shape \(2, K\); got \(3, 2\)"):
        score("auc", labels, np.ones((3, 2)))
