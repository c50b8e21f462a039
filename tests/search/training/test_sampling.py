"""What an epoch shows, and what class weights are left to set right."""

from collections import Counter
from dataclasses import astuple
from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from search.training.sampling import balance, balance_of, cross_entropy, epoch_rows
from spaces.config import CLASS_WEIGHTINGS, OVERSAMPLINGS
from spaces.losses import LOSSES
from tests.factories import configuration

PAIRS = list(product(OVERSAMPLINGS, CLASS_WEIGHTINGS))
counts_of_classes = st.lists(st.integers(1, 400), min_size=2, max_size=8)


def draw(counts: list[int], oversampling: str = "none", batch: int = 4, seed: int = 0) -> np.ndarray:
    """An epoch of a fold whose rows are 100, 101, ... by class."""
    labels = np.repeat(np.arange(len(counts)), counts)
    rows = np.arange(100, 100 + len(labels))
    drawn = balance(counts, oversampling, "none").drawn
    return epoch_rows(rows, labels, drawn, batch, np.random.default_rng(seed))


def shown(epoch: np.ndarray, counts: list[int]) -> list[int]:
    """Images of each class in an epoch of `draw`."""
    labels = np.repeat(np.arange(len(counts)), counts)
    return np.bincount(labels[epoch.ravel() - 100], minlength=len(counts)).tolist()


@pytest.mark.parametrize(
    ("oversampling", "weighting", "drawn", "weights", "prior"),
    [  # 90 and 10 images
        ("none", "none", [0.9, 0.1], [1, 1], [0.9, 0.1]),
        ("none", "balanced", [0.9, 0.1], [1 / 1.8, 5], [0.5, 0.5]),
        ("none", "sqrt", [0.9, 0.1], [1 / 1.2, 2.5], [0.75, 0.25]),
        ("sqrt", "none", [0.75, 0.25], [1, 1], [0.75, 0.25]),
        ("sqrt", "balanced", [0.75, 0.25], [1 / 1.5, 2], [0.5, 0.5]),
        ("balanced", "none", [0.5, 0.5], [1, 1], [0.5, 0.5]),
        ("balanced", "sqrt", [0.5, 0.5], [1, 1], [0.5, 0.5]),
        ("balanced", "balanced", [0.5, 0.5], [1, 1], [0.5, 0.5]),
        ("balanced", "effective_number", [0.5, 0.5], [1, 1], [0.5, 0.5]),
    ],
)
def test_shares_weights_and_prior(oversampling, weighting, drawn, weights, prior) -> None:
    got = balance([90, 10], oversampling, weighting)
    np.testing.assert_allclose(got.drawn, drawn)
    np.testing.assert_allclose(got.weights, weights)
    np.testing.assert_allclose(got.prior, prior)


def test_the_effective_number_weighs_little_among_few_images_and_like_none_among_many_alike() -> None:
    few, many = balance([90, 10], "none", "effective_number"), balance([9000, 6000], "none", "effective_number")
    np.testing.assert_allclose(few.weights, balance([90, 10], "none", "balanced").weights, rtol=0.05)
    np.testing.assert_allclose(many.weights, [1, 1], rtol=0.01)


@settings(max_examples=30)
@given(counts_of_classes, st.sampled_from(PAIRS))
def test_weights_have_mean_one_over_what_is_drawn_and_the_prior_sums_to_one(counts, pair) -> None:
    got = balance(counts, *pair)
    assert np.isclose(got.drawn.sum(), 1)
    assert np.isclose((got.drawn * got.weights).sum(), 1)
    assert np.isclose(got.prior.sum(), 1)
    assert (got.weights > 0).all()
    if "balanced" in pair:
        np.testing.assert_allclose(got.prior, 1 / len(counts))
    assert got.entropy <= np.log(len(counts)) + 1e-9


@settings(max_examples=30)
@given(counts_of_classes, st.sampled_from(CLASS_WEIGHTINGS))
def test_balanced_oversampling_leaves_nothing_to_weigh(counts, weighting) -> None:
    np.testing.assert_allclose(balance(counts, "balanced", weighting).weights, 1)


@settings(max_examples=30)
@given(counts_of_classes, st.sampled_from(PAIRS))
def test_correcting_more_brings_the_prior_nearer_to_even(counts, pair) -> None:
    assert balance(counts, *pair).entropy >= balance(counts, "none", "none").entropy - 1e-9


def test_the_adjusted_loss_takes_the_shares_as_they_are_and_says_all_classes_are_alike() -> None:
    got = balance([90, 10], loss="logit_adjusted")
    np.testing.assert_allclose(got.drawn, [0.9, 0.1])
    np.testing.assert_allclose(got.weights, [1, 1])
    np.testing.assert_allclose(got.prior, [0.5, 0.5])
    np.testing.assert_allclose(np.exp(got.margin), [0.9, 0.1])


def test_the_best_constant_under_the_adjusted_loss_is_the_prior() -> None:
    """The loss of constant logits is least where the softmax of logits + margin is the class shares."""
    got = balance([90, 10], loss="logit_adjusted")
    said = np.log(got.prior) + got.margin
    np.testing.assert_allclose(np.exp(said) / np.exp(said).sum(), got.drawn)


@pytest.mark.parametrize(
    ("counts", "weighting"),
    [
        ([50, 50], "none"),
        ([90, 10], "none"),
        ([2500, 100], "sqrt"),
        ([600, 21, 73, 38], "none"),
        ([5, 1, 1], "balanced"),
    ],
)
def test_the_best_constant_under_the_focal_loss_is_the_prior(counts: list[int], weighting: str) -> None:
    got, plain = (balance(counts, class_weighting=weighting, loss=loss) for loss in ("focal", "cross_entropy"))

    def loss(logits: np.ndarray) -> float:
        p = np.exp(logits - logits.max())
        p /= p.sum()
        return float(-(plain.prior * (1 - p) ** 2 * np.log(p)).sum())

    found = minimize(loss, np.zeros(len(counts)), tol=1e-10).x
    np.testing.assert_allclose(got.prior, np.exp(found) / np.exp(found).sum(), atol=1e-4)
    np.testing.assert_array_equal(got.weights, plain.weights)
    assert got.entropy >= plain.entropy - 1e-9, "the focal loss draws towards even"


@settings(max_examples=30)
@given(counts_of_classes, st.sampled_from(PAIRS), st.sampled_from(sorted(LOSSES)))
def test_equal_configurations_balance_equally(counts, pair, loss) -> None:
    """What a configuration's canonical form leaves out changes nothing, to the last bit."""
    sampled = configuration(oversampling=pair[0], class_weighting=pair[1], loss=loss)
    kept = {name: value for name, value in sampled.canonical().items() if name in ("oversampling", "class_weighting")}
    plain = configuration(loss=loss, **kept)
    assert plain.hash == sampled.hash
    for one, other in zip(astuple(balance_of(counts, sampled)), astuple(balance_of(counts, plain)), strict=True):
        assert one.tolist() == other.tolist()


def test_cross_entropy_leaves_out_classes_that_do_not_occur() -> None:
    shares, prior = np.array([0.5, 0.5, 0.0]), np.array([0.25, 0.25, 0.5])
    assert np.isclose(cross_entropy(shares, prior), np.log(4))


@pytest.mark.parametrize(
    ("count", "batch", "shape"), [(20, 4, (5, 4)), (23, 4, (5, 4)), (7, 7, (1, 7)), (7, 4, (1, 4))]
)
def test_an_epoch_is_a_permutation_less_the_remainder(count, batch, shape) -> None:
    epoch = draw([count - 3, 3], batch=batch)
    assert epoch.shape == shape
    assert epoch.dtype == np.int32
    assert len(set(epoch.ravel())) == epoch.size
    assert set(epoch.ravel()) <= set(range(100, 100 + count))


@pytest.mark.parametrize(
    ("oversampling", "images"),
    [("none", [64, 16, 4]), ("sqrt", [48, 24, 12]), ("balanced", [28, 28, 28])],
)
def test_each_class_gets_its_share(oversampling, images) -> None:
    assert shown(draw([64, 16, 4], oversampling, batch=84), [64, 16, 4]) == images


@settings(max_examples=30)
@given(counts_of_classes, st.sampled_from(OVERSAMPLINGS), st.integers(0, 5))
def test_shares_hold_but_for_rounding_and_images_of_a_class_take_turns(counts, oversampling, seed) -> None:
    n = sum(counts)
    epoch = draw(counts, oversampling, batch=n, seed=seed)
    quotas = balance(counts, oversampling, "none").drawn * n
    images = shown(epoch, counts)
    assert epoch.size == n
    assert (np.abs(np.array(images) - quotas) < 1 + 1e-6).all()
    times = Counter(epoch.ravel().tolist())
    ends = np.cumsum([0, *counts]) + 100
    for start, end in pairwise(ends):
        each = [times[row] for row in range(start, end)]
        assert max(each) - min(each) <= 1


def test_a_rounded_share_is_right_on_average() -> None:
    """Seven images, two classes evenly: 3.5 each, so that neither is favoured."""
    firsts = [shown(draw([5, 2], "balanced", batch=7, seed=seed), [5, 2])[0] for seed in range(400)]
    assert set(firsts) == {3, 4}
    assert 3.4 < np.mean(firsts) < 3.6


def test_epochs_differ_and_the_same_seed_repeats() -> None:
    one, again, other = (draw([12, 4], "balanced", seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, again)
    assert not np.array_equal(one, other)


def test_images_that_are_left_out_change_from_epoch_to_epoch() -> None:
    """Oversampling shows eight of twelve images of the frequent class: over the epochs all have their turn."""
    seen = set().union(*(draw([12, 4], "balanced", seed=seed).ravel() for seed in range(30)))
    assert seen == set(range(100, 116))
