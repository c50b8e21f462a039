"""Tasks that need Keras and therefore run in a worker: saving, building and applying models."""

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
class SaveNetwork(WorkerTask):
    """Save the network of the worker's last fit as a Keras model."""

    path: Path  # .keras file to write

    def run(self, engine: Any) -> None:
        """Write the file."""
        from search.training.export import save_fitted

        save_fitted(engine, self.path)


@dataclass(frozen=True, slots=True)
class BuildModel(WorkerTask):
    """Build the delivered model from saved networks."""

    members: tuple[Path, ...]  # .keras files of the networks
    offset: tuple[float, ...]  # (K,) decision offset
    target: Path  # .keras file to write

    def run(self, engine: Any) -> int:
        """Write the model, and return the number of its weights."""
        from search.training.export import deliver

        return deliver(self.members, self.offset, self.target)


@dataclass(frozen=True, slots=True)
class ReadShapes(WorkerTask):
    """Read the shapes of a saved model's input and output, without the batch."""

    model: Path

    def run(self, engine: Any) -> tuple[tuple[int | None, ...], tuple[int | None, ...]]:
        """Return the shapes of an input and an output, without the batch axis; None for sides of any length."""
        from search.training.export import shapes

        return shapes(self.model)


@dataclass(frozen=True, slots=True)
class PredictImages(WorkerTask):
    """Predict images with a saved model."""

    model: Path  # .keras file
    pixels: npt.NDArray[np.uint8]  # (n, side, side, channels)
    image_format: ImageFormat
    shape_ids: IntArray  # (n,) index into `image_format.shapes` for each image; ignored if all are squares

    def run(self, engine: Any) -> FloatArray:
        """Return the probabilities of the classes `(n, K)` float32, with the decision offset."""
        from search.training.export import probabilities

        if not self.image_format.any_size:
            return probabilities(self.model, self.pixels)
        rows_of_shapes, parts = [], []
        for shape_id in np.unique(self.shape_ids):
            rows, (height, width) = np.flatnonzero(self.shape_ids == shape_id), self.image_format.shapes[shape_id]
            rows_of_shapes.append(rows)
            parts.append(probabilities(self.model, self.pixels[rows, :height, :width]))
        return np.asarray(np.concatenate(parts)[np.argsort(np.concatenate(rows_of_shapes))], np.float32)
