"""The one room whose tests load TensorFlow: once, set up as a worker sets it up."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from search.settings import TrainingProtocol
from search.training import device
from search.training.engine import Engine
from spaces.config import Configuration
from spaces.image_format import ImageFormat
from tests.factories import configuration

MakeConfiguration = Callable[..., Configuration]
MakeEngine = Callable[..., Engine]

SIDE, CHANNELS, CLASSES = 8, 3, 3

device.set_up(threads=None, gpu=None)  # before anything runs: results repeat bit by bit
device.adapt(SIDE)


@pytest.fixture(scope="session")
def make_configuration() -> MakeConfiguration:
    """One convolution, one dense layer, batches of eight."""

    def make(**changes: Any) -> Configuration:
        values: dict[str, Any] = {
            "depth": 2,
            "dense_ratio": 0.5,
            "dropout": 0.0,
            "batch_size": 8,
            "learning_rate": 0.01,
            "width": 4,
            "dense_units": 6,
            "head": "average",
        }
        return configuration(**{**values, **changes})

    return make


@pytest.fixture(scope="session")
def labels() -> np.ndarray:
    """Sixty images: 30, 20 and 10 of three classes, by class."""
    return np.repeat([0, 1, 2], [30, 20, 10])


@pytest.fixture(scope="session")
def images(labels: np.ndarray) -> np.ndarray:
    """`(60, 8, 8, 3)` uint8: noise, brighter in the channel of the class."""
    pixels = np.random.default_rng(0).integers(0, 150, (len(labels), SIDE, SIDE, CHANNELS))
    pixels[np.arange(len(labels)), :, :, labels] += 80
    return pixels.astype(np.uint8)


@pytest.fixture(scope="session")
def make_engine(make_configuration: MakeConfiguration, images: np.ndarray, labels: np.ndarray) -> MakeEngine:
    """An engine on these images for a configuration with some changes."""
    pixels, classes = device.tensor(images), device.tensor(labels.astype(np.int32))

    def make(epochs: int = 4, updates: int = 100, microbatches: int = 1, **changes: Any) -> Engine:
        protocol = TrainingProtocol(
            epochs=epochs, images=ImageFormat(image_size=SIDE, channels=CHANNELS), classes=CLASSES
        )
        return Engine(make_configuration(**changes), protocol, pixels, classes, updates, microbatches)

    return make
