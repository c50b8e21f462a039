"""Every optimizer of the registry: both of our steps are Keras', which weights decay, and what a reset leaves."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from reports.configurations import sentence
from search.training import optimizer
from search.training.heads.optimizers import HeadOptimizer
from spaces.optimizers import OPTIMIZERS

NAMES = ("kernel", "bias", "gamma", "beta")
GRADIENTS = np.random.default_rng(0).normal(0, 1, (4, len(NAMES), 3)).astype(np.float32)
RATE = 0.01

pytestmark = pytest.mark.parametrize("name", OPTIMIZERS)


@pytest.fixture
def chosen(make_configuration, name):
    return make_configuration(optimizer=name, weight_decay=0.5, learning_rate=RATE)


def variables() -> list[keras.Variable]:
    return [keras.Variable(np.ones(3, np.float32), name=name) for name in NAMES]


def stepped(built, weights: list[keras.Variable], gradients: np.ndarray) -> np.ndarray:
    """Weights after our own steps of some gradients `(steps, weights, 3)`."""
    for step in gradients:
        optimizer.apply(built, [tf.constant(one) for one in step], weights, [tf.constant(RATE)] * len(weights))
    return np.stack([weight.numpy() for weight in weights])


def test_its_steps_are_those_of_keras_and_of_heads(chosen) -> None:
    """Also what fails when Keras names or orders an optimizer's variables otherwise."""
    ours, theirs = variables(), variables()
    built, kept = optimizer.build_optimizer(chosen), optimizer.build_optimizer(chosen)
    built.build(ours)
    for step in GRADIENTS:
        kept.apply([tf.constant(one) for one in step], theirs)
    expected = np.stack([weight.numpy() for weight in theirs])
    np.testing.assert_allclose(stepped(built, ours, GRADIENTS), expected, rtol=1e-5)

    head = HeadOptimizer(chosen, np.repeat([name == "kernel" for name in NAMES], 3))
    flat = np.ones(3 * len(NAMES), np.float32)
    for step in GRADIENTS:
        head.step(flat, step.ravel(), RATE)
    np.testing.assert_allclose(flat.reshape(-1, 3), expected, rtol=1e-5)


def test_only_kernels_decay_and_only_where_decay_means_something(chosen, name) -> None:
    built, weights = optimizer.build_optimizer(chosen), variables()
    built.build(weights)
    kernel, *others = stepped(built, weights, np.zeros_like(GRADIENTS[:1]))
    takes = OPTIMIZERS[name].takes_weight_decay
    np.testing.assert_allclose(kernel, 1 - 0.5 * RATE if takes else 1.0, rtol=1e-6)
    np.testing.assert_array_equal(others, np.ones((3, 3)))
    assert ("weight_decay" in chosen.canonical()) == takes
    assert ("weight decay" in sentence(chosen)) == takes
    assert name in sentence(chosen)


def test_a_reset_optimizer_goes_the_same_way_again(chosen) -> None:
    built, weights = optimizer.build_optimizer(chosen), variables()
    built.build(weights)
    first = stepped(built, weights, GRADIENTS)
    for weight in weights:
        weight.assign(np.ones(3))
    optimizer.reset(built)
    assert int(built.iterations) == 0
    assert float(built.learning_rate) == pytest.approx(RATE)
    np.testing.assert_array_equal(stepped(built, weights, GRADIENTS), first)
