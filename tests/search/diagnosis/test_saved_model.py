from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from search.diagnosis.saved_model import stored_shape
from search.errors import UserError

Save = Callable[[Any], Path]


@pytest.fixture
def save(tmp_path: Path) -> Save:
    """Writes what Keras writes beside the weights."""

    def write(configuration: Any) -> Path:
        file = tmp_path / "net.keras"
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("config.json", json.dumps(configuration))
        return file

    return write


def network(*shape: int | None) -> dict[str, Any]:
    first = {"class_name": "InputLayer", "config": {"batch_shape": [None, *shape]}}
    return {"class_name": "Functional", "config": {"layers": [first, {"class_name": "Dense", "config": {}}]}}


@pytest.mark.parametrize(
    ("configuration", "found"),
    [
        (network(32, 32, 3), (32, 3)),
        (network(3, 3, 1), (3, 1)),
        (network(None, None, 3), (None, 3)),
        (network(64, 64, None), (64, None)),
        ({"config": {}, "build_config": {"input_shape": [None, 8, 8, 1]}}, (8, 1)),
        ({"config": {"layers": "?"}, "build_config": {"input_shape": {"a": [1]}}}, (None, None)),
        ({}, (None, None)),
    ],
)
def test_side_and_channels(save: Save, configuration: Any, found: tuple[int | None, int | None]) -> None:
    assert stored_shape(save(configuration)) == found


@pytest.mark.parametrize(
    ("configuration", "message"),
    [
        (network(784), "takes input of shape 784; expected"),
        (network(32, 48, 3), "takes images of 32 x 48 pixels; expected square"),
        (network(32, 32, 4), "takes images with 4 channels; expected 1 .grey. or 3 .colour."),
        (network(4096, 4096, 3), "4096 pixels a side; expected 1 to 1024"),
        ([], "is not a model saved by Keras 3"),
    ],
)
def test_what_can_not_be_fed_with_images_is_refused(save: Save, configuration: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        stored_shape(save(configuration))


def test_another_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "net.keras").write_text("hello")
    with pytest.raises(UserError, match=r"net.keras is not a model saved by Keras 3 \(File is not a zip file\)"):
        stored_shape(tmp_path / "net.keras")
