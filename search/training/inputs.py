"""Inputs of a network: scaled pixels, augmented in training."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from search import settings
from search.arrays import FloatArray, IntArray
from search.training import pixels
from spaces.config import Configuration


class Inputs:
    """Makes the inputs of one network from the images of a study.

    Args:
        configuration: gives scaling and augmentation.
        protocol: gives the image format.
        images: `(n, side, side, channels)` uint8 tensor; a smaller image lies in the upper left corner of its square.
        shape_ids: `(n,)` index of each image's shape in the image format; None if all images are squares.

    Attributes:
        shapes: `(shapes, 2)` int32 tensor, height and width in pixels of each shape.
        shape_id_of: `shape_ids` as an int32 tensor, or None.
    """

    def __init__(
        self, configuration: Configuration, protocol: settings.TrainingProtocol, images: Any, shape_ids: IntArray | None
    ) -> None:
        image_format = protocol.images
        self.configuration = configuration
        self.images = images
        self.shape_ids = shape_ids
        self.shape_id_of = None if shape_ids is None else tf.constant(shape_ids, tf.int32)
        self.shapes = tf.constant(
            image_format.shapes or ((image_format.image_size, image_format.image_size),), tf.int32
        )
        self._is_any_size = image_format.any_size
        self._channels = image_format.channels
        self._offset = tf.Variable(tf.zeros(image_format.channels))
        self._factor = tf.Variable(tf.ones(image_format.channels))

    def begin(self, rows: IntArray) -> None:
        """Start a new fit: if the configuration standardizes pixels, measure the training images `rows` `(m,)`."""
        offset, factor = self._scale(tf.constant(rows, tf.int32))
        self._offset.assign(offset)
        self._factor.assign(factor)

    def _scale(self, rows: Any) -> tuple[Any, Any]:
        if not pixels.is_standardized(self.configuration):
            unused = tf.zeros(self._channels)
            return pixels.scaling(self.configuration, unused, unused)
        shapes = None if self.shape_id_of is None else tf.gather(self.shapes, tf.gather(self.shape_id_of, rows))
        return pixels.scaling(self.configuration, *pixels.statistics(self.images, rows, shapes))

    def scaling(self) -> tuple[FloatArray, FloatArray]:
        """Return offset and factor, each `(channels,)` float32: the network gets (pixels - offset) x factor."""
        return self._offset.numpy(), self._factor.numpy()

    def scaled(self, images: Any, rows: Any, shape: Any) -> Any:
        """Return scaled pixels `(len(rows), height, width, channels)` float32.

        Args:
            images: `(m, side, side, channels)` uint8 tensor.
            rows: `(r,)` int32 tensor, indices of the images to take.
            shape: `(2,)` int32, height and width of all of them.
        """
        values = tf.gather(images, rows)
        if self._is_any_size:
            values = values[:, : shape[0], : shape[1]]
        values = tf.cast(values, tf.float32)
        return (values - self._offset) * self._factor

    def augmented(self, rows: Any, seed: Any, shape: Any) -> Any:
        """Return scaled pixels `(len(rows), height, width, channels)` float32 with random augmentation.

        Args:
            rows: `(r,)` int32 tensor, row numbers of images of the study.
            seed: `(2,)` int32; the same seed gives the same augmentation.
            shape: `(2,)` int32, height and width of all of them.
        """
        return pixels.augment(self.scaled(self.images, rows, shape), self.configuration, seed)
