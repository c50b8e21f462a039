"""What every backbone has to hold."""

from __future__ import annotations

import sys

import keras
import numpy as np
import pytest

from search.data.weight_download import ORIGIN
from search.training.backbones import build_backbone, last_block
from spaces.backbones import BACKBONES

KERAS = [name for name, known in BACKBONES.items() if known.family == "keras.applications"]
LITE = [name for name, known in BACKBONES.items() if known.family == "efficientnet_lite"]
CONVOLUTIONAL = [*KERAS, *LITE]  # the others: test_vision_transformer.py


@pytest.mark.parametrize("name", CONVOLUTIONAL)
def test_it_is_what_its_card_says(name: str) -> None:
    known = BACKBONES[name]
    built = build_backbone(name, 3, None)
    core = built.layers[-1]
    assert built.output_shape[-1] == known.features
    assert core.count_params() == known.weights
    found = last_block(core, known)
    assert 0 < len(found) < len(core.layers) / 2
    assert core.layers[-1] in found
    has = any(isinstance(layer, keras.layers.BatchNormalization) for layer in core.layers)
    assert has is known.batchnorm
    inside = any(isinstance(layer, keras.layers.Rescaling | keras.layers.Normalization) for layer in core.layers)
    assert inside is (known.feeding == "inside")
    assert not any(layer.rate for layer in core.layers if isinstance(layer, keras.layers.Dropout))
    least = max(8, known.smallest)  # of 8 pixels a side are the smallest images that are searched
    assert np.isfinite(built(np.zeros((1, least, least, 3), np.float32))).all()
    assert built.compute_output_shape((1, least, least, 3)) == (1, 1, 1, known.features)
    if known.smallest > 8:  # asked for its shape only: what is computed of no pixels is another thing on each processor
        with pytest.raises(ValueError, match="zero or negative"):
            built.compute_output_shape((1, least - 8, least - 8, 3))


class Asked(Exception):
    """The address and the digest of a file that Keras would fetch."""


@pytest.mark.parametrize("name", KERAS)
def test_the_file_of_its_card_is_the_one_that_keras_fetches(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def ask(file: str, address: str, file_hash: str = "", **_: object) -> None:
        raise Asked(file, address, file_hash)

    card = BACKBONES[name]
    monkeypatch.setattr("keras.src.utils.file_utils.get_file", ask)
    with pytest.raises(Asked) as caught:
        getattr(keras.applications, card.builder)(include_top=False, input_shape=(224, 224, 3), **dict(card.options))
    file, address, digest = caught.value.args
    assert (file, address) == (card.file, f"{ORIGIN}/{card.place}/{card.file}")
    assert digest in ("", card.digest)


@pytest.mark.parametrize("name", KERAS)
def test_it_is_fed_as_its_makers_feed_it(name: str) -> None:
    known = BACKBONES[name]
    pixels = np.random.default_rng(0).integers(0, 256, (2, 64, 48, 3)).astype(np.float32)
    built = build_backbone(name, 3, None)
    module = sys.modules[getattr(keras.applications, known.builder).__module__]
    theirs = built.layers[-1](module.preprocess_input(pixels.copy()))
    np.testing.assert_allclose(built(pixels), theirs, atol=1e-4)


@pytest.mark.parametrize("name", LITE)
def test_pixels_of_lite_networks_are_scaled_around_127(name: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (2, 64, 48, 3)).astype(np.float32)
    built = build_backbone(name, 3, None)
    np.testing.assert_allclose(built(pixels), built.layers[-1]((pixels - 127) / 128), atol=1e-4)


@pytest.mark.parametrize("name", [name for name in CONVOLUTIONAL if BACKBONES[name].middle])
def test_the_middle_map_has_a_sixteenth_of_the_sides(name: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (2, 64, 96, 3)).astype(np.float32)
    keras.utils.set_random_seed(0)
    plain = build_backbone(name, 3)
    both = build_backbone(name, 3, with_middle=True)
    both.set_weights(plain.get_weights())
    last, middle = both(pixels)
    np.testing.assert_allclose(last, plain(pixels), atol=1e-5)
    assert middle.shape == (2, 4, 6, BACKBONES[name].middle_features)
    core = plain.layers[-1]
    known = keras.Model(core.input, core.get_layer(BACKBONES[name].middle).output)
    shown = keras.Model(plain.input, plain.layers[-2].output)(pixels)
    np.testing.assert_allclose(middle, known(shown), atol=1e-5)


def test_a_middle_map_that_no_card_names_is_refused() -> None:
    with pytest.raises(ValueError, match="got mobilenet_025"):
        build_backbone("mobilenet_025", 3, with_middle=True)


def test_grey_images_are_shown_as_colour() -> None:
    grey = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 1)).astype(np.float32)
    built = build_backbone("mobilenet_025", 1, None)
    colour = keras.applications.mobilenet.preprocess_input(np.repeat(grey, 3, axis=3))
    np.testing.assert_allclose(built(grey), built.layers[-1](colour), atol=1e-4)
