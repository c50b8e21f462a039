"""From the user's `net.py:build` or `.keras` file to a case that can be built again and again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from search.errors import UserCodeError


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """A user's network and how it is trained."""

    model: str  # as given
    build: Callable[[], Any]  # a new compiled Keras model; weights drawn from Keras' global seed
    labels: str  # "int", "onehot" or "binary"
    batch_size: int = 32
    epochs: int = 10
    class_weight: Mapping[int, float] | None = None
    preprocess: Callable[[Any], Any] | None = None  # a batch of float32 images -> a batch of images
    augment: Callable[[Any, Any], Any] | None = None  # a batch of images and labels -> the same


def load_case(model: str, input_shape: tuple[int, int, int], classes: int) -> Case:
    """Read the user's file and build the network once.

    Raises:
        UserCodeError: the fault is in the user's file; with the last lines of its traceback.
    """
    raise UserCodeError(f"{model} can't be loaded yet.")
