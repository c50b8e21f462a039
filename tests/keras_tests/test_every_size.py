"""Images of every size: in one network, in one trace, as if each had been shown on its own."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from search.collapse.rules import FitContext
from search.collapse.watch import Watch
from search.records import Verdict
from search.selection.metrics import MetricScorer, softmax
from search.settings import TrainingProtocol
from search.training.engine import Engine
from search.training.fit import run_fit
from search.training.network import build_network
from search.training.sampling import balance
from spaces.config import ACTIVATIONS, HEADS, Configuration
from spaces.image_format import ImageFormat
from spaces.network_size import size
from tests.factories import configuration, fit_job

SHAPES = ((8, 12), (12, 8), (16, 16))
PROTOCOL = TrainingProtocol(epochs=4, images=ImageFormat(image_size=16, channels=3, shapes=SHAPES), classes=2)
N, BATCH = 36, 6


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    """Squares with each image in the upper left corner; what is beyond it is none of its business."""
    return np.random.default_rng(0).integers(0, 256, (N, 16, 16, 3), dtype=np.uint8)


PLACES = np.arange(N) % 3
LABELS = np.arange(N) // 3 % 2


def make(images: np.ndarray, chosen: Configuration, parts: int = 1) -> Engine:
    return Engine(chosen, PROTOCOL, tf.constant(images), tf.constant(LABELS, tf.int32), 100, parts, PLACES)


def own(images: np.ndarray, row: int) -> np.ndarray:
    height, width = SHAPES[PLACES[row]]
    return images[row : row + 1, :height, :width].astype(np.float32)


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"head": "flatten"}, 3),
        ({"head": "average"}, 1),
        ({"head": "max"}, 3),
        ({"head": "pyramid_8"}, 1),
        ({"dense_ratio": 1.0}, 1),
        ({"normalization": "group"}, 3),
        ({"loss": "focal", "class_weighting": "balanced"}, 1),
    ],
    ids=str,
)
def test_a_step_is_that_of_the_mean_gradient_of_images_shown_one_by_one(images, changes, parts) -> None:
    chosen = configuration(
        **{"batch_size": BATCH, "dropout": 0.0, "optimizer": "sgd", "input_scaling": "unit", "depth": 2, **changes}
    )
    engine, given = make(images, chosen, parts), balance([24, 12])
    rows = np.random.default_rng(1).permutation(N)[:BATCH]
    engine.begin(3, np.arange(N), given)
    before = [variable.numpy() for variable in engine.network.trainable_variables]
    theirs = build_network(chosen, 16, 3, 2, 100, any_size=True)
    theirs.set_weights(engine.network.get_weights())
    with tf.GradientTape() as tape:
        losses = []
        for row in rows:
            logits = theirs(own(images, row) / 255, training=True)
            plain = tf.nn.sparse_softmax_cross_entropy_with_logits(LABELS[row : row + 1], logits)
            factor = (1 - tf.exp(-plain)) ** 2 if chosen.loss == "focal" else 1.0
            losses.append(plain * factor * float(given.weights[LABELS[row]]))
        loss = tf.reduce_mean(tf.concat(losses, 0))
    gradients = tape.gradient(loss, theirs.trainable_variables)
    optimizer = keras.optimizers.SGD(0.05, momentum=0.9, nesterov=True)
    optimizer.apply_gradients(zip(gradients, theirs.trainable_variables, strict=True))
    engine.train_epoch(rows[None].astype(np.int32), np.array([0.05], np.float32), 0)
    for start, ours, other in zip(before, engine.network.trainable_variables, theirs.trainable_variables, strict=True):
        np.testing.assert_allclose(ours.numpy() - start, other.numpy() - start, atol=2e-6)
    np.testing.assert_allclose(
        engine.logits(np.arange(N)),
        np.concatenate([theirs(own(images, row) / 255, training=False) for row in range(N)]),
        atol=1e-4,
    )


def test_one_trace_whatever_shapes_come(images) -> None:
    engine = make(images, configuration(batch_size=BATCH))
    engine.begin(0, np.arange(N), balance([24, 12]))
    rng = np.random.default_rng(0)
    for epoch in range(3):
        engine.train_epoch(rng.permutation(N).reshape(-1, BATCH).astype(np.int32), np.full(6, 1e-3, np.float32), epoch)
    only_tall = np.flatnonzero(PLACES == 1)[:BATCH][None].astype(np.int32)
    engine.train_epoch(only_tall, np.array([1e-3], np.float32), 9, engine.rows_of_one_shape(np.arange(N)))
    assert engine.traces == 1


def test_what_lies_beyond_an_image_plays_no_part(images) -> None:
    """Neither in training nor in scaling, augmentation or validation."""
    changes: dict[str, Any] = {"input_scaling": "standardized", "rotation": 15.0, "shift": 0.2, "horizontal_flip": True}
    other = np.full_like(images, 77)
    for row in range(N):
        height, width = SHAPES[PLACES[row]]
        other[row, :height, :width] = images[row, :height, :width]
    outcomes = []
    for pixels in (images, other):
        engine = make(pixels, configuration(batch_size=BATCH, **changes))
        job = fit_job(protocol=PROTOCOL, train=np.arange(24), val=np.arange(24, N), seed=5)
        context = FitContext(epochs=4, updates_per_epoch=4, imbalance=1, batchnorm=False, prior_entropy=0.69)
        outcomes.append(run_fit(engine, job, LABELS, Watch(context), MetricScorer()))
    one, two = outcomes
    assert one.verdict is not Verdict.FAILED
    np.testing.assert_array_equal(one.probabilities, two.probabilities)
    assert repr(one.checks) == repr(two.checks)


def test_other_images_are_answered_by_their_own_shapes(images) -> None:
    engine = make(images, configuration(batch_size=BATCH))
    engine.begin(0, np.arange(N), balance([24, 12]))
    some = np.array([4, 30, 2, 17])
    said = engine.logits_of(tf.constant(images[some]), np.arange(4), PLACES[some])
    np.testing.assert_allclose(softmax(said), softmax(engine.logits(some)), atol=1e-6)


@pytest.mark.parametrize("changes", [{"head": head} for head in HEADS] + [{"dense_ratio": 1.0}], ids=str)
def test_the_number_of_weights_is_known_without_building(changes) -> None:
    chosen = configuration(depth=4, **changes)
    built = build_network(chosen, 64, 3, 2, 100, any_size=True)
    weights = sum(v.numpy().size for v in built.variables if v.name != "seed_generator_state")
    assert weights == size(chosen, 64, 3, 2, any_size=True)


def test_batch_normalization_is_refused(images) -> None:
    with pytest.raises(ValueError, match="needs images of one size"):
        make(images, configuration(batch_size=BATCH, normalization="batch"))


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_activation_takes_any_size(images, activation) -> None:
    engine = make(images, configuration(batch_size=BATCH, activation=activation))
    engine.begin(0, np.arange(N), balance([24, 12]))
    assert np.isfinite(engine.logits(np.arange(N))).all()


@pytest.mark.parametrize("head", HEADS)
def test_the_longest_side_decides_how_often_a_map_is_halved_and_thin_ones_bear_it(head) -> None:
    chosen = configuration(depth=8, dense_ratio=0.1, head=head, activation="elu")
    network = build_network(chosen, 64, 3, 2, 100, any_size=True)
    assert sum(isinstance(layer, keras.layers.MaxPooling2D) for layer in network.layers) >= 4
    for height, width in ((8, 64), (64, 9), (64, 64)):
        assert np.isfinite(network(np.random.default_rng(0).normal(size=(2, height, width, 3)), training=False)).all()
