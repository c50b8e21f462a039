"""Linear heads that are solved to their optimum: held against scikit-learn, and promises that hold for every kind."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from sklearn.covariance import ledoit_wolf_shrinkage
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.preprocessing import StandardScaler

from search.training.heads.blas_threads import one_thread
from search.training.heads.closed_form.discriminant import LEDOIT_WOLF, fit_discriminant, left_out_log_odds
from search.training.heads.closed_form.linear_head import LinearHead, predict
from search.training.heads.closed_form.logistic import fit_logistic
from search.training.heads.closed_form.registry import HEADS, FitHeads
from search.training.heads.closed_form.ridge import fit_ridge, left_out_scores
from search.training.heads.closed_form.training_part import TrainingPart
from search.training.measures import log_softmax

Arrays = tuple[np.ndarray, np.ndarray]

SHAPES = [(40, 90, 3), (90, 12, 4), (30, 30, 3)]  # images, features, classes
KINDS = sorted(HEADS)
ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True, scope="module")
def _threads() -> Iterator[None]:
    """scikit-learn's own products of small matrices are as slow with several threads."""
    with one_thread():
        yield


def images(count: int, features: int, classes: int, seed: int = 0, apart: float = 0.6) -> Arrays:
    """Features like those of a backbone, float32, >= 0 and correlated, and labels of which each class has some."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.append(np.arange(classes), rng.integers(0, classes, count - classes)))
    hidden = rng.normal(size=(count, 8)) @ rng.normal(size=(8, features))
    x = hidden / 3 + rng.normal(size=(count, features)) + apart * rng.normal(size=(classes, features))[labels]
    return np.maximum(x + 0.5, 0).astype(np.float32), labels


def standardized(x: np.ndarray) -> np.ndarray:
    return StandardScaler().fit_transform(x.astype(np.float64))


def uneven(labels: np.ndarray) -> np.ndarray:
    """Weights that say how many copies an image stands for, uneven between and within classes."""
    return np.where(labels == 0, 0.3, 1.0) * (1 + np.arange(len(labels)) % 3)


# Standardization


@pytest.mark.parametrize("kind", KINDS)
def test_a_feature_that_hardly_varies_in_training_does_not_decide_alone(kind: str) -> None:
    x, labels = images(60, 40, 3, apart=2.0)
    train, val = np.arange(0, 60, 2), np.arange(1, 60, 2)
    x[:, 7] = 0.5
    x[train[0], 7] = 0.501  # and in one validation image it is as large as others
    other = x.copy()
    other[val[0], 7] = 1.5
    moved = {}
    for share in (0.0, 0.05):
        part = TrainingPart.of(x[train], labels[train], 3, least_share=share)
        heads = HEADS[kind].fit(part, HEADS[kind].strengths)
        moved[share] = max(
            float(np.abs(one.probabilities(x[val]) - one.probabilities(other[val])).max()) for one in heads
        )
    assert moved[0.05] < 0.3 < 0.5 < moved[0.0]


# Logistic regression


@pytest.mark.parametrize(("count", "features", "classes"), SHAPES)
@pytest.mark.parametrize("weighted", [False, True])
def test_logistic_regression_is_scikit_learns(count: int, features: int, classes: int, weighted: bool) -> None:
    x, labels = images(count, features, classes)
    weights = uneven(labels) if weighted else np.ones(count)
    strengths = [3000.0, 0.1, 30.0, 1.0]
    heads = fit_logistic(TrainingPart.of(x, labels, classes, weights), strengths)
    for strength, head in zip(strengths, heads, strict=True):
        model = LogisticRegression(C=1 / strength, tol=1e-9, max_iter=5000)
        model.fit(standardized(x), labels, sample_weight=weights)
        np.testing.assert_allclose(head.probabilities(x), model.predict_proba(standardized(x)), atol=2e-5)


def test_logistic_regression_of_two_classes_is_scikit_learns_with_half_the_strength() -> None:
    x, labels = images(40, 60, 2)
    strengths = [100.0, 1.0]
    heads = fit_logistic(TrainingPart.of(x, labels, 2), strengths)
    for strength, head in zip(strengths, heads, strict=True):
        model = LogisticRegression(C=2 / strength, tol=1e-9, max_iter=5000).fit(standardized(x), labels)
        np.testing.assert_allclose(head.probabilities(x), model.predict_proba(standardized(x)), atol=2e-5)


@pytest.mark.parametrize(("count", "features", "classes"), SHAPES)
def test_the_gradient_of_a_logistic_regression_is_zero(count: int, features: int, classes: int) -> None:
    x, labels = images(count, features, classes)
    weights = uneven(labels)
    z = standardized(x)
    for strength, head in zip(HEADS["logistic"].strengths, fitted("logistic", x, labels, weights), strict=True):
        kernel = head.kernel * x.astype(np.float64).std(0)[:, None]
        slope = weights[:, None] * (head.probabilities(x) - np.eye(classes)[labels])
        assert np.linalg.norm(z.T @ slope + strength * kernel) <= 2e-5 * strength * np.linalg.norm(kernel) + 1e-9
        np.testing.assert_allclose(slope.sum(0), 0, atol=1e-4 * weights.sum())


def test_a_logistic_regression_of_separable_images_ends_with_next_to_no_penalty() -> None:
    x, labels = images(30, 100, 3)
    heads = fit_logistic(TrainingPart.of(x, labels, 3), [1e-6, 1e-12, 1e-300])
    p = predict(heads, x)
    assert np.isfinite(p).all()
    assert (p[:, np.arange(30), labels] > 0.999).all()


def test_the_start_of_a_logistic_regression_does_not_matter() -> None:
    x, labels = images(40, 60, 3)
    part = TrainingPart.of(x, labels, 3)
    alone = [fit_logistic(part, [strength])[0] for strength in (100.0, 1.0, 0.01)]
    np.testing.assert_allclose(predict(fit_logistic(part, [100.0, 1.0, 0.01]), x), predict(alone, x), atol=5e-5)


@pytest.mark.parametrize("strength", [0.0, -1.0, np.inf, np.nan])
def test_strengths_of_a_logistic_regression_are_positive(strength: float) -> None:
    x, labels = images(12, 5, 2)
    with pytest.raises(ValueError, match="positive and finite"):
        fit_logistic(TrainingPart.of(x, labels, 2), [1.0, strength])


@pytest.mark.parametrize("weighted", [False, True])
def test_a_strong_penalty_leaves_the_class_shares(weighted: bool) -> None:
    x, labels = images(40, 60, 3)
    weights = uneven(labels) if weighted else np.ones(40)
    (head,) = fit_logistic(TrainingPart.of(x, labels, 3, weights), [1e10])
    shares = np.bincount(labels, weights) / weights.sum()
    np.testing.assert_allclose(head.probabilities(x), np.tile(shares, (40, 1)), atol=1e-5)


# Linear discriminant analysis


@pytest.mark.parametrize(("count", "features", "classes"), SHAPES)
def test_discriminants_are_scikit_learns(count: int, features: int, classes: int) -> None:
    x, labels = images(count, features, classes)
    shrinkages = [1.0, 0.5, 0.02]
    heads = fit_discriminant(TrainingPart.of(x, labels, classes), shrinkages, calibrated=False)
    for shrinkage, head in zip(shrinkages, heads, strict=True):
        model = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=shrinkage).fit(standardized(x), labels)
        np.testing.assert_allclose(head.probabilities(x), model.predict_proba(standardized(x)), atol=1e-8)


def test_weights_of_classes_are_the_priors_of_discriminants() -> None:
    x, labels = images(40, 60, 3)
    priors = np.array([0.5, 0.3, 0.2])
    weights = (priors / np.bincount(labels))[labels]
    (head,) = fit_discriminant(TrainingPart.of(x, labels, 3, weights), [0.3], calibrated=False)
    model = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.3, priors=priors).fit(standardized(x), labels)
    np.testing.assert_allclose(head.probabilities(x), model.predict_proba(standardized(x)), atol=1e-8)


@pytest.mark.parametrize(("count", "features", "classes"), SHAPES)
def test_the_automatic_shrinkage_is_ledoit_and_wolfs(count: int, features: int, classes: int) -> None:
    x, labels = images(count, features, classes)
    z = standardized(x)
    deviations = z - np.array([z[labels == k].mean(0) for k in range(classes)])[labels]
    expected = ledoit_wolf_shrinkage(deviations, assume_centered=True)
    assert 0.02 < expected < 0.98
    part = TrainingPart.of(x, labels, classes)
    plain, automatic = fit_discriminant(part, [float(expected), LEDOIT_WOLF])
    np.testing.assert_allclose(automatic.probabilities(x), plain.probabilities(x), atol=1e-8)


def discriminants(z: np.ndarray, labels: np.ndarray, weights: np.ndarray, shrinkage: float, left: np.ndarray):
    """Logarithms of prior times density of all images, from some of them; the variance shrunk to is that of all."""
    one_hot = np.eye(labels.max() + 1)[labels]

    def moments(w: np.ndarray):
        means = (one_hot * w[:, None]).T @ z / np.maximum((one_hot.T @ w)[:, None], 1e-9)
        deviations = z - means[labels]
        return means, (deviations * w[:, None]).T @ deviations

    (_, scatter), (means, part) = moments(weights), moments(weights * left)
    of_classes = one_hot.T @ (weights * left)
    of_classes = np.where(of_classes > 0, of_classes, one_hot.T @ weights)
    identity = np.eye(z.shape[1]) * np.trace(scatter) / z.shape[1]
    precision = np.linalg.inv(((1 - shrinkage) * part + shrinkage * identity) / (weights @ left))
    e = z[:, None] - means
    return np.log(of_classes / of_classes.sum()) - np.einsum("ika,ab,ikb->ik", e, precision, e) / 2


@pytest.mark.parametrize(("count", "features", "classes"), SHAPES)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("grouped", [False, True])
def test_left_out_log_odds_are_those_of_fits_without(
    count: int, features: int, classes: int, weighted: bool, grouped: bool
) -> None:
    x, labels = images(count, features, classes)
    labels[labels == 0] = 1
    labels[:2] = 0  # with groups this class is left out as a whole
    weights = uneven(labels) if weighted else np.full(count, 2.0)
    groups = np.random.default_rng(1).integers(0, count // 3, count) if grouped else np.arange(count)
    groups[:2] = groups[0] if grouped else groups[:2]
    shrinkages = [1.0, 0.7, 0.05]
    log_odds = left_out_log_odds(TrainingPart.of(x, labels, classes, weights, groups), shrinkages)
    for place, shrinkage in enumerate(shrinkages):
        for group in np.unique(groups):
            out = groups == group
            expected = discriminants(standardized(x), labels, weights, shrinkage, ~out)
            np.testing.assert_allclose(
                log_softmax(log_odds[place, out]), log_softmax(expected[out]), atol=1e-6, rtol=1e-6
            )


def test_a_calibrated_discriminant_is_not_too_sure() -> None:
    x, labels = images(200, 300, 3, apart=0.2)
    part, validation = TrainingPart.of(x[:100], labels[:100], 3), slice(100, None)
    losses = {
        calibrated: -np.log(
            fit_discriminant(part, [0.5], calibrated=calibrated)[0].probabilities(x[validation])[
                np.arange(100), labels[validation]
            ]
        ).mean()
        for calibrated in (False, True)
    }
    assert losses[True] < min(np.log(3), losses[False] - 0.2)


@pytest.mark.parametrize("strength", [-0.1, 1.1, np.nan])
def test_shrinkages_are_shares(strength: float) -> None:
    x, labels = images(12, 5, 2)
    with pytest.raises(ValueError, match=r"must be in \(0, 1\]"):
        fit_discriminant(TrainingPart.of(x, labels, 2), [1.0, strength])


# Ridge regression


def ridge_scores(z: np.ndarray, labels: np.ndarray, classes: int, weights: np.ndarray, alpha: float, rows: np.ndarray):
    """Scores of all images by scikit-learn's ridge regression on some of them."""
    model = Ridge(alpha=alpha, solver="cholesky").fit(z[rows], np.eye(classes)[labels[rows]], weights[rows])
    return model.predict(z)


@pytest.mark.parametrize(("count", "features", "classes"), SHAPES)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("grouped", [False, True])
def test_left_out_scores_are_those_of_fits_without(
    count: int, features: int, classes: int, weighted: bool, grouped: bool
) -> None:
    x, labels = images(count, features, classes)
    weights = uneven(labels) if weighted else np.full(count, 2.0)
    groups = np.random.default_rng(1).integers(0, count // 3, count) if grouped else np.arange(count)
    alphas = [1000.0, 10.0, 0.1]
    scores = left_out_scores(TrainingPart.of(x, labels, classes, weights, groups), alphas)
    for place, alpha in enumerate(alphas):
        for group in np.unique(groups):
            expected = ridge_scores(standardized(x), labels, classes, weights, alpha, groups != group)
            np.testing.assert_allclose(scores[place, groups == group], expected[groups == group], atol=1e-7)


@pytest.mark.parametrize(("count", "features", "classes"), SHAPES)
def test_logits_of_ridge_are_the_best_ones_that_are_linear_in_the_scores(
    count: int, features: int, classes: int
) -> None:
    x, labels = images(count, features, classes)
    weights, alpha = uneven(labels), 30.0
    part = TrainingPart.of(x, labels, classes, weights)
    (left_out,) = left_out_scores(part, [alpha])
    share, smooth = weights / weights.sum(), 1 / (weights.sum() + 1)
    targets = (1 - smooth) * np.eye(classes)[labels] + smooth * (share @ np.eye(classes)[labels])

    def loss(theta: np.ndarray) -> float:
        return -float(share @ (targets * log_softmax(theta[0] * left_out + theta[1:])).sum(1))

    best = minimize(loss, np.zeros(classes + 1), method="BFGS", options={"gtol": 1e-7}).x
    assert best[0] > 0
    scores = ridge_scores(standardized(x), labels, classes, weights, alpha, np.ones(count, bool))
    (head,) = fit_ridge(part, [alpha])
    expected = np.exp(log_softmax(best[0] * scores + best[1:]))
    np.testing.assert_allclose(head.probabilities(x), expected, atol=1e-4)


def test_left_out_scores_that_are_worse_than_chance_give_the_class_shares() -> None:
    x = np.arange(12.0)[:, None]
    labels = np.arange(12) % 2
    heads = fit_ridge(TrainingPart.of(x, labels, 2, np.where(labels == 0, 3.0, 1.0)), [1e6])
    np.testing.assert_allclose(heads[0].probabilities(x), np.tile([0.75, 0.25], (12, 1)), atol=1e-9)


@pytest.mark.parametrize("fit", [fit_ridge, fit_discriminant])
def test_one_group_cannot_be_left_out(fit: FitHeads) -> None:
    x, labels = images(12, 5, 2)
    with pytest.raises(ValueError, match="two groups at least"):
        fit(TrainingPart.of(x, labels, 2, groups=np.zeros(12)), [1.0])


@pytest.mark.parametrize("strength", [0.0, -1.0, np.inf, np.nan])
def test_strengths_of_ridge_are_positive(strength: float) -> None:
    x, labels = images(12, 5, 2)
    with pytest.raises(ValueError, match="positive and finite"):
        fit_ridge(TrainingPart.of(x, labels, 2), [1.0, strength])


# Every kind


def fitted(kind: str, x: np.ndarray, labels: np.ndarray, weights: object = None, groups: object = None):
    part = TrainingPart.of(x, labels, int(labels.max()) + 1, weights, groups)
    return HEADS[kind].fit(part, HEADS[kind].strengths)


def cases() -> dict[str, Arrays]:
    x, labels = images(40, 60, 3)
    once = np.append(np.flatnonzero(labels > 0), np.flatnonzero(labels == 0)[:1])
    constant = np.hstack([x[:, :20], np.full((40, 1), 0.1, np.float32), np.zeros((40, 3), np.float32)])
    few, few_labels = images(7, 60, 4)
    many, many_labels = images(150, 40, 100)
    return {
        "duplicate images": (np.repeat(x[:20], 3, axis=0), np.repeat(labels[:20], 3)),
        "duplicates of several classes": (np.repeat(x[:4], 3, axis=0), np.arange(12) % 3),
        "constant features": (constant, labels),
        "one feature": (x[:, :1], labels),
        "nothing but constant features": (constant[:, 20:], labels),
        "fewer than two images a class": (few, few_labels),
        "an image a class": (few[:4], np.arange(4)),
        "two images": (few[:2], np.arange(2)),
        "a class of one image": (x[once], labels[once]),
        "a hundred classes": (many, many_labels),
        "huge features": (x * np.float32(1e4), labels),
        "tiny features": (x * np.float32(1e-12), labels),
        "features of all sizes": ((x * 10.0 ** np.linspace(-9, 9, 60)).astype(np.float32), labels),
        "no feature of use": (images(40, 60, 3, seed=1)[0], labels),
        "separable": images(40, 60, 3, apart=8.0),
        "an outlier": (np.vstack([x[:39], x[39:] * np.float32(1e6)]), labels),
    }


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("case", sorted(cases()))
def test_probabilities_are_probabilities(kind: str, case: str) -> None:
    x, labels = cases()[case]
    heads = fitted(kind, x, labels, uneven(labels))
    assert len(heads) == len(HEADS[kind].strengths)
    p = predict(heads, np.vstack([x, x[:1] * 3]))
    assert p.shape == (len(heads), len(x) + 1, labels.max() + 1)
    assert p.dtype == np.float64
    assert (p >= 0).all()  # no NaN either
    np.testing.assert_allclose(p.sum(2), 1, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("case", ["duplicate images", "constant features", "huge features", "tiny features"])
def test_a_dense_layer_of_float32_gives_the_same_probabilities(kind: str, case: str) -> None:
    x, labels = cases()[case]
    for head in fitted(kind, x, labels):
        logits = x @ head.kernel.astype(np.float32) + head.bias.astype(np.float32)
        layer = np.exp(logits - logits.max(1, keepdims=True))
        np.testing.assert_allclose(layer / layer.sum(1, keepdims=True), head.probabilities(x), atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_size_and_place_of_a_feature_change_nothing(kind: str) -> None:
    x, labels = images(40, 60, 3)
    exact = x.astype(np.float64)
    other = exact * 10.0 ** np.linspace(-4, 4, 60) + np.linspace(-3, 3, 60)
    np.testing.assert_allclose(
        predict(fitted(kind, other, labels), other), predict(fitted(kind, exact, labels), exact), atol=5e-5
    )


@pytest.mark.parametrize("kind", KINDS)
def test_constant_features_change_nothing(kind: str) -> None:
    x, labels = images(40, 60, 3)
    more = np.hstack([x, np.full((40, 7), 0.1, np.float32)])
    heads = fitted(kind, more, labels)
    np.testing.assert_allclose(predict(heads, more), predict(fitted(kind, x, labels), x), atol=5e-5)
    assert all((head.kernel[60:] == 0).all() for head in heads)


@pytest.mark.parametrize("kind", KINDS)
def test_the_weakest_strength_separates_what_can_be_separated(kind: str) -> None:
    x, labels = images(40, 60, 3, apart=2.0)
    p = min_strength(kind, x, labels).probabilities(x)
    assert (p.argmax(1) == labels).all()
    assert p[np.arange(40), labels].mean() > 0.95


def min_strength(kind: str, x: np.ndarray, labels: np.ndarray) -> LinearHead:
    part = TrainingPart.of(x, labels, int(labels.max()) + 1)
    return HEADS[kind].fit(part, [min(s for s in HEADS[kind].strengths if s > 0)])[0]


@pytest.mark.parametrize("kind", KINDS)
def test_grids_go_from_strong_to_weak(kind: str) -> None:
    grid = HEADS[kind].strengths
    assert list(grid) == sorted(set(grid), reverse=True)


@pytest.mark.parametrize("kind", KINDS)
def test_equal_parts_give_equal_heads_to_the_last_bit(kind: str) -> None:
    x, labels = images(40, 60, 3)
    for one, other in zip(fitted(kind, x, labels), fitted(kind, x.copy(), labels.copy()), strict=True):
        np.testing.assert_array_equal(one.kernel, other.kernel)
        np.testing.assert_array_equal(one.bias, other.bias)


SMALL = st.tuples(st.integers(12, 30), st.integers(2, 40), st.integers(2, 4), st.integers(0, 999))


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=15)
@given(drawn=SMALL)
def test_the_order_of_images_classes_and_features_changes_nothing(kind: str, drawn: tuple[int, int, int, int]) -> None:
    x, labels = images(*drawn)
    rng = np.random.default_rng(drawn[3])
    rows, columns, names = (rng.permutation(size) for size in drawn[:3])
    plain = predict(fitted(kind, x, labels, uneven(labels)), x)
    other = predict(fitted(kind, x[rows][:, columns], names[labels[rows]], uneven(labels)[rows]), x[:, columns])
    np.testing.assert_allclose(other[:, :, names], plain, atol=5e-5)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=15)
@given(drawn=SMALL)
def test_each_image_twice_with_half_its_weight_changes_nothing(kind: str, drawn: tuple[int, int, int, int]) -> None:
    x, labels = images(*drawn)
    weights, groups = uneven(labels), np.arange(len(x))  # the copies of an image are left out together
    plain = predict(fitted(kind, x, labels, weights, groups), x)
    twice = fitted(kind, np.repeat(x, 2, axis=0), labels.repeat(2), weights.repeat(2) / 2, groups.repeat(2))
    np.testing.assert_allclose(predict(twice, x), plain, atol=5e-5)


# The training part


def test_coordinates_keep_lengths_and_angles() -> None:
    for shape in SHAPES:
        x, labels = images(*shape)
        values = TrainingPart.of(x, labels, shape[2]).coordinates.values
        z = standardized(x)
        np.testing.assert_allclose(values @ values.T, z @ z.T, atol=1e-6)
        assert values.shape[1] <= min(shape[0] - 1, shape[1])


def test_other_weights_share_the_coordinates() -> None:
    x, labels = images(30, 40, 3)
    part = TrainingPart.of(x, labels, 3)
    again = replace(part, weights=uneven(labels))
    assert again.coordinates is part.coordinates
    np.testing.assert_allclose(
        predict(fit_logistic(again, [1.0]), x), predict(fitted_once(x, labels, uneven(labels)), x), atol=1e-12
    )


def fitted_once(x: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> list[LinearHead]:
    return fit_logistic(TrainingPart.of(x, labels, 3, weights), [1.0])


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"labels": [0, 1]}, "Expected 4 labels"),
        ({"labels": [0, 0, 1, 3]}, r"each of 3 classes .* got labels \[0 1 3\]"),
        ({"labels": [0, 0, 1, 1]}, "each of 3 classes"),
        ({"labels": [0, 0, 0, 0], "classes": 1}, "2 at least"),
        ({"weights": [1, 1, 1, 0]}, r"Weights must be positive and finite, got 0.0 to 1.0"),
        ({"weights": [1, 1, 1, np.nan]}, "Weights must be positive and finite"),
        ({"weights": [1, 1]}, "Expected 4 weights"),
        ({"groups": [1, 1]}, "Expected 4 groups"),
        ({"x": np.full((4, 2), np.inf)}, "8 of 8 features are not finite"),
        ({"x": np.zeros(4)}, r"got an array of shape \(4,\)"),
    ],
)
def test_what_cannot_be_fitted_is_refused(changed: dict[str, object], message: str) -> None:
    arguments = {"x": np.arange(8.0).reshape(4, 2), "labels": [0, 1, 2, 0], "classes": 3, **changed}
    with pytest.raises(ValueError, match=message):
        TrainingPart.of(**arguments)


def test_neither_keras_nor_scikit_learn_is_loaded() -> None:
    code = (
        "import sys, search.training.heads.closed_form.registry\n"
        "print([m for m in ('keras', 'tensorflow', 'sklearn') if m in sys.modules])"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert ended.stdout.strip() == "[]"
