"""Which weights decay, and that a reset optimizer is a new one."""

import keras
import numpy as np
import pytest

from search.training import optimizer
from spaces.config import OPTIMIZERS


def variables() -> list[keras.Variable]:
    return [keras.Variable(np.ones(3, np.float32), name=name) for name in ("kernel", "bias", "gamma", "beta")]


def stepped(built, weights: list[keras.Variable], gradient: float, steps: int = 1) -> list[np.ndarray]:
    for _ in range(steps):
        built.apply([keras.ops.ones(3) * gradient for _ in weights], weights)
    return [weight.numpy().copy() for weight in weights]


@pytest.mark.parametrize("name", ["adamw", "sgd"])
def test_only_kernels_decay(make_configuration, name) -> None:
    built, weights = optimizer.build_optimizer(make_configuration(optimizer=name, weight_decay=0.5)), variables()
    built.build(weights)
    kernel, *others = stepped(built, weights, gradient=0.0)
    np.testing.assert_allclose(kernel, 1 - 0.5 * 0.01, rtol=1e-6)
    np.testing.assert_array_equal(others, np.ones((3, 3)))


def test_adam_does_not_decay(make_configuration) -> None:
    built, weights = optimizer.build_optimizer(make_configuration(optimizer="adam", weight_decay=0.5)), variables()
    built.build(weights)
    np.testing.assert_array_equal(stepped(built, weights, gradient=0.0), np.ones((4, 3)))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_reset_optimizer_goes_the_same_way_again(make_configuration, name) -> None:
    built, weights = optimizer.build_optimizer(make_configuration(optimizer=name, weight_decay=0.1)), variables()
    built.build(weights)
    first = stepped(built, weights, gradient=0.5, steps=3)
    for weight in weights:
        weight.assign(np.ones(3))
    optimizer.reset(built)
    assert int(built.iterations) == 0
    assert float(built.learning_rate) == pytest.approx(0.01)
    np.testing.assert_array_equal(stepped(built, weights, gradient=0.5, steps=3), first)
