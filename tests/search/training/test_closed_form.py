"""Linear heads that are solved to their optimum: held against scikit-learn, and promises that hold for every kind."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from search.training.heads.closed_form.linear_head import LinearHead, predict
from search.training.heads.closed_form.logistic import fit_logistic
from search.training.heads.closed_form.registry import HEADS
from search.training.heads.closed_form.training_part import TrainingPart

Arrays = tuple[np.ndarray, np.ndarray]

SHAPES = [(40, 90, 3), (90, 12, 4), (30, 30, 3)]  # images, features, classes
KINDS = sorted(HEADS)


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
