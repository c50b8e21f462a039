"""Vision Transformers give what a forward pass in NumPy gives, are fine-tuned, and are delivered as plain Keras."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from search.data.vit_file import VitShape
from search.settings import TrainingProtocol
from search.training.backbones import build_backbone, first_weights
from search.training.embeddings import FrozenBackbone
from search.training.engine import Engine
from search.training.export import fitted_model, save_fitted
from search.training.heads.trainer import HeadTrainer
from search.training.sampling import balance
from search.training.vision_transformer import POOL, resampled
from spaces.backbones import BACKBONES, MIDDLE
from spaces.config import Configuration
from spaces.image_format import ImageFormat
from spaces.network_size import size
from tests.factories import configuration
from tests.vit_files import WIDTH, forward, put_vit, small, weights_of

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Keras' own, while it saves

NAMES = [name for name, card in BACKBONES.items() if card.is_transformer]
KINDS = ["dinov2_small", "vit_small", "siglip2_base"]  # one of each
MEANS, DEVIATIONS = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
LABELS = np.repeat([0, 1], 4)


@pytest.fixture(autouse=True)
def small_cards(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.setitem(BACKBONES, name, small(name))


def pictures(count: int, side: int, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (count, side, side, channels)).astype(np.uint8)


def fed(name: str, pixels: np.ndarray) -> np.ndarray:
    """Images as the makers preprocess them."""
    if BACKBONES[name].builder == "dinov2":
        return (pixels / 255 - MEANS) / DEVIATIONS
    return (pixels / 255 - 0.5) / 0.5


def cubic(x: float, a: float) -> float:
    x = abs(x)
    if x <= 1:
        return (a + 2) * x**3 - (a + 3) * x**2 + 1
    return a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a if x < 2 else 0.0


def weights_of_places(source: int, target: int, *, smooth: bool) -> np.ndarray:
    """`(target, source)`, place by place: Keys' kernel, stretched and cut off at the edges if `smooth`."""
    matrix = np.zeros((target, source))
    for new in range(target):
        centre = (new + 0.5) * source / target - 0.5
        for old in range(-8, source + 8):
            if smooth:
                weight = cubic((old - centre) / max(1, source / target), -0.5) if 0 <= old < source else 0.0
            else:
                weight = cubic(old - centre, -0.75)
            matrix[new, min(max(old, 0), source - 1)] += weight
    return matrix / matrix.sum(1, keepdims=True)


def positions_at(name: str, tensors: dict[str, np.ndarray], side: int) -> np.ndarray:
    """Position embeddings of the patches of images of a side; only the supervised networks smooth them."""
    shape = VitShape.of(BACKBONES[name])
    stored = next(values for key, values in tensors.items() if "pos" in key and "post" not in key)
    grid = stored.reshape(-1, WIDTH)[-(shape.grid**2) :].reshape(shape.grid, shape.grid, WIDTH).astype(np.float64)
    matrix = weights_of_places(shape.grid, side // shape.patch, smooth=shape.kind == "vit")
    return np.einsum("ri,cj,ijd->rcd", matrix, matrix, grid).reshape(-1, WIDTH)


@pytest.mark.parametrize(
    ("name", "side"),
    [("dinov2_small", 518), ("vit_small", 224), *((name, side) for name in KINDS for side in (160, 240))],
)
def test_patches_and_whole_are_those_of_another_forward_pass(name: str, side: int, tmp_path: Path) -> None:
    shape, path = VitShape.of(BACKBONES[name]), tmp_path / "some.safetensors"
    tensors = put_vit(path, shape)
    pixels = pictures(2 if side < 500 else 1, side)
    edge = side % shape.patch
    cut = pixels[:, edge // 2 : side - (edge - edge // 2), edge // 2 : side - (edge - edge // 2)]
    patches, whole = forward(tensors, shape, fed(name, cut), positions_at(name, tensors, side))
    if side // shape.patch == shape.grid:
        np.testing.assert_allclose(forward(tensors, shape, fed(name, cut))[1], whole, atol=1e-9)
    built = build_backbone(name, 3, path, side=side, with_middle=True)
    got = [np.asarray(part) for part in built(pixels.astype(np.float32))]
    assert got[1].shape == (len(pixels), 1, 1, WIDTH)
    assert whole.std() > 0.3
    assert np.abs(whole[0] - whole[-1]).max() > 0.01 or len(whole) == 1
    np.testing.assert_allclose(got[0], patches, atol=1e-4)
    np.testing.assert_allclose(got[1][:, 0, 0], whole, atol=1e-4)
    np.testing.assert_array_equal(build_backbone(name, 3, path, side=side)(pixels.astype(np.float32)), got[0])


@pytest.mark.parametrize("name", KINDS)
def test_the_number_of_weights_is_known_without_building(name: str) -> None:
    built = build_backbone(name, 3, side=160)
    assert built.count_params() == BACKBONES[name].weights_at(160)
    assert build_backbone(name, 3).count_params() == BACKBONES[name].weights
    assert size(on(name, resolution=160), 32, 3, 2) == built.count_params() + 2 * WIDTH + 2


def test_images_of_any_size_are_resized(tmp_path: Path) -> None:
    put_vit(tmp_path / "some.safetensors", VitShape.of(BACKBONES["vit_small"]))
    pixels = pictures(1, 112).astype(np.float32)
    any_size = build_backbone("vit_small", 3, tmp_path / "some.safetensors")
    fixed = build_backbone("vit_small", 3, tmp_path / "some.safetensors", side=224)
    larger = tf.image.resize(pixels, (224, 224))
    np.testing.assert_allclose(any_size(pixels), fixed(larger), atol=1e-4)
    assert any_size(pixels[:, :80]).shape == (1, 14, 14, WIDTH)


def test_images_smaller_than_a_patch_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 14 pixels a side, got 13"):
        build_backbone("dinov2_small", 3, side=13)


def test_equal_position_embeddings_stay_equal() -> None:
    for smooth in (False, True):
        for side in (3, 14, 40):
            np.testing.assert_allclose(resampled(np.ones((196, 2), np.float32), side, smooth=smooth), 1, atol=1e-6)


def on(name: str, **changes: Any) -> Configuration:
    values = {"depth": 1, "dense_ratio": 0.0, "dropout": 0.0, "batch_size": 4, "learning_rate": 0.01}
    return configuration(**{**values, "backbone": name, "head": "average", **changes})


def protocol(side: int, channels: int = 3) -> TrainingProtocol:
    return TrainingProtocol(epochs=2, images=ImageFormat(image_size=side, channels=channels), classes=2)


def trained(trainer: Any, epochs: int = 2) -> Any:
    trainer.begin(3, np.arange(8), balance(np.bincount(LABELS)))
    for epoch in range(epochs):
        trainer.train_epoch(np.arange(8, dtype=np.int32).reshape(2, 4), np.full(2, 0.01, np.float32), seed=epoch)
    return trainer


@pytest.mark.parametrize(
    ("name", "head"), [*((name, MIDDLE) for name in KINDS), ("dinov2_small", "average"), ("siglip2_base", "max")]
)
def test_heads_pool_the_patches_and_are_delivered(
    name: str, head: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STEADYNET_CACHE", str(tmp_path))
    shape, path, pixels = VitShape.of(BACKBONES[name]), tmp_path / "some.safetensors", pictures(8, 32)
    tensors = put_vit(path, shape)
    patches, whole = forward(
        tensors,
        shape,
        fed(name, pixels[:, 2:30, 2:30] if shape.patch == 14 else pixels),
        positions_at(name, tensors, 32),
    )
    means = patches.mean((1, 2))
    expected = {"average": means, "max": patches.max((1, 2)), MIDDLE: np.concatenate([means, whole], axis=1)}[head]
    weights = first_weights(name, 3, path, 32)
    frozen = FrozenBackbone(
        name, ImageFormat(image_size=32, channels=3), weights, "d", tmp_path / "images.npy", tf.constant(pixels)
    )
    (view,) = frozen.views(on(name, head=head))
    np.testing.assert_allclose(view, expected, atol=1e-4)
    trainer = trained(HeadTrainer(on(name, head=head), protocol(32), frozen, LABELS, 4))
    logits = trainer.logits(np.arange(8))
    save_fitted(trainer, tmp_path / "model.keras")
    saved = keras.saving.load_model(tmp_path / "model.keras", compile=False, safe_mode=True)
    np.testing.assert_allclose(saved.predict(pixels, verbose=0), tf.nn.softmax(logits), atol=1e-5)


def core_of(backbone: Any) -> Any:
    """The transformer inside a model from pixels to maps."""
    return next(layer for layer in backbone.layers if isinstance(layer, keras.Model))


@pytest.mark.parametrize(
    ("name", "head", "trainable"),
    [
        ("dinov2_small", "average", "last_block"),
        ("siglip2_base", "average", "all"),
        ("siglip2_base", MIDDLE, "last_block"),
    ],
)
def test_only_what_is_to_learn_learns(name: str, head: str, trainable: str, tmp_path: Path) -> None:
    path, pixels = tmp_path / "some.safetensors", pictures(8, 32)
    put_vit(path, VitShape.of(BACKBONES[name]))
    weights = first_weights(name, 3, path, 32)
    chosen = on(name, head=head, trainable=trainable, backbone_rate=1.0)
    tensors = tf.constant(pixels), tf.constant(LABELS, tf.int32)
    engine = trained(Engine(chosen, protocol(32), *tensors, 4, pretrained=weights), epochs=4)
    core = core_of(engine.network.layers[0])
    before = {layer.name: layer.get_weights() for layer in core_of(build_backbone(name, 3, path, side=32)).layers}
    for layer in core.layers:
        pairs = zip(before[layer.name], layer.get_weights(), strict=True) if layer.weights else ()
        may = trainable == "all" or layer.name.startswith(("block_1_", "norm", POOL))
        has_effect = head == MIDDLE or not layer.name.startswith(POOL)
        assert any((old != new).any() for old, new in pairs) is bool(layer.weights and may and has_effect), layer.name
    expected = tf.nn.softmax(engine.logits(np.arange(8)))
    np.testing.assert_allclose(fitted_model(engine).predict(pixels, verbose=0), expected, atol=1e-5)


def test_grey_images_and_half_precision(tmp_path: Path) -> None:
    path = tmp_path / "some.safetensors"
    put_vit(path, VitShape.of(BACKBONES["siglip2_base"]))
    grey = pictures(2, 48, channels=1).astype(np.float32)
    colour = build_backbone("siglip2_base", 3, path, side=48)(np.repeat(grey, 3, axis=3))
    np.testing.assert_allclose(build_backbone("siglip2_base", 1, path, side=48)(grey), colour, atol=1e-5)
    half = build_backbone("siglip2_base", 1, path, "mixed_bfloat16", side=48)(grey)
    assert np.abs(np.asarray(half, np.float32) - colour).mean() < 0.05


@pytest.mark.parametrize(
    ("name", "side", "images"), [("dinov2_small", 224, 64), ("dinov2_small", 518, 2), ("mobilenet_v2", 518, 64)]
)
def test_large_images_go_through_few_at_a_time(
    name: str, side: int, images: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    image_format, runs = ImageFormat(image_size=side, channels=3), []

    def run(batch: Any, across: Any, down: Any) -> Any:
        runs.append(len(batch))
        return tf.zeros((len(batch), 2 * BACKBONES[name].features + BACKBONES[name].middle_features))

    frozen = FrozenBackbone(name, image_format, [], "d", Path("images.npy"), None)
    frozen._model = run  # not built
    monkeypatch.setattr(frozen, "_run", run)
    frozen.embed(tf.zeros((66, side, side, 3), tf.uint8), np.arange(66), None)
    assert sum(runs) == 66
    assert max(runs) <= images < 2 * max(runs)


@pytest.mark.parametrize("name", KINDS)
def test_it_is_made_of_keras_layers_only(name: str) -> None:
    core = core_of(build_backbone(name, 3, side=48))
    assert {type(layer).__module__.split(".")[0] for layer in core.layers} == {"keras"}


@pytest.mark.parametrize("name", NAMES)
def test_the_numbers_on_its_card_fit_together(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    card = BACKBONES[name]
    sizes = dict(card.options)
    assert card.features == card.middle_features == sizes["width"] == 64 * sizes["heads"]
    assert card.last_block == f"block_{sizes['depth'] - 1}"
    assert card.smallest == sizes["patch"]
    assert card.weights == weights_of(card)
