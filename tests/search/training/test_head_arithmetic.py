"""The gradients of heads against differences, in double precision; what layers and optimizers promise."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from search.training.heads.layers import Activation, BatchNormalization, Dense, Dropout, GroupNormalization, Layer
from search.training.heads.loss import HeadLoss
from search.training.heads.optimizers import HeadOptimizer
from search.training.measures import log_loss, log_softmax
from spaces.config import ACTIVATIONS
from spaces.losses import LOSSES
from spaces.optimizers import OPTIMIZERS
from tests.factories import configuration

BATCH, INPUTS, UNITS, CLASSES = 6, 5, 8, 3
LABELS = np.array([0, 1, 2, 2, 1, 0])


def placed(chain: list[Layer], rng: np.random.Generator) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Double-precision weights and slopes for the chain."""
    weights = [[rng.normal(0.5, 1, shape) for shape in layer.weight_shapes()] for layer in chain]
    slopes = [[np.zeros_like(one) for one in own] for own in weights]
    for layer, *own in zip(chain, weights, slopes, strict=True):
        layer.bind(*own)
    return [w for own in weights for w in own], [s for own in slopes for s in own]


def forwards(chain: list[Layer], x: np.ndarray) -> np.ndarray:
    for layer in chain:
        if isinstance(layer, Dropout):
            layer.generator = np.random.default_rng(4)
        x = layer.forward(x, training=True)
    return x


def normalized(kind: str) -> list[Layer]:
    match kind:
        case "batch":
            return [BatchNormalization(UNITS, 1e-3, 0.9)]
        case "group":
            return [GroupNormalization(UNITS, 1e-3, 4)]
        case _:
            return []


CASES: list[dict[str, Any]] = [
    *({"activation": name} for name in ACTIVATIONS),
    *({"loss": name} for name in LOSSES),
    {"loss": "logit_adjusted", "smoothing": 0.1},
    {"smoothing": 0.2},
    {"normalization": "batch"},
    {"normalization": "group"},
    {"dropout": 0.4},
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_gradients_are_the_slopes_of_the_loss(case: dict[str, Any]) -> None:
    rng = np.random.default_rng(1)
    chain: list[Layer] = [
        Dense(INPUTS, UNITS),
        *normalized(case.get("normalization", "none")),
        Activation(case.get("activation", "tanh")),
        Dropout(case.get("dropout", 0.0)),
        Dense(UNITS, CLASSES),
    ]
    weights, slopes = placed(chain, rng)
    x = rng.normal(0, 1, (BATCH, INPUTS))
    class_weights, margin = np.array([0.5, 1.0, 2.0]), np.log([0.2, 0.3, 0.5])
    settings = configuration(loss=case.get("loss", "cross_entropy"), label_smoothing=case.get("smoothing", 0.0))
    loss = HeadLoss(settings, class_weights, margin)

    definition = LOSSES[settings.loss]

    def written(p: np.ndarray, label: int, target: np.ndarray) -> float:
        if definition.modulation is not None:
            return definition.modulation.value(p[label], -np.log(p[label]))
        return float(-target @ np.log(p))

    def value() -> float:
        """The loss written out, image by image."""
        logits = forwards(chain, x)
        if definition.is_logit_adjusted:
            logits = logits + margin
        p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        total = 0.0
        for row, label in zip(p, LABELS, strict=True):
            target = np.eye(CLASSES)[label] * (1 - settings.label_smoothing) + settings.label_smoothing / CLASSES
            total += class_weights[label] * written(row, label, target) / BATCH
        return total

    said, slope = loss(forwards(chain, x), LABELS)
    assert said == pytest.approx(log_loss(log_softmax(forwards(chain, x)), LABELS))
    for place, layer in reversed(list(enumerate(chain))):
        slope = layer.backward(slope, needs_input_gradient=place > 0)
    for weight, found in zip(weights, slopes, strict=True):
        for at in np.ndindex(weight.shape):
            held, ends = weight[at], []
            for step in (-1e-6, 1e-6):
                weight[at] = held + step
                ends.append(value())
            weight[at] = held
            assert found[at] == pytest.approx((ends[1] - ends[0]) / 2e-6, rel=1e-4, abs=1e-7)


@pytest.mark.parametrize("kind", ["batch", "group"])
def test_a_normalization_hands_on_the_gradient_of_what_went_in(kind: str) -> None:
    rng = np.random.default_rng(2)
    (layer,) = normalized(kind)
    placed([layer], rng)
    x, along = rng.normal(0, 1, (BATCH, UNITS)), rng.normal(0, 1, (BATCH, UNITS))
    layer.forward(x, training=True)
    found = layer.backward(along, needs_input_gradient=True)
    for at in np.ndindex(x.shape):
        held, ends = x[at], []
        for step in (-1e-6, 1e-6):
            x[at] = held + step
            ends.append(float((layer.forward(x, training=True) * along).sum()))
        x[at] = held
        assert found[at] == pytest.approx((ends[1] - ends[0]) / 2e-6, rel=1e-4, abs=1e-6)


def test_dropout_drops_a_share_and_raises_the_rest() -> None:
    layer = Dropout(0.3)
    ones = np.ones((200, 200), np.float32)
    drawn = layer.forward(ones, training=True)
    assert (drawn == 0).mean() == pytest.approx(0.3, abs=0.01)
    assert set(np.unique(drawn)) == {0, np.float32(1 / np.float32(0.7))}
    np.testing.assert_array_equal(layer.backward(ones, needs_input_gradient=True), drawn)
    np.testing.assert_array_equal(layer.forward(ones, training=False), ones)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_only_what_decays_decays(name: str) -> None:
    updater = HeadOptimizer(configuration(optimizer=name, weight_decay=0.1), np.array([True, False]))
    weights = np.ones(2, np.float32)
    updater.step(weights, np.zeros(2, np.float32), 0.5)
    assert weights.tolist() == pytest.approx([0.95 if OPTIMIZERS[name].takes_weight_decay else 1.0, 1.0])


def test_the_first_steps_of_adam_are_as_long_as_the_rate() -> None:
    """Whatever the gradient's size: both means are corrected for beginning at 0."""
    updater = HeadOptimizer(configuration(optimizer="adam"), np.array([False, False]))
    weights = np.zeros(2, np.float32)
    for steps in (1, 2):
        updater.step(weights, np.array([3.0, -0.01], np.float32), 0.1)
        assert weights.tolist() == pytest.approx([-0.1 * steps, 0.1 * steps], rel=1e-3)


def test_nesterov_looks_ahead() -> None:
    """Constant gradient 1, rate 1: speeds -1, -1.9, -2.71; each step is 0.9 x the speed - 1."""
    updater = HeadOptimizer(configuration(optimizer="sgd"), np.array([False]))
    weights, seen = np.zeros(1, np.float32), []
    for _ in range(3):
        updater.step(weights, np.ones(1, np.float32), 1.0)
        seen.append(float(weights[0]))
    assert np.diff([0.0, *seen]).tolist() == pytest.approx([-1.9, -2.71, -3.439])
