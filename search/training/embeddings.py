"""A frozen backbone run once for each image: what it gives is kept in the cache and shared by all that trains on it."""

from __future__ import annotations

import hashlib
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
from search.npy import memmap_npy
from search.training.backbones import build_backbone
from spaces.backbones import BACKBONES, POOLED
from spaces.config import Configuration
from spaces.image_format import ImageFormat

_AT_ONCE: Final = 64  # images of a forward pass
_RECENT_BYTES: Final = 128 << 20  # embeddings of other images that are kept in memory
_RECIPE: Final = 1  # raised when the same backbone would give something else


class FrozenBackbone:
    """A backbone of one study, and its embeddings of the study's images.

    Args:
        name: of the backbone.
        image_format: of the images.
        weights: its own, as `first_weights` gives them.
        digest: of them.
        source: file of the images, named by their contents.
        images: (n, side, side, channels) uint8 tensor.
        shape_ids: (n,) index of each image's shape; None where all are squares.
        heed: called between batches; may raise to end it.
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
        heed: Callable[[], None] = lambda: None,
    ) -> None:
        self.name = name
        self.weights = weights
        self._format = image_format
        self._model: Any = None  # built when something has to go through it: most often everything is in the cache
        self._recent: OrderedDict[bytes, FloatArray] = OrderedDict()
        self._digest, self._source = digest, source
        self._images, self._shape_ids = images, shape_ids
        self._heed = heed
        self._views: dict[tuple[bool, bool], FloatArray] = {}

    def view(self, *, across: bool, down: bool) -> FloatArray:
        """Embeddings `(n, 2, features)` float32 of all images, mirrored so: their means and their maxima."""
        if (across, down) not in self._views:
            shape = [self._images.shape[0], len(POOLED), BACKBONES[self.name].features]
            card = astuple(BACKBONES[self.name])  # how it is fed is part of what it gives
            parts = [
                _RECIPE,
                keras.__version__,
                self.name,
                card,
                self._digest,
                self._source.stem,
                shape,
                self._format.shapes,
            ]
            rows = np.arange(self._images.shape[0])
            path = disk_cache.array_file(
                f"{disk_cache.entry_name([*parts, across, down])}.embeddings.npy",
                shape,
                lambda: self.embed(self._images, rows, self._shape_ids, across=across, down=down),
            )
            self._views[across, down] = np.asarray(memmap_npy(path))  # plain: rows of a memmap are slow to take
        return self._views[across, down]

    def views(self, configuration: Configuration) -> list[FloatArray]:
        """All that a configuration sees of each image: as it is, and flipped as it may be."""
        flips = (False, True)
        across, down = flips[: 1 + configuration.horizontal_flip], flips[: 1 + configuration.vertical_flip]
        return [self.view(across=a, down=d) for d in down for a in across]

    def embed_again(self, images: Any, rows: IntArray, shape_ids: IntArray | None) -> FloatArray:
        """As `embed`, for images that come again: those of a test, or of a validation in all its corruptions."""
        content = hashlib.blake2b(np.asarray(tf.gather(images, rows)).tobytes(), digest_size=16)
        content.update(b"" if shape_ids is None else shape_ids[rows].tobytes())
        key = content.digest()
        if key not in self._recent:
            self._recent[key] = self.embed(images, rows, shape_ids)
            while len(self._recent) > 1 and sum(one.nbytes for one in self._recent.values()) > _RECENT_BYTES:
                self._recent.popitem(last=False)
        self._recent.move_to_end(key)
        return self._recent[key]

    def embed(
        self, images: Any, rows: IntArray, shape_ids: IntArray | None, *, across: bool = False, down: bool = False
    ) -> FloatArray:
        """Embeddings `(len(rows), 2, features)` float32 of any images `(m, side, side, channels)` uint8."""
        if self._model is None:
            self._model = build_backbone(self.name, self._format.channels)
            self._model.set_weights(self.weights)
        found = np.zeros((len(rows), len(POOLED), BACKBONES[self.name].features), np.float32)
        kinds = np.zeros(len(rows), np.int64) if shape_ids is None else shape_ids[rows]
        for kind in np.unique(kinds):
            at = np.flatnonzero(kinds == kind)
            height, width = self._format.shapes[kind] if self._format.any_size else images.shape[1:3]
            for some in np.array_split(at, -(-len(at) // _AT_ONCE)):
                batch = tf.gather(images, rows[some])[:, :height, :width]
                found[some] = self._run(batch, tf.constant(across), tf.constant(down)).numpy()
                self._heed()
        return found

    @tf.function(reduce_retracing=True, jit_compile=False)  # type: ignore[untyped-decorator]
    def _run(self, batch: Any, across: Any, down: Any) -> Any:
        x = tf.cast(batch, tf.float32)
        x = tf.cond(across, lambda: x[:, :, ::-1], lambda: x)
        x = tf.cond(down, lambda: x[:, ::-1], lambda: x)
        features = self._model(x, training=False)
        return tf.stack([tf.reduce_mean(features, (1, 2)), tf.reduce_max(features, (1, 2))], axis=1)
