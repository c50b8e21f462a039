"""Configurations, labels and tasks without Keras."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from search.training.job import FitJob
from spaces.config import Configuration
from tests.factories import configuration, fit_job

MakeConfiguration = Callable[..., Configuration]


@pytest.fixture
def make_configuration() -> MakeConfiguration:
    """A small dense network, batches of four."""

    def make(**changes: Any) -> Configuration:
        values = {"depth": 1, "dense_ratio": 1.0, "dropout": 0.0, "batch_size": 4, "learning_rate": 0.01}
        return configuration(**{**values, **changes})

    return make


@pytest.fixture
def labels() -> np.ndarray:
    """Eighty images: 48 of class 0, 24 of class 1, 8 of class 2; by class."""
    return np.repeat([0, 1, 2], [48, 24, 8])


@pytest.fixture
def make_job(labels: np.ndarray) -> Callable[..., FitJob]:
    """Every fourth image is for validation, a dozen epochs."""

    def make(**changes: Any) -> FitJob:
        rows = np.arange(len(labels))
        values = {"train": rows[rows % 4 > 0], "val": rows[::4], "seed": 7, "epochs": 12}
        return fit_job(**{**values, **changes})

    return make
