"""The training protocol as it is stored: part of the key of every fit that was ever trained."""

from __future__ import annotations

import json

import pytest

from search.records import FitKey
from search.settings import TrainingProtocol
from spaces.image_format import ImageFormat

SHAPES = ((16, 32), (32, 32))


def protocol(shapes: tuple[tuple[int, int], ...] = (), white: float | None = None) -> TrainingProtocol:
    return TrainingProtocol(
        epochs=30,
        images=ImageFormat(image_size=32, channels=3, shapes=shapes, white=white),
        classes=4,
        precision="mixed_bfloat16",
        weights=(("mobilenet", "abc"),),
    )


@pytest.mark.parametrize(("shapes", "key"), [((), "fd87b6a90b3f4b4e"), (SHAPES, "f40d4e90ca21e4cc")])
def test_keys_of_stored_fits_stay(shapes: tuple[tuple[int, int], ...], key: str) -> None:
    """With another key the fits of today's run folders would be trained again."""
    made = FitKey(
        configuration="c0ffee",
        split="search",
        repeat=0,
        fold=2,
        seed=7,
        fingerprint="f00d",
        protocol=protocol(shapes),
    )
    assert made.text == key


@pytest.mark.parametrize("shapes", [(), SHAPES])
def test_a_protocol_comes_back_from_json_as_it_was(shapes: tuple[tuple[int, int], ...]) -> None:
    stored = json.loads(json.dumps(protocol(shapes).as_stored()))
    assert TrainingProtocol.from_stored(stored) == protocol(shapes)
    assert list(stored) == ["epochs", "image_size", "channels", "classes", "precision", "shapes", "weights", "engine"]


def test_a_protocol_of_a_study_before_there_were_shapes_and_weights_is_read() -> None:
    stored = {"epochs": 3, "image_size": 8, "channels": 1, "classes": 2, "precision": "float32", "engine": 1}
    images = ImageFormat(image_size=8, channels=1)
    assert TrainingProtocol.from_stored(stored) == TrainingProtocol(epochs=3, images=images, classes=2)


def test_what_is_white_is_no_part_of_the_protocol() -> None:
    """It is part of the images' fingerprint; fits see decoded images only."""
    assert protocol(white=4095.0) == protocol()
