"""Logits of images in evaluation mode; one trace of the graph serves every selection of images."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import tensorflow as tf

from search.arrays import FloatArray, IntArray
from search.settings import TrainingProtocol
from search.training.chain import Chain
from search.training.inputs import Inputs
from search.training.prefetch import Prefetcher

_MOST_IMAGES: Final = 128  # of a forward pass
_MOST_PIXELS: Final = 128 * 64 * 64  # of a forward pass with more than `_FEWEST_IMAGES` images
_FEWEST_IMAGES: Final = 16  # of a forward pass, whatever their size


class Evaluation:
    """Computes the logits of a network in evaluation mode.

    Args:
        chain: the network.
        inputs: the study's images as inputs of the network.
        protocol: gives the image size and the number of classes.
        microbatches: number of parts of a training batch; batches of evaluation are smaller by this factor.
        prefetcher: reads images of coming batches from the disk; None if they are in memory.

    Attributes:
        traces: number of times that `of_own` was traced.
    """

    def __init__(
        self,
        chain: Chain,
        inputs: Inputs,
        protocol: TrainingProtocol,
        microbatches: int,
        prefetcher: Prefetcher | None,
    ) -> None:
        self._chain, self._inputs, self._classes, self._prefetcher = chain, inputs, protocol.classes, prefetcher
        self._most = max(1, _chunk_size(protocol.images.image_size) // microbatches)
        self.traces = 0

    def logits(self, rows: IntArray) -> FloatArray:
        """Return logits `(len(rows), K)` float32 of the study's images with these row numbers."""
        return self.logits_of(self._inputs.images, rows, self._inputs.shape_ids)

    def logits_of(self, images: Any, rows: IntArray, shape_ids: IntArray | None) -> FloatArray:
        """Return logits `(len(rows), K)` float32 of any images in the study's format.

        Args:
            images: `(m, side, side, channels)` uint8 tensor.
            rows: `(r,)` indices 0..m-1 of the images to evaluate.
            shape_ids: `(m,)` index of each image's shape among the protocol's; None if all images are squares.
        """
        if shape_ids is None:
            return self._of_one_shape(images, rows, 0)
        logits = np.zeros((len(rows), self._classes), np.float32)
        for shape_id in np.unique(shape_ids[rows]):
            at = np.flatnonzero(shape_ids[rows] == shape_id)
            logits[at] = self._of_one_shape(images, rows[at], int(shape_id))
        return logits

    def _of_one_shape(self, images: Any, rows: IntArray, shape_id: int) -> FloatArray:
        """Logits of images of one shape."""
        batches = np.array_split(rows, max(1, -(-len(rows) // self._most)))
        width = len(batches[0])
        padded = np.stack([np.pad(batch, (0, width - len(batch)), mode="edge") for batch in batches])
        shape = self._inputs.shapes[shape_id]
        if images is not self._inputs.images:
            values = self.of_others(images, tf.constant(padded, tf.int32), shape).numpy()
        elif self._prefetcher is None:
            values = self.of_own(tf.constant(padded, tf.int32), shape).numpy()
        else:
            values = self._fetched(self._prefetcher, padded, shape)
        return np.concatenate([values[i, : len(batch)] for i, batch in enumerate(batches)])

    def _fetched(self, prefetcher: Prefetcher, rows: IntArray, shape: Any) -> FloatArray:
        """Logits batch by batch, so that the prefetcher knows how many are done."""
        values: list[FloatArray] = []
        with prefetcher.epoch(rows, lambda: len(values)):
            for batch in rows:
                values.append(self.of_own(tf.constant(batch[None], tf.int32), shape).numpy()[0])
        return np.stack(values)

    @tf.function(  # type: ignore[untyped-decorator]
        input_signature=[tf.TensorSpec([None, None], tf.int32), tf.TensorSpec([2], tf.int32)], jit_compile=False
    )
    def of_own(self, rows: Any, shape: Any) -> Any:
        """Compute the logits `(batches, batch, K)` float32 of the study's images, as a TensorFlow graph.

        Args:
            rows: `(batches, batch)` int32 row numbers of the images.
            shape: `(2,)` int32, height and width of all these images.
        """
        self.traces += 1
        return self._batches(self._inputs.images, rows, shape)

    @tf.function(  # type: ignore[untyped-decorator]
        input_signature=[
            tf.TensorSpec([None, None, None, None], tf.uint8),
            tf.TensorSpec([None, None], tf.int32),
            tf.TensorSpec([2], tf.int32),
        ],
        jit_compile=False,
    )
    def of_others(self, images: Any, rows: Any, shape: Any) -> Any:
        """Compute the logits `(batches, batch, K)` float32 of other images, as a TensorFlow graph.

        Args:
            images: `(m, side, side, channels)` uint8.
            rows: `(batches, batch)` int32 indices of these images.
            shape: `(2,)` int32, height and width of all of them.
        """
        images.set_shape([None, *self._inputs.images.shape[1:]])
        return self._batches(images, rows, shape)

    def _batches(self, images: Any, rows: Any, shape: Any) -> Any:
        def logits(batch: Any) -> Any:
            self._chain.batches_done.assign_add(1)
            return self._chain.forward(self._inputs.scaled(images, batch, shape), training=False)

        return tf.map_fn(
            logits,
            rows,
            fn_output_signature=tf.TensorSpec([None, self._classes], tf.float32),
            parallel_iterations=1,  # the default of ten would hold the feature maps of ten batches
        )


def _chunk_size(side: int) -> int:
    """Number of images of a forward pass: fewer for large images, whose feature maps would fill the memory."""
    return min(_MOST_IMAGES, max(_FEWEST_IMAGES, _MOST_PIXELS // side**2))
