import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import balanced_accuracy_score, log_loss, roc_auc_score

from search.diagnosis import scoring


@settings(max_examples=20)
@given(st.integers(0, 10_000), st.integers(2, 4))
def test_scores_agree_with_scikit_learn(seed: int, classes: int) -> None:
    rng = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(classes), rng.integers(0, classes, 30)])
    outputs = rng.dirichlet(np.ones(classes), len(labels)).round(2) + 0.01
    outputs /= outputs.sum(axis=1, keepdims=True)
    found = scoring.decided(outputs)
    assert scoring.balanced_accuracy(labels, found, classes) == pytest.approx(balanced_accuracy_score(labels, found))
    one_against_rest = [roc_auc_score(labels == k, outputs[:, k]) for k in range(classes)]
    assert scoring.area(labels, outputs, classes) == pytest.approx(np.mean(one_against_rest))
    assert scoring.cross_entropy(labels, outputs) == pytest.approx(log_loss(labels, outputs), rel=1e-6)


def test_one_unit_is_cut_half_way_and_logits_at_zero() -> None:
    outputs = np.array([[0.2], [0.6], [-1.0], [np.nan]])
    assert scoring.decided(outputs).tolist() == [0, 1, 0, 0]
    assert scoring.decided(outputs, logits=True).tolist() == [1, 1, 0, 0]


@pytest.mark.parametrize(
    ("baseline", "held_out", "learned", "goal"),
    [(0.5, 1000, 0.6, 0.6), (0.6, 1000, 0.6, 0.6), (0.8, 1000, 0.65, 0.7), (1.0, 1000, 0.7, 0.7),
     (0.5, 25, 0.65, 0.65), (0.5, 4, 0.7, 0.7)],
)  # fmt: skip
def test_what_counts_as_learned_depends_on_simple_methods_and_on_luck(
    baseline: float, held_out: int, learned: float, goal: float
) -> None:
    assert scoring.threshold(0.5, baseline, held_out) == pytest.approx(learned)
    assert scoring.goal(0.5, baseline, held_out) == pytest.approx(goal)


def test_outputs_that_are_not_finite_are_worth_nothing() -> None:
    labels, outputs = np.array([0, 1]), np.full((2, 2), np.nan)
    assert scoring.area(labels, outputs, 2) == 0.5
    assert np.isnan(scoring.cross_entropy(labels, outputs))
