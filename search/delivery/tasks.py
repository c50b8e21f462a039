"""What the delivery has done where Keras is: each runs in the worker."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from search.arrays import FloatArray, IntArray
from search.workers.protocol import WorkerTask
from spaces.image_format import ImageFormat


@dataclass(frozen=True, slots=True)
class KeepNetwork(WorkerTask):
    """Save the last fit's network as a model of its own."""

    path: Path  # .keras

    def run(self, engine: Any) -> None:
        """Saves it."""
        from search.training.export import save_fitted

        save_fitted(engine, self.path)


@dataclass(frozen=True, slots=True)
class BuildModel(WorkerTask):
    """Make the delivered model of the kept ones."""

    members: tuple[Path, ...]
    offset: tuple[float, ...]  # (K,) of the decision
    target: Path  # .keras

    def run(self, engine: Any) -> int:
        """Number of its weights."""
        from search.training.export import deliver

        return deliver(self.members, self.offset, self.target)


@dataclass(frozen=True, slots=True)
class ReadShapes(WorkerTask):
    """What goes into a saved model and what comes out, without the batch."""

    model: Path

    def run(self, engine: Any) -> tuple[tuple[int | None, ...], tuple[int | None, ...]]:
        """The two shapes."""
        from search.training.export import shapes

        return shapes(self.model)


@dataclass(frozen=True, slots=True)
class PredictImages(WorkerTask):
    """What a saved model says of some images."""

    model: Path
    pixels: npt.NDArray[np.uint8]  # (n, side, side, channels)
    image_format: ImageFormat
    shape_ids: IntArray  # (n,) index of each image's shape; of no meaning where all are squares

    def run(self, engine: Any) -> FloatArray:
        """Probabilities `(n, K)` float32."""
        from search.training.export import probabilities

        if not self.image_format.any_size:
            return probabilities(self.model, self.pixels)
        order, said = [], []
        for shape_id in np.unique(self.shape_ids):
            at, (height, width) = np.flatnonzero(self.shape_ids == shape_id), self.image_format.shapes[shape_id]
            order.append(at)
            said.append(probabilities(self.model, self.pixels[at, :height, :width]))
        return np.asarray(np.concatenate(said)[np.argsort(np.concatenate(order))], np.float32)
