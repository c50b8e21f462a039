"""Embeddings of images by a frozen backbone, computed once per image and stored in the disk cache."""

from __future__ import annotations

import hashlib
import logging
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import astuple
from pathlib import Path
from typing import Any, Final

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from search.arrays import FloatArray, IntArray
from search.data import disk_cache
from search.data.block_file import BlockFile
from search.errors import DataError
from search.training.backbones import build_backbone
from spaces.backbones import ANY_SIDE, BACKBONES
from spaces.config import Configuration
from spaces.image_format import ImageFormat

_log = logging.getLogger(__name__)

_CHUNK: Final = 64  # images of a forward pass, mostly
_RECENT_BYTES: Final = 128 << 20  # embeddings kept in memory for `embed_again`
_RECIPE: Final = 2  # version of the embeddings: raised when the same backbone would give others


class FrozenBackbone:
    """A backbone that is not trained, and its embeddings of the study's images.

    Args:
        name: name of the backbone in `BACKBONES`.
        image_format: format of the images.
        weights: the backbone's weights, from `first_weights`.
        digest: digest of the weights.
        source: file of the images; its name is a digest of their contents.
        images: `(n, side, side, channels)` uint8 tensor.
        shape_ids: `(n,)` index of each image's shape in `image_format`; None if all images are squares.
        on_batch: called after each batch of 64 images; may raise to end the computation.
    """

    def __init__(
        self,
        name: str,
        image_format: ImageFormat,
        weights: Sequence[npt.NDArray[Any]],
        digest: str,
        source: Path,
        images: Any,
        shape_ids: IntArray | None = None,
        on_batch: Callable[[], None] = lambda: None,
    ) -> None:
        self.name = name
        self.weights = weights
        self._format = image_format
        self._model: Any = None  # built when it is first needed: mostly all embeddings are in the cache
        self._recent: OrderedDict[bytes, FloatArray] = OrderedDict()
        self._digest, self._source = digest, source
        self._images, self._shape_ids = images, shape_ids
        self._on_batch = on_batch
        self._views: dict[tuple[bool, bool], FloatArray] = {}
        self._most_images = _images_of_a_pass(name, ANY_SIDE if image_format.any_size else image_format.image_size)
        self._numbers = 2 * BACKBONES[name].features + (BACKBONES[name].middle_features or 0)

    def view(self, *, across: bool, down: bool) -> FloatArray:
        """Return the embeddings of all images of the study, computing them if they are not in the disk cache.

        They are kept in memory only where the cache can't be written.

        Args:
            across: mirror the images left to right.
            down: mirror the images top to bottom.

        Returns:
            `(n, numbers)` float32, of which `columns` says what they are.
        """
        if (across, down) not in self._views:
            file = self._file(across, down)
            try:
                for block in file.missing():
                    self._write(file, block, across, down)
                self._views[across, down] = np.asarray(file.array())  # plain: rows of a memmap are slow to take
            except DataError as error:  # a full or read-only disk
                _log.warning("The embeddings of %s are kept in memory only: %s", self.name, error)
                rows = np.arange(self._images.shape[0])
                self._views[across, down] = self.embed(self._images, rows, self._shape_ids, across=across, down=down)
        return self._views[across, down]

    @property
    def blocks(self) -> int:
        """Number of blocks into which the images are divided, so that several processes can embed them."""
        return self._file(across=False, down=False).blocks

    def store(self, block: int) -> None:
        """Compute the embeddings of a block of images, not mirrored, unless they are in the disk cache.

        Args:
            block: number of the block, 0..`blocks` - 1.
        """
        file = self._file(across=False, down=False)
        if block in file.missing():
            self._write(file, block, across=False, down=False)

    def _file(self, across: bool, down: bool) -> BlockFile:
        """The cache file of a view."""
        shape = [self._images.shape[0], self._numbers]
        card = astuple(BACKBONES[self.name])  # its preprocessing decides the embeddings too
        parts = [_RECIPE, keras.__version__, self.name, card, self._digest, self._source.stem, shape]
        name = disk_cache.entry_name([*parts, self._format.shapes, across, down])
        return BlockFile(f"{name}.embeddings", shape)

    def _write(self, file: BlockFile, block: int, across: bool, down: bool) -> None:
        rows = file.rows(block)
        every = np.arange(rows.start, rows.stop)
        file.write(block, self.embed(self._images, every, self._shape_ids, across=across, down=down))

    def views(self, configuration: Configuration) -> list[FloatArray]:
        """Return `view` of the unflipped images, followed by one for each flip that the configuration allows.

        Returns:
            `(n, features)` float32 each, pooled by the configuration's head.
        """
        flips = (False, True)
        across, down = flips[: 1 + configuration.horizontal_flip], flips[: 1 + configuration.vertical_flip]
        columns = self.columns(configuration.head)
        return [self.view(across=a, down=d)[:, columns] for d in down for a in across]

    def columns(self, head: str) -> slice:
        """Return the columns of embeddings that one of `POOLED` uses.

        Embeddings hold the maxima of the last feature map, its means, and the means of the middle feature map (the
        class token, of a Vision Transformer).
        """
        features = BACKBONES[self.name].features
        return slice(0, features) if head == "max" else slice(features, features + BACKBONES[self.name].pooled(head))

    def embed_again(self, images: Any, rows: IntArray, shape_ids: IntArray | None) -> FloatArray:
        """Return `embed(images, rows, shape_ids)`, from memory if the same images were embedded recently."""
        content = hashlib.blake2b(np.asarray(tf.gather(images, rows)).tobytes(), digest_size=16)
        content.update(b"" if shape_ids is None else shape_ids[rows].tobytes())
        key = content.digest()
        if key not in self._recent:
            self._recent[key] = self.embed(images, rows, shape_ids)
            while len(self._recent) > 1 and sum(values.nbytes for values in self._recent.values()) > _RECENT_BYTES:
                self._recent.popitem(last=False)
        self._recent.move_to_end(key)
        return self._recent[key]

    def embed(
        self, images: Any, rows: IntArray, shape_ids: IntArray | None, *, across: bool = False, down: bool = False
    ) -> FloatArray:
        """Compute embeddings of any images.

        Args:
            images: `(m, side, side, channels)` uint8 tensor.
            rows: `(r,)` indices 0..m-1 of the images to embed.
            shape_ids: `(m,)` index of each image's shape; None if all images are squares.
            across: mirror the images left to right.
            down: mirror the images top to bottom.

        Returns:
            `(r, numbers)` float32, of which `columns` says what they are.
        """
        if self._model is None:
            middle = BACKBONES[self.name].middle is not None
            side = None if self._format.any_size else self._format.image_size
            self._model = build_backbone(self.name, self._format.channels, side=side, with_middle=middle)
            self._model.set_weights(self.weights)
        embeddings = np.zeros((len(rows), self._numbers), np.float32)
        shape_of = np.zeros(len(rows), np.int64) if shape_ids is None else shape_ids[rows]
        for shape_id in np.unique(shape_of):
            at = np.flatnonzero(shape_of == shape_id)
            height, width = self._format.shapes[shape_id] if self._format.any_size else images.shape[1:3]
            for chunk in np.array_split(at, -(-len(at) // self._most_images)):
                batch = tf.gather(images, rows[chunk])[:, :height, :width]
                embeddings[chunk] = self._run(batch, tf.constant(across), tf.constant(down)).numpy()
                self._on_batch()
        return embeddings

    @tf.function(reduce_retracing=True, jit_compile=False)  # type: ignore[untyped-decorator]
    def _run(self, batch: Any, across: Any, down: Any) -> Any:
        x = tf.cast(batch, tf.float32)
        x = tf.cond(across, lambda: x[:, :, ::-1], lambda: x)
        x = tf.cond(down, lambda: x[:, ::-1], lambda: x)
        features = self._model(x, training=False)
        last, *middle = features if isinstance(features, list | tuple) else [features]
        pooled = [tf.reduce_max(last, (1, 2)), tf.reduce_mean(last, (1, 2))]
        return tf.concat([*pooled, *(tf.reduce_mean(values, (1, 2)) for values in middle)], axis=1)


def _images_of_a_pass(name: str, side: int) -> int:
    """Number of images of a forward pass: fewer of large ones for a transformer, whose attention would fill memory."""
    if not BACKBONES[name].is_transformer or side <= ANY_SIDE:
        return _CHUNK
    return max(1, int(_CHUNK * (ANY_SIDE / side) ** 4))  # each patch attends to each
