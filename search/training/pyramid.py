"""Spatial pyramid pooling (He et al., ECCV 2014): a layer for training, and an equal model of Keras' layers to save.

Both resize the feature map to 32 x 32 by the nearest pixel, and take the maximum of each part of that grid. It is exact
for maps whose side is a multiple of the finest level and divides 32; otherwise pixels on a border between two parts may
count for one of them only.
"""

from __future__ import annotations

import math
from typing import Any, Final

import keras
from keras import ops

GRID: Final = 32
"""Largest side in pixels of a feature map that is pooled without skipping pixels."""


class Pyramid(keras.layers.Layer):  # type: ignore[misc]  # Keras tells no types
    """Layer that takes maxima over 1 x 1, 2 x 2, ... up to `finest` x `finest` parts of a feature map.

    It does not resize the map: on a GPU TensorFlow has no deterministic gradient of a resize by the nearest pixel.

    Args:
        finest: parts per side of the finest level: 2, 4 or 8.
        options: options of `keras.layers.Layer`, such as `dtype`.
    """

    def __init__(self, finest: int, **options: Any) -> None:
        super().__init__(**options)
        self._finest = finest

    def call(self, x: Any) -> Any:
        """Pool a feature map.

        Args:
            x: `(batch, height, width, filters)`, height and width 1 to 32.

        Returns:
            `(batch, filters x (1 + 4 + ... + finest^2))`, the coarsest level first.
        """
        filters, side = x.shape[-1], self._finest
        levels = [self._maxima(self._maxima(x, 1), 2)]
        while side > 1:
            side //= 2
            fours = ops.reshape(levels[0], (-1, side, 2, side, 2, filters))
            levels.insert(0, ops.max(fours, axis=(2, 4)))
        flat = [ops.reshape(level, (-1, 4**index * filters)) for index, level in enumerate(levels)]
        return ops.concatenate(flat, axis=1)

    def _maxima(self, x: Any, axis: int) -> Any:
        """Maxima of each part along an axis."""
        side, reach = ops.shape(x)[axis], GRID // self._finest
        pieces = []
        for part in range(self._finest):
            # Of the grid's pixel i, the nearest of the map is floor((i + 1/2) x side / GRID).
            first = (2 * part * reach + 1) * side // (2 * GRID)
            last = (2 * (part + 1) * reach - 1) * side // (2 * GRID)
            piece = x[:, first : last + 1] if axis == 1 else x[:, :, first : last + 1]
            pieces.append(ops.max(piece, axis=axis))
        return ops.stack(pieces, axis=axis)


def delivered(finest: int, filters: int, dtype: str = "float32") -> keras.Model:
    """Build a model that computes the same as `Pyramid`, from Keras' own layers only.

    Args:
        finest: parts per side of the finest level: 2, 4 or 8.
        filters: channels of the feature map.
        dtype: Keras' dtype policy.
    """
    features = keras.Input((None, None, filters))
    grid = keras.layers.Resizing(GRID, GRID, interpolation="nearest", dtype=dtype)(features)
    parts = [keras.layers.MaxPooling2D(GRID // finest, dtype=dtype)(grid)]
    for _ in range(int(math.log2(finest))):
        parts.insert(0, keras.layers.MaxPooling2D(2, dtype=dtype)(parts[0]))
    flat = [keras.layers.Flatten(dtype=dtype)(part) for part in parts]
    return keras.Model(features, keras.layers.Concatenate(dtype=dtype)(flat), name="pyramid")
