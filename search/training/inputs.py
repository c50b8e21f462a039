"""What goes into a network: pixels, scaled, and in training changed at random."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from search import settings
from search.arrays import FloatArray, IntArray
from search.training import pixels
from spaces.config import Configuration


class Inputs:
    """The images themselves; of every size, in the upper left corners of squares."""

    def __init__(
        self, configuration: Configuration, protocol: settings.TrainingProtocol, images: Any, shape_ids: IntArray | None
    ) -> None:
        format = protocol.images
        self.configuration = configuration
        self.images = images
        self.shape_ids = shape_ids
        self.shape_id_of = None if shape_ids is None else tf.constant(shape_ids, tf.int32)
        self.shapes = tf.constant(format.shapes or ((format.image_size, format.image_size),), tf.int32)
        self._are_of_every_size = format.any_size
        self._channels = format.channels
        self._offset = tf.Variable(tf.zeros(format.channels))
        self._factor = tf.Variable(tf.ones(format.channels))

    def begin(self, rows: IntArray) -> None:
        """Scale by the statistics of these images from now on, if the configuration says so."""
        offset, factor = self._scale(tf.constant(rows, tf.int32))
        self._offset.assign(offset)
        self._factor.assign(factor)

    def _scale(self, rows: Any) -> tuple[Any, Any]:
        if not pixels.is_standardized(self.configuration):
            some = tf.zeros(self._channels)
            return pixels.scaling(self.configuration, some, some)
        shapes = None if self.shape_id_of is None else tf.gather(self.shapes, tf.gather(self.shape_id_of, rows))
        return pixels.scaling(self.configuration, *pixels.statistics(self.images, rows, shapes))

    def scaling(self) -> tuple[FloatArray, FloatArray]:
        """Offset and factor `(channels,)`: the network sees (pixels - offset) x factor."""
        return self._offset.numpy(), self._factor.numpy()

    def shown(self, images: Any, rows: Any, shape: Any) -> Any:
        """Scaled."""
        values = tf.gather(images, rows)
        if self._are_of_every_size:
            values = values[:, : shape[0], : shape[1]]
        values = tf.cast(values, tf.float32)
        return (values - self._offset) * self._factor

    def drawn(self, rows: Any, seed: Any, shape: Any) -> Any:
        """Scaled, then flipped, shifted, zoomed, sheared and turned."""
        return pixels.augment(self.shown(self.images, rows, shape), self.configuration, seed)
