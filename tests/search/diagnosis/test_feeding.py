"""Pixels, labels and the split, without a network."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search.diagnosis import feeding
from search.diagnosis.loading import Case
from search.errors import UserCodeError

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 255, (40, 6, 6, 1)).astype(np.uint8)
LABELS = np.repeat([0, 1], 20).astype(np.int64)


def case(**more: object) -> Case:
    return Case(model="net.py:build", build=lambda: None, labels="int", **more)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000), st.integers(4, 12), st.integers(2, 4), st.integers(0, 6))
def test_copies_stay_on_one_side_and_every_class_on_both(seed: int, per_class: int, classes: int, copies: int) -> None:
    labels = np.repeat(np.arange(classes), per_class)
    images = np.random.default_rng(seed).integers(0, 255, (len(labels), 4, 4, 1)).astype(np.uint8)
    images, labels = np.concatenate([images, images[:copies]]), np.concatenate([labels, labels[:copies]])
    parts = feeding.split(labels, feeding.first_copies(images), seed)
    assert sorted([*parts.training, *parts.held_out]) == list(range(len(labels)))
    assert {images[i].tobytes() for i in parts.training}.isdisjoint(images[i].tobytes() for i in parts.held_out)
    assert set(labels[parts.training]) == set(labels[parts.held_out]) == set(range(classes))


def test_with_three_images_of_a_class_nothing_is_held_out() -> None:
    labels = np.array([0, 0, 0, 1, 1, 1, 1])
    parts = feeding.split(labels, np.arange(7), 0)
    assert parts.on_training
    assert len(parts.training) == 7


@pytest.mark.parametrize(
    ("form", "expected"), [("int", [0, 1]), ("binary", [0.0, 1.0]), ("onehot", [[1.0, 0.0], [0.0, 1.0]])]
)
def test_labels_in_the_form_of_the_loss(form: str, expected: list[float]) -> None:
    assert feeding.encode(np.array([0, 1]), form, 2).tolist() == expected


def test_the_users_pipeline_is_used() -> None:
    assert feeding.pixels(case(), IMAGES).max() > 200
    assert feeding.pixels(case(preprocess=lambda x: x / 255), IMAGES).max() <= 1


@pytest.mark.parametrize(
    ("preprocess", "message"),
    [(lambda x: x[0], "an array of"), (lambda x: x[:3], r"\(40, height"), (lambda x: 1 / 0, "ZeroDivisionError"),
     (lambda x: np.full(x.shape, "a"), "array of numbers")],
)  # fmt: skip
def test_a_broken_pipeline_is_theirs(preprocess: object, message: str) -> None:
    with pytest.raises(UserCodeError, match=message):
        feeding.pixels(case(preprocess=preprocess), IMAGES)


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"preprocess": lambda x: x / 255}, 0.0),
        ({"preprocess": lambda x: x[::-1]}, 0.5),
        ({"augment": lambda x, y: (x[::-1], y[::-1])}, 0.0),
        ({"augment": lambda x, y: (x + RNG.normal(0, 5, x.shape), y)}, 0.0),
        ({"augment": lambda x, y: (RNG.permutation(x), y)}, 0.5),
    ],
)
def test_labels_beside_other_images_are_seen(more: dict[str, object], expected: float) -> None:
    assert feeding.misaligned(case(**more), IMAGES, LABELS, 2) == pytest.approx(expected, abs=0.25)
    assert (feeding.misaligned(case(**more), IMAGES, LABELS, 2) > 0.1) == (expected > 0)


def test_copies_and_contradictions_are_counted() -> None:
    images, labels = np.concatenate([IMAGES, IMAGES[:2]]), np.append(LABELS, [1, 0])
    same = feeding.first_copies(images)
    parts = feeding.split(labels, same, 0)
    found = feeding.material(case(), images, feeding.pixels(case(), images), labels, ("a", "b"), parts, same)
    assert (found.duplicates, found.conflicting) == (4, 1)
    assert found.classes == {"a": 21, "b": 21}
    assert (found.low, found.high) == (float(images.min()), float(images.max()))
