"""The logits of images in evaluation mode, in one trace whatever images they are of a set."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import tensorflow as tf

from search.arrays import FloatArray, IntArray
from search.settings import TrainingProtocol
from search.training.chain import Chain
from search.training.inputs import Inputs
from search.training.prefetch import Prefetcher

_MOST_AT_ONCE: Final = 128  # images of a forward pass
_MOST_PIXELS: Final = 128 * 64 * 64  # of all of them, but for the fewest
_FEWEST: Final = 16


class Evaluation:
    """A network's answers.

    Args:
        chain: the network.
        inputs: the images it is trained on.
        protocol: image size, classes.
        parts: that a batch of the training is passed through the network in.
        ahead: fetches images of coming batches from the disk; None: they are in memory.
    """

    def __init__(
        self, chain: Chain, inputs: Inputs, protocol: TrainingProtocol, parts: int, ahead: Prefetcher | None
    ) -> None:
        self._chain, self._inputs, self._classes, self._ahead = chain, inputs, protocol.classes, ahead
        self._most = max(1, _at_once(protocol.images.image_size) // parts)
        self.traces = 0

    def logits(self, rows: IntArray) -> FloatArray:
        """`(len(rows), K)` float32."""
        return self.logits_of(self._inputs.images, rows, self._inputs.shape_ids)

    def logits_of(self, images: Any, rows: IntArray, shape_ids: IntArray | None) -> FloatArray:
        """`(len(rows), K)` float32 of rows of any uint8 image tensor of the same size; see `Engine.logits_of`."""
        if shape_ids is None:
            return self._alike(images, rows, 0)
        logits = np.zeros((len(rows), self._classes), np.float32)
        for place in np.unique(shape_ids[rows]):
            at = np.flatnonzero(shape_ids[rows] == place)
            logits[at] = self._alike(images, rows[at], int(place))
        return logits

    def _alike(self, images: Any, rows: IntArray, place: int) -> FloatArray:
        """Of images of one shape."""
        batches = np.array_split(rows, max(1, -(-len(rows) // self._most)))
        width = len(batches[0])
        padded = np.stack([np.pad(batch, (0, width - len(batch)), mode="edge") for batch in batches])
        shape = self._inputs.shapes[place]
        if images is not self._inputs.images:
            values = self.of_others(images, tf.constant(padded, tf.int32), shape).numpy()
        elif self._ahead is None:
            values = self.of_own(tf.constant(padded, tf.int32), shape).numpy()
        else:
            values = self._fetched(self._ahead, padded, shape)
        return np.concatenate([values[i, : len(batch)] for i, batch in enumerate(batches)])

    def _fetched(self, ahead: Prefetcher, rows: IntArray, shape: Any) -> FloatArray:
        """Batch by batch, so that it is known how far it is."""
        values: list[FloatArray] = []
        with ahead.epoch(rows, lambda: len(values)):
            for batch in rows:
                values.append(self.of_own(tf.constant(batch[None], tf.int32), shape).numpy()[0])
        return np.stack(values)

    @tf.function(  # type: ignore[untyped-decorator]
        input_signature=[tf.TensorSpec([None, None], tf.int32), tf.TensorSpec([2], tf.int32)], jit_compile=False
    )
    def of_own(self, rows: Any, shape: Any) -> Any:
        """The graph of the logits of batches `(batches, batch)` of its own images; those have one `shape` (2,)."""
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
        """The same of any other images `(m, side, side, channels)`."""
        images.set_shape([None, *self._inputs.images.shape[1:]])
        return self._batches(images, rows, shape)

    def _batches(self, images: Any, rows: Any, shape: Any) -> Any:
        def logits(batch: Any) -> Any:
            self._chain.passed.assign_add(1)
            return self._chain.forward(self._inputs.shown(images, batch, shape), training=False)

        return tf.map_fn(
            logits,
            rows,
            fn_output_signature=tf.TensorSpec([None, self._classes], tf.float32),
            parallel_iterations=1,  # ten, its default, would hold the feature maps of ten batches
        )


def _at_once(side: int) -> int:
    """Images of a forward pass: fewer of large ones, whose feature maps would fill the memory."""
    return min(_MOST_AT_ONCE, max(_FEWEST, _MOST_PIXELS // side**2))
