"""Export of fitted networks as one Keras model from pixel values 0..255 to probabilities.

The scaling of pixels and the softmax become layers of the model. It needs Keras only, and is float32 throughout,
whatever the dtype in training was.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, Protocol

import keras
import numpy as np
import numpy.typing as npt

from search import settings
from search.arrays import FloatArray
from search.training.network import OUTPUT, build_network
from spaces.backbones import NO_BACKBONE
from spaces.config import Configuration

IMAGE: Final = "image"
PROBABILITIES: Final = "probabilities"
_CHUNK: Final = 64  # images of a forward pass
_CHUNK_SIDE: Final = 224  # pixels; of larger images fewer go through at a time


class Fitted(Protocol):
    """Trainer whose network has been fitted: an `Engine`, or a `HeadTrainer`."""

    configuration: Configuration
    protocol: settings.TrainingProtocol
    network: keras.Sequential

    @property
    def weights(self) -> list[npt.NDArray[Any]]:
        """Weights in the order of `build_network`, including a backbone's."""

    def scaling(self) -> tuple[FloatArray, FloatArray]:
        """Return offset and factor `(channels,)`: the network gets (pixels - offset) x factor."""


def fitted_model(fitted: Fitted, name: str = "steadynet") -> keras.Sequential:
    """Return the fitted network with pixel scaling in front and a softmax behind.

    Args:
        fitted: trainer of the network.
        name: name of the Keras model.

    Returns:
        Keras model: `(batch, side, side, channels)` float32, 0..255 -> `(batch, K)` float32 probabilities. If the study
        has images of several sizes, it takes any height and width.
    """
    protocol = fitted.protocol
    network = build_network(  # a second time: the fitted one may compute in bfloat16
        fitted.configuration,
        protocol.images.image_size,
        protocol.images.channels,
        protocol.classes,
        updates=1,
        any_size=protocol.images.any_size,
        delivered=True,
    )
    network.set_weights(fitted.weights)
    for fresh, layer in zip(reversed(network.layers), reversed(fitted.network.layers), strict=False):
        if hasattr(layer, "momentum"):
            fresh.momentum = layer.momentum
    offset, factor = fitted.scaling()
    side = None if protocol.images.any_size else protocol.images.image_size
    layers: list[Any] = [keras.Input((side, side, protocol.images.channels), name=IMAGE)]
    if offset.any():  # two layers where one would do, to equal training to the last bit
        layers.append(keras.layers.Rescaling(1.0, offset=(-offset).tolist(), name="centring", dtype="float32"))
    if fitted.configuration.backbone == NO_BACKBONE:
        layers.append(keras.layers.Rescaling(factor.tolist(), name="scaling", dtype="float32"))
    layers += network.layers
    layers.append(keras.layers.Softmax(name=PROBABILITIES, dtype="float32"))
    return keras.Sequential(layers, name=name)


def save_fitted(fitted: Fitted, path: Path) -> None:
    """Save `fitted_model(fitted)` to `path`, which must end in `.keras`."""
    fitted_model(fitted).save(path)


def deliver(members: Sequence[Path], offset: Sequence[float], target: Path) -> int:
    """Save the delivered model: one fitted model, or the average of the probabilities of several.

    The decision offset is added to the last bias of a single model, or to the log of the average probabilities.

    Args:
        members: at least one file from `save_fitted`.
        offset: `(K,)` decision offset in nats; all 0 for none.
        target: `.keras` file to write.

    Returns:
        Number of weights of the model.
    """
    models = [keras.saving.load_model(path, compile=False) for path in members]
    if len(models) == 1:
        (model,) = models
        bias = model.get_layer(OUTPUT).bias
        bias.assign(bias + np.asarray(offset, np.float32))
    else:
        model = _mean(models, offset)
    model.save(target)
    return int(model.count_params())


def _mean(models: Sequence[Any], offset: Sequence[float]) -> keras.Model:
    image = keras.Input(models[0].input_shape[1:], name=IMAGE)
    outputs = []
    for number, model in enumerate(models, start=1):
        model.name = f"member_{number}"
        outputs.append(model(image))
    if not any(offset):
        return keras.Model(image, keras.layers.Average(name=PROBABILITIES)(outputs), name="steadynet")
    mean = keras.layers.Average(name="mean")(outputs)
    # softmax(log p + offset) without a logarithm of 0: every class times exp(offset), over their sum.
    weighted = keras.layers.Rescaling(np.exp(np.asarray(offset) - max(offset)).tolist(), name="decision_offset")(mean)
    return keras.Model(image, weighted / keras.ops.sum(weighted, axis=-1, keepdims=True), name="steadynet")


@lru_cache(maxsize=1)
def _loaded(path: Path) -> Any:
    return keras.saving.load_model(path, compile=False, safe_mode=True)


def shapes(path: Path) -> tuple[tuple[int | None, ...], tuple[int | None, ...]]:
    """Return the input shape (height, width, channels) and output shape (K,) of a saved model; None: any size."""
    model = _loaded(path)
    return tuple(model.input_shape[1:]), tuple(model.output_shape[1:])


def probabilities(path: Path, pixels: npt.NDArray[np.uint8]) -> FloatArray:
    """Return a saved model's probabilities of images. The model stays loaded for the next call.

    Args:
        path: `.keras` file.
        pixels: `(n, side, side, channels)` uint8, n at least 1.

    Returns:
        `(n, K)` float32.
    """
    model = _loaded(path)
    count = max(1, min(_CHUNK, _CHUNK * _CHUNK_SIDE**2 // pixels.shape[1] ** 2))
    chunks = [
        np.asarray(model.predict_on_batch(pixels[start : start + count].astype(np.float32)))
        for start in range(0, len(pixels), count)
    ]
    return np.concatenate(chunks)
