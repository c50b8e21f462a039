"""Networks on backbones: what learns and what rests; and one run once gives what one run in each step gives.

The backbone is a small stand-in with the names and the number of features of a real one, which takes ten times as long
to trace; that Keras' own are built and fed rightly is shown elsewhere.
"""

from collections.abc import Callable, Iterator
from dataclasses import astuple
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from search.settings import TrainingProtocol
from search.training import backbones
from search.training.embeddings import FrozenBackbone
from search.training.engine import Engine
from search.training.export import fitted_model
from search.training.heads.trainer import HeadTrainer
from search.training.sampling import balance, balance_of
from spaces.config import NORMALIZATIONS, Configuration
from spaces.image_format import ImageFormat
from tests.factories import configuration

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Keras' own, while it saves

NAME = "mobilenet_025"
SIDE, COUNT, BATCH = 32, 24, 8
LABELS = np.repeat([0, 1], COUNT // 2)
UPDATES = 12  # of a whole fit: the backbone rests for three

Make = Callable[..., Any]


def small_core(known: Any, side: int | None = None) -> Any:
    """Two convolutions with batch normalization, the second one the last block."""
    images = x = keras.Input((None, None, 3))
    for name, filters in (("conv1", 8), (known.last_block, known.features)):
        x = keras.layers.Conv2D(filters, 3, strides=4, use_bias=False, name=name)(x)
        x = keras.layers.BatchNormalization(momentum=0.99, name=f"{name}_bn")(x)
        x = keras.layers.ReLU(6.0, name=f"{name}_relu")(x)
    return keras.Model(images, x)


@pytest.fixture(scope="module", autouse=True)
def small_backbone() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backbones, "_core", small_core)
        yield


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    """`(24, 32, 32, 3)` uint8: ramps from left to right in one class, from top to bottom in the other."""
    ramp = np.linspace(20, 220, SIDE)
    ramps = np.stack([np.tile(ramp, (SIDE, 1)), np.tile(ramp[:, None], (1, SIDE))])[LABELS]
    noise = np.random.default_rng(0).normal(0, 15, (COUNT, SIDE, SIDE, 3))
    return np.clip(ramps[..., None] + noise, 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def weights(images: np.ndarray) -> list[np.ndarray]:
    """Random kernels, and the statistics of the images of one class."""
    built = backbones.build_backbone(NAME, 3)
    built.set_weights(backbones.first_weights(NAME, 3, None))
    for layer in built.layers[-1].layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0
    built(images[: COUNT // 2].astype(np.float32), training=True)
    return built.get_weights()


def on_backbone(**changes: Any) -> Configuration:
    """Frozen, with one dense layer."""
    values: dict[str, Any] = {
        "backbone": NAME,
        "head": "average",
        "depth": 1,
        "dense_ratio": 1.0,
        "dense_units": 6,
        "activation": "tanh",
        "dropout": 0.0,
        "batch_size": BATCH,
        "learning_rate": 0.01,
    }
    return configuration(**{**values, **changes})


@pytest.fixture(scope="module")
def make(images: np.ndarray, weights: list[np.ndarray]) -> Make:
    """A trainer on embeddings, or an engine: the one there is of this configuration, traced already, unless `fresh`."""
    engines: dict[str, Engine] = {}

    def make(*, embedded: FrozenBackbone | None = None, fresh: bool = False, **changes: Any) -> Engine | HeadTrainer:
        configuration = on_backbone(**changes)
        protocol = TrainingProtocol(epochs=4, images=ImageFormat(image_size=SIDE, channels=3), classes=2)
        if embedded is not None:
            return HeadTrainer(configuration, protocol, embedded, LABELS, UPDATES)
        if fresh or configuration.hash not in engines:
            tensors = tf.constant(images), tf.constant(LABELS, tf.int32)
            engines[configuration.hash] = Engine(configuration, protocol, *tensors, UPDATES, pretrained=weights)
        return engines[configuration.hash]

    return make


@pytest.fixture
def embedded(
    images: np.ndarray, weights: list[np.ndarray], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> FrozenBackbone:
    monkeypatch.setenv("STEADYNET_CACHE", str(tmp_path))
    return FrozenBackbone(
        NAME, ImageFormat(image_size=SIDE, channels=3), weights, "digest", tmp_path / "images.npy", tf.constant(images)
    )


def run(engine: Any, epochs: int = 4) -> Any:
    """Three steps an epoch on all images."""
    rows = np.arange(COUNT)
    engine.begin(3, rows, balance(np.bincount(LABELS)))
    for epoch in range(epochs):
        order = np.random.default_rng(epoch).permutation(rows).reshape(-1, BATCH).astype(np.int32)
        engine.train_epoch(order, np.full(len(order), 0.01, np.float32), seed=epoch)
    return engine


def core_of(engine: Engine) -> Any:
    """The backbone as Keras' application built it."""
    return engine.network.layers[0].layers[-1]


def changed(engine: Engine, before: list[np.ndarray]) -> set[str]:
    """Layers of the backbone whose kernels or scales are no longer what they were."""
    fresh = backbones.build_backbone(NAME, 3)
    fresh.set_weights(before)
    return {
        ours.name
        for ours, theirs in zip(core_of(engine).layers, fresh.layers[-1].layers, strict=True)
        for mine, other in zip(ours.trainable_variables or ours.variables, theirs.variables, strict=False)
        if "moving" not in mine.path and not np.array_equal(mine.numpy(), other.numpy())
    }


HEADS: list[dict[str, Any]] = [
    {},
    {"head": "max", "optimizer": "sgd", "weight_decay": 0.01, "loss": "focal", "activation": "gelu"},
    {"depth": 2, "normalization": "batch", "optimizer": "adamw", "activation": "elu", "label_smoothing": 0.1},
    {"depth": 2, "normalization": "group", "dense_units": 32, "activation": "relu", "class_weighting": "balanced"},
    {"dense_ratio": 0.0, "optimizer": "sgd", "weight_decay": 0.01, "loss": "logit_adjusted"},
    {"activation": "leaky_relu", "normalization": "batch", "head": "max"},
    {"depth": 2},
]
assert {changes.get("normalization", "none") for changes in HEADS} == set(NORMALIZATIONS)


@pytest.mark.parametrize("changes", HEADS, ids=str)
def test_a_head_on_embeddings_learns_what_it_learns_with_the_backbone_in_each_step(make, embedded, changes) -> None:
    """To the last signal of each layer: the same network, first weights, batches and rates."""
    rows, probe = np.arange(COUNT), np.arange(0, COUNT, 3)
    shares = balance_of([8, 16], on_backbone(**changes))  # uneven, so that weights and margins matter
    told = []
    for trainer in (make(embedded=embedded, **changes), make(**changes)):
        trainer.begin(3, rows, shares)
        seen = [trainer.probe_layers(probe)]
        for epoch in range(4):
            order = np.random.default_rng(epoch).permutation(rows).reshape(-1, BATCH).astype(np.int32)
            sums = trainer.train_epoch(order, np.full(3, 0.01, np.float32), epoch, probe, gradients=True)
            seen.append(sums.probe)
        again = trainer.reestimate_batchnorm(order)
        told.append((trainer.logits(rows), np.array([*astuple(sums)[:5], again]), seen))
    (once, sums, seen), (each, other_sums, other_seen) = told
    assert once.std(0).max() > 1e-3, "the images are told apart"
    np.testing.assert_allclose(once, each, atol=2e-4)
    np.testing.assert_allclose(sums, other_sums, rtol=2e-3, atol=1e-5)
    for mine, other in zip(seen, other_seen, strict=True):
        np.testing.assert_allclose(mine.layers, other.layers, rtol=5e-3, atol=1e-5)
        np.testing.assert_allclose(mine.logits, other.logits, atol=2e-4)


@pytest.mark.parametrize(("across", "down"), [(True, False), (False, True), (True, True)])
def test_flipped_images_have_the_embeddings_of_mirror_images(make, embedded, images, across, down) -> None:
    """Shown often enough, each image comes in all its views, and in no other."""
    trainer = make(embedded=embedded, horizontal_flip=across, vertical_flip=down)
    rows = np.arange(COUNT, dtype=np.int32)
    mirrored = [images[:, :: -1 if d else 1, :: -1 if a else 1] for d in {False, down} for a in {False, across}]
    columns = embedded.columns("average")
    views = np.stack([embedded.embed(view, np.arange(COUNT), None)[:, columns] for view in mirrored])
    seen = set()
    for seed in range(40):
        (drawn,) = trainer._gathered(rows[None], np.random.default_rng(seed))
        near = np.abs(views - drawn).max(2)
        assert near.min(0).max() < 1e-4
        seen |= {(image, view) for image, view in enumerate(near.argmin(0).tolist())}
    assert len(seen) == COUNT * len(views)


def test_a_head_that_blows_up_says_so(make, embedded) -> None:
    trainer = make(embedded=embedded, optimizer="sgd", activation="relu")
    rows = np.arange(COUNT)
    trainer.begin(0, rows, balance(np.bincount(LABELS)))
    for epoch in range(3):
        sums = trainer.train_epoch(rows.reshape(-1, BATCH).astype(np.int32), np.full(3, 1e30, np.float32), epoch)
    assert not sums.finite


def test_dropout_of_a_head_depends_on_the_epoch_alone(make, embedded) -> None:
    rows = np.arange(COUNT)
    order = rows.reshape(-1, BATCH).astype(np.int32)
    found = []
    for history in ((5,), (1, 5), (5,), (6,)):
        trainer = make(embedded=embedded, dropout=0.5)
        for epoch in history:
            trainer.begin(0, rows, balance(np.bincount(LABELS)))
            trainer.train_epoch(order, np.full(3, 0.01, np.float32), epoch)
        found.append(trainer.logits(rows))
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])
    assert not np.allclose(found[0], found[3])


def test_other_images_go_through_the_backbone_too(make, embedded, images) -> None:
    engine = run(make(embedded=embedded))
    rows = np.arange(0, COUNT, 5)
    np.testing.assert_allclose(engine.logits_of(tf.constant(images), rows), engine.logits(rows), atol=1e-5)


def test_embeddings_are_made_once_for_all(images, weights, embedded, tmp_path) -> None:
    first = embedded.view(across=True, down=False)
    mirrored = embedded.embed(images[:, :, ::-1], np.arange(COUNT), None)
    np.testing.assert_allclose(first, mirrored, atol=1e-5)
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.npy")}
    assert len(kept) == 1
    again = FrozenBackbone(
        NAME, ImageFormat(image_size=SIDE, channels=3), weights, "digest", tmp_path / "images.npy", tf.constant(images)
    )
    np.testing.assert_array_equal(again.view(across=True, down=False), first)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.npy")} == kept
    other = FrozenBackbone(
        NAME, ImageFormat(image_size=SIDE, channels=3), weights, "another", tmp_path / "images.npy", tf.constant(images)
    )
    other.view(across=True, down=False)
    assert len(list(tmp_path.glob("*.npy"))) == 2, "other weights, other embeddings"


@pytest.mark.parametrize(("trainable", "learns"), [("frozen", False), ("last_block", True), ("all", True)])
def test_only_what_is_to_learn_learns(make, weights, trainable, learns) -> None:
    engine = run(make(trainable=trainable))
    found = changed(engine, weights)
    assert bool(found) is learns
    if trainable == "last_block":
        assert all("13" in name for name in found)
    if trainable == "all":
        assert "conv1" in found


def test_a_backbone_rests_for_the_first_quarter(make, weights) -> None:
    assert not changed(run(make(trainable="all"), epochs=1), weights)  # 3 of 12 updates
    assert changed(run(make(trainable="all"), epochs=2), weights)


@pytest.mark.parametrize(("rate", "learns"), [(0.0, False), (1.0, True)])
def test_it_learns_at_its_own_rate(make, weights, rate, learns) -> None:
    assert bool(changed(run(make(trainable="all", backbone_rate=rate)), weights)) is learns


def statistics(engine: Engine) -> np.ndarray:
    """All means and variances that are kept, one after the other."""
    layers = (layer for layer in core_of(engine).layers if isinstance(layer, keras.layers.BatchNormalization))
    return np.concatenate([part.numpy() for layer in layers for part in (layer.moving_mean, layer.moving_variance)])


def test_kept_statistics_stay_their_makers(make, weights) -> None:
    engine = make()
    engine.begin(0, np.arange(COUNT), balance(np.ones(2)))
    before = statistics(engine)
    np.testing.assert_array_equal(statistics(run(make(trainable="all"))), before)


def test_re_estimated_ones_are_those_of_the_training_images(make, images, weights) -> None:
    """Of the first layer they can be worked out by hand; they stay through training."""
    engine = make(statistics="re_estimated")
    rows = np.arange(0, COUNT, 3)
    engine.begin(0, rows, balance(np.ones(2)))
    core = core_of(engine)
    norm = next(layer for layer in core.layers if isinstance(layer, keras.layers.BatchNormalization))
    until = keras.Model(core.inputs[0], norm.input)
    mean = np.asarray(until(images[rows].astype(np.float32) / 127.5 - 1.0)).mean((0, 1, 2))
    np.testing.assert_allclose(norm.moving_mean.numpy(), mean, atol=1e-4)
    before = statistics(engine)
    order = rows.reshape(1, -1).astype(np.int32)
    engine.train_epoch(order, np.full(1, 0.01, np.float32), seed=0)
    np.testing.assert_array_equal(statistics(engine), before)
    assert engine.batchnorm_momentum == 0.0


def test_adapted_ones_follow_the_batches(make, weights) -> None:
    engine = make(statistics="adapted")
    assert engine.batchnorm_momentum > 0
    engine.begin(0, np.arange(COUNT), balance(np.ones(2)))
    before = statistics(engine)
    assert not np.allclose(statistics(run(engine)), before)


def check_delivery(engine: Any, images: np.ndarray, path: Path) -> None:
    """The model that is saved, loaded by plain Keras, says what the engine says."""
    fitted_model(engine).save(path)
    found = keras.saving.load_model(path, compile=False, safe_mode=True).predict(images.astype(np.float32), verbose=0)
    expected = tf.nn.softmax(engine.logits(np.arange(COUNT))).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize(
    "changes",
    [{}, {"statistics": "re_estimated"}, {"statistics": "adapted", "trainable": "last_block"}, {"trainable": "all"}],
)
def test_the_delivered_model_says_the_same(make, images, changes, tmp_path) -> None:
    check_delivery(run(make(**changes)), images, tmp_path / "model.keras")


def test_a_model_on_embeddings_is_delivered_whole(make, embedded, images, tmp_path) -> None:
    check_delivery(run(make(embedded=embedded, depth=2, normalization="batch")), images, tmp_path / "model.keras")


def check_going_on(trainer: Any, again: Any) -> None:
    """After two epochs, `again` goes on from the trainer's state as that does itself."""
    state = run(trainer, epochs=2).state()
    again.begin(3, np.arange(COUNT), balance(np.bincount(LABELS)))
    again.restore(state)
    for one in (trainer, again):
        order = np.arange(COUNT, dtype=np.int32).reshape(-1, BATCH)
        one.train_epoch(order, np.full(len(order), 0.01, np.float32), seed=9)
    np.testing.assert_array_equal(*(one.logits(np.arange(COUNT)) for one in (trainer, again)))


def test_a_fit_goes_on_where_it_was(make) -> None:
    changes = {"trainable": "last_block", "statistics": "adapted"}
    check_going_on(make(**changes), make(fresh=True, **changes))


def test_a_head_goes_on_where_it_was(make, embedded) -> None:
    changes = {"depth": 2, "normalization": "batch", "dropout": 0.3, "horizontal_flip": True}
    trainer = make(embedded=embedded, **changes)
    check_going_on(trainer, make(embedded=embedded, **changes))
    state = trainer.state()
    with pytest.raises(ValueError, match="other shapes"):
        make(embedded=embedded, depth=1).restore(state)


def test_random_weights_are_the_same_wherever_they_are_drawn() -> None:
    first, again = (backbones.first_weights(NAME, 3, None) for _ in range(2))
    assert all(np.array_equal(one, other) for one, other in zip(first, again, strict=True))
