"""From fitted networks to the model that is delivered: plain Keras layers, images of 0..255 in, probabilities out.

What the engine does around a network becomes layers of the model: scaling in front, the softmax behind. The result
needs none of our packages and is float32 throughout, whatever it was trained in.
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
_MOST_AT_ONCE: Final = 64  # images of a forward pass


class Fitted(Protocol):
    """What is needed of that which trained a network: `Engine`, or `HeadTrainer` for one on embeddings."""

    configuration: Configuration
    protocol: settings.TrainingProtocol
    network: keras.Sequential

    @property
    def weights(self) -> list[npt.NDArray[Any]]:
        """In the order of `build_network`, a backbone's included."""

    def scaling(self) -> tuple[FloatArray, FloatArray]:
        """Offset and factor `(channels,)`: the network sees (pixels - offset) x factor."""


def fitted_model(fitted: Fitted, name: str = "steadynet") -> keras.Sequential:
    """The fitted network as it stands, with the scaling of its training images and a softmax.

    Returns:
        `(batch, side, side, channels)` float32, 0..255 -> `(batch, K)` float32 probabilities. Of a network for images
        of every size any height and width will do.
    """
    protocol = fitted.protocol
    network = build_network(  # anew: the fitted one may compute in bfloat16
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
    if offset.any():  # two layers where one would do: the same operations as in training, to the last bit
        layers.append(keras.layers.Rescaling(1.0, offset=(-offset).tolist(), name="centring", dtype="float32"))
    if fitted.configuration.backbone == NO_BACKBONE:
        layers.append(keras.layers.Rescaling(factor.tolist(), name="scaling", dtype="float32"))
    layers += network.layers
    layers.append(keras.layers.Softmax(name=PROBABILITIES, dtype="float32"))
    return keras.Sequential(layers, name=name)


def save_fitted(fitted: Fitted, path: Path) -> None:
    """Save `fitted_model` as a `.keras` file."""
    fitted_model(fitted).save(path)


def deliver(members: Sequence[Path], offset: Sequence[float], target: Path) -> int:
    """Save the model that is delivered: one fitted model, or the mean of several models' probabilities.

    The decision offset is added to the logits: to the last bias of a single model, to the log of the mean
    probabilities of several.

    Args:
        members: files of `save_fitted`.
        offset: (K,) nats; all 0 for none.
        target: `.keras` file to write.

    Returns:
        Number of its weights.
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
    raised = keras.layers.Rescaling(np.exp(np.asarray(offset) - max(offset)).tolist(), name="decision_offset")(mean)
    return keras.Model(image, raised / keras.ops.sum(raised, axis=-1, keepdims=True), name="steadynet")


@lru_cache(maxsize=1)
def _loaded(path: Path) -> Any:
    return keras.saving.load_model(path, compile=False, safe_mode=True)


def shapes(path: Path) -> tuple[tuple[int | None, ...], tuple[int | None, ...]]:
    """Of what goes into a saved model and comes out of it, without the batch."""
    model = _loaded(path)
    return tuple(model.input_shape[1:]), tuple(model.output_shape[1:])


def probabilities(path: Path, pixels: npt.NDArray[np.uint8]) -> FloatArray:
    """What the saved model says of images `(n, side, side, channels)`: `(n, K)` float32. The file stays loaded."""
    model = _loaded(path)
    parts = [
        np.asarray(model.predict_on_batch(pixels[start : start + _MOST_AT_ONCE].astype(np.float32)))
        for start in range(0, len(pixels), _MOST_AT_ONCE)
    ]
    return np.concatenate(parts)
