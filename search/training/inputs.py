"""What goes into a network: pixels, scaled and changed at random in training, or what a frozen backbone made of them.

Both say the same: what is shown of some images, and what is drawn of them for a step of training.
"""

from __future__ import annotations

from typing import Any, Protocol

import tensorflow as tf

from search import settings
from search.arrays import FloatArray, IntArray
from search.training import pixels
from search.training.embeddings import Stem
from spaces.backbones import POOLED
from spaces.config import Configuration


class Inputs(Protocol):
    """What an engine needs of them."""

    @property
    def images(self) -> Any:
        """Tensor, one row an image."""

    @property
    def places(self) -> IntArray | None:
        """`(n,)` of each image among the shapes; None where all have one shape."""

    @property
    def shapes(self) -> Any:
        """`(shapes, 2)` int32 tensor."""

    def begin(self, rows: IntArray) -> None:
        """A fit begins on these training images."""

    def shown(self, images: Any, rows: Any, shape: Any) -> Any:
        """Of images that all have this shape, for evaluation."""

    def drawn(self, rows: Any, seed: Any, shape: Any) -> Any:
        """Of the own images, for a step of training; the same seed `(2,)` gives the same."""

    def others(self, images: Any, rows: IntArray, places: IntArray | None) -> tuple[Any, IntArray, IntArray | None]:
        """Any other images in the form of the own ones: tensor, rows and places."""


class Pixels:
    """The images themselves; of every size, in the upper left corners of squares."""

    def __init__(
        self, configuration: Configuration, protocol: settings.Protocol, images: Any, places: IntArray | None
    ) -> None:
        self.configuration = configuration
        self.images = images
        self.places = places
        self.shapes = tf.constant(protocol.shapes or ((protocol.image_size, protocol.image_size),), tf.int32)
        self._are_of_every_size = bool(protocol.shapes)
        self._channels = protocol.channels
        self._offset = tf.Variable(tf.zeros(protocol.channels))
        self._factor = tf.Variable(tf.ones(protocol.channels))

    def begin(self, rows: IntArray) -> None:
        """Scale by the statistics of these images from now on, if the configuration says so."""
        offset, factor = self._scale(tf.constant(rows, tf.int32))
        self._offset.assign(offset)
        self._factor.assign(factor)

    def _scale(self, rows: Any) -> tuple[Any, Any]:
        if not pixels.is_standardized(self.configuration):
            some = tf.zeros(self._channels)
            return pixels.scaling(self.configuration, some, some)
        shapes = None if self.places is None else tf.gather(self.shapes, tf.gather(self.places, rows))
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

    def others(self, images: Any, rows: IntArray, places: IntArray | None) -> tuple[Any, IntArray, IntArray | None]:
        """They are."""
        return images, rows, places


class Embeddings:
    """What the frozen backbone gave for each image and for its mirror images."""

    places: IntArray | None = None

    def __init__(self, configuration: Configuration, stem: Stem) -> None:
        self._stem = stem
        self._configuration = configuration
        self._head = POOLED.index(configuration.head)
        flips = (False, True)
        across, down = flips[: 1 + configuration.horizontal_flip], flips[: 1 + configuration.vertical_flip]
        self._views = [stem.view(across=a, down=d) for d in down for a in across]
        self._across = len(across)
        self.images = self._views[0]
        self.shapes = tf.zeros((1, 2), tf.int32)

    def begin(self, rows: IntArray) -> None:
        """Nothing depends on the fold."""

    def shown(self, images: Any, rows: Any, shape: Any) -> Any:
        """The pooled features `(rows, features)`."""
        return tf.gather(images, rows)[:, self._head]

    def drawn(self, rows: Any, seed: Any, shape: Any) -> Any:
        """Those of the images flipped as `augment` would flip them."""
        if len(self._views) == 1:
            return self.shown(self.images, rows, shape)
        across, down = pixels.flips(tf.shape(rows)[0], self._configuration, seed)
        place = tf.cast(across, tf.int32) + self._across * tf.cast(down, tf.int32)
        views = tf.stack([self.shown(view, rows, shape) for view in self._views], axis=1)
        return tf.gather(views, place, batch_dims=1)

    def others(self, images: Any, rows: IntArray, places: IntArray | None) -> tuple[Any, IntArray, IntArray | None]:
        """Run through the backbone."""
        features = self._stem.embed(images, rows, places)
        return tf.constant(features), tf.range(len(rows)).numpy(), None
