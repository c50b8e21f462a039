"""Reader of the input shape in a `.keras` file, without TensorFlow and without running anything."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any, Final

from search.errors import UserError

SIDES: Final = (1, 1024)


def stored_shape(file: Path) -> tuple[int | None, int | None]:
    """Return the side in pixels and the channels of the images that a saved network takes; None: any.

    Args:
        file: a `.keras` file.

    Raises:
        UserError: the file is not a Keras model, or takes anything but square images with 1 or 3 channels.
    """
    shape = _batch_shape(_configuration(file))
    if shape is None:
        return None, None
    if len(shape) != 4:
        raise UserError(f"{file} takes input of shape {_text(shape)}; expected (height, width, channels) of images.")
    height, width, channels = shape[1:]
    if channels not in (None, 1, 3):
        raise UserError(
            f"{file} takes images with {channels} channels; expected 1 (grey) or 3 (colour). Pass a model with such an "
            "input."
        )
    if height != width:
        raise UserError(
            f"{file} takes images of {_text(shape[:3])} pixels; expected square images. "
            "Pass a net.py:build, which gets a square input_shape."
        )
    if height is not None and not SIDES[0] <= height <= SIDES[1]:
        raise UserError(f"{file} takes images of {height} pixels a side; expected {SIDES[0]} to {SIDES[1]}.")
    return height, channels


def _configuration(file: Path) -> dict[str, Any]:
    try:
        with zipfile.ZipFile(file) as archive:
            configuration = json.loads(archive.read("config.json"))
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise UserError(
            f"{file} is not a model saved by Keras 3 ({error}). Save it with model.save('net.keras')."
        ) from None
    if not isinstance(configuration, dict):
        raise UserError(f"{file} is not a model saved by Keras 3. Save it with model.save('net.keras').")
    return configuration


def _batch_shape(configuration: dict[str, Any]) -> tuple[int | None, ...] | None:
    """Shape of the first input, batch first; None where the file does not say."""
    network = configuration.get("config")
    layers = network.get("layers") if isinstance(network, dict) else None
    for layer in layers if isinstance(layers, list) else ():
        if isinstance(layer, dict) and layer.get("class_name") == "InputLayer":
            return _shape(layer.get("config", {}).get("batch_shape"))
    built = configuration.get("build_config")
    return _shape(built.get("input_shape")) if isinstance(built, dict) else None


def _shape(value: object) -> tuple[int | None, ...] | None:
    if isinstance(value, list) and all(size is None or isinstance(size, int) for size in value):
        return tuple(value)
    return None


def _text(shape: tuple[int | None, ...]) -> str:
    return " x ".join("any" if size is None else str(size) for size in shape[1:])
