import numpy as np
import pytest

from search.selection.standard_error import paired_error, pooled_deviation, standard_error


def test_the_deviation_is_pooled_around_each_trials_own_mean() -> None:
    assert pooled_deviation([[0.1, 0.3], [0.8, 0.8, 0.8]]) == pytest.approx(np.sqrt(0.02 / 3))


@pytest.mark.parametrize("folds", [[], [[0.5]], [[]]])
def test_no_deviation_without_two_folds(folds) -> None:
    assert pooled_deviation(folds) is None


def test_the_pooled_deviation_finds_the_true_one() -> None:
    rng = np.random.default_rng(0)
    scores = rng.uniform(0.5, 0.9, (200, 1)) + rng.normal(0, 0.04, (200, 5))
    assert pooled_deviation(scores.tolist()) == pytest.approx(0.04, rel=0.08)


@pytest.mark.parametrize(("fits", "folds", "error"), [(5, 5, 0.0670820), (25, 5, 0.0538516), (3, 3, 0.0912871)])
def test_nadeau_bengio(fits, folds, error) -> None:
    assert standard_error(0.1, fits, folds) == pytest.approx(error, rel=1e-5)


def test_a_shared_fold_effect_drops_out_of_a_paired_error() -> None:
    one, effect = np.array([0.7, 0.72, 0.71]), np.array([0.0, 0.2, -0.1])
    other = np.array([0.6, 0.63, 0.61])
    assert paired_error(one + effect, other + effect) == pytest.approx(paired_error(one, other))
