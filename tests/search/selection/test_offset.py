import numpy as np
import pytest

from search.selection import offset
from search.selection.metrics import softmax


def test_no_strength_adds_nothing_and_one_takes_the_prior_out() -> None:
    shares = np.array([0.1, 0.9])
    assert offset.logits(0.0, shares) == (0.0, 0.0)
    added = offset.logits(1.0, shares)
    assert sum(added) == pytest.approx(0)
    assert added[0] - added[1] == pytest.approx(np.log(9))


def test_decisions_under_every_strength() -> None:
    shares = np.array([0.2, 0.8])
    decided = offset.decisions(np.array([[0.3, 0.7], [0.1, 0.9], [0.6, 0.4]]), shares)
    by_strength = dict(zip(offset.TAUS, decided.tolist(), strict=True))
    assert by_strength[0.0] == [1, 1, 0]
    assert by_strength[1.0] == [0, 1, 0]
    assert by_strength[-0.5] == [1, 1, 1]


def test_equal_classes_have_nothing_to_take_out() -> None:
    given = np.random.default_rng(0).dirichlet(np.ones(3), 50)
    assert (offset.decisions(given, np.full(3, 1 / 3)) == given.argmax(axis=1)).all()


@pytest.mark.parametrize(
    ("scores", "errors", "chosen"),
    [
        ([0.60, 0.65, 0.70], [0, 0.02, 0.02], 2),
        ([0.60, 0.65, 0.65], [0, 0.02, 0.02], 1),  # as good: the earlier one
        ([0.60, 0.61, 0.62], [0, 0.02, 0.02], 0),  # no gain beyond a standard error
        ([0.60, 0.65, 0.70], [0, 0.02, 0.20], 1),
        ([0.60, 0.50, 0.40], [0, 0.0, 0.0], 0),
        ([np.nan, np.nan, np.nan], [0, 0.0, 0.0], 0),
    ],
)
def test_an_offset_must_pay(scores, errors, chosen) -> None:
    assert offset.choose(np.array([scores]), np.array(errors)).tolist() == [chosen]


def test_probabilities_after_an_offset_are_those_of_moved_logits() -> None:
    logits = np.random.default_rng(0).normal(size=(20, 3))
    added = (0.5, -0.2, 1.0)
    moved = offset.offset_probabilities(softmax(logits), added)
    np.testing.assert_allclose(moved, softmax(logits + added), atol=1e-6)
    assert (offset.offset_probabilities(np.array([[0.0, 1.0]]), (1.0, -1.0)) > 0).all()


def test_no_offset_leaves_the_very_same_probabilities() -> None:
    given = np.random.default_rng(0).dirichlet(np.ones(3), 50).astype(np.float32)
    assert (offset.offset_probabilities(given, (0.0, 0.0, 0.0)) == given).all()
