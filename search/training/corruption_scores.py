"""Scores of a fitted network on corrupted copies of its validation images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np

from search import seeds
from search.arrays import FloatArray, IntArray
from search.data.corruptions import FORMS, Pixels, corrupt

MOST_IMAGES: Final = 500
"""Images of a fit that are copied at most. The fits of a configuration together copy many times as many."""

MOST_THROUGH_BACKBONES: Final = 100
"""Images that are copied at most for a head, whose fit takes less time than its backbone for 100 copies of one."""

CHUNK_BYTES: Final = 1 << 25
"""Bytes of copies in memory at a time."""

Score = Callable[[IntArray, FloatArray], float]


def corrupted_scores(
    pixels: Pixels,
    rows: IntArray,
    labels: IntArray,
    probabilities: FloatArray,
    predict: Callable[[Pixels, IntArray | None], FloatArray],
    score: Score,
    before_chunk: Callable[[], None] = lambda: None,
    shapes: Sequence[tuple[int, int]] = (),
    shape_ids: IntArray | None = None,
    most: int = MOST_IMAGES,
) -> dict[str, float]:
    """Compute the study's metric on the copies, by form of the corruption.

    Of many images a share of each class is copied. What these lose is then taken off the score on all of them, so that
    the difference between the two scores is one of the same images. Every network sees the same copies.

    Args:
        pixels: `(all, side, side, channels)` uint8; may be mapped from the disk.
        rows: `(n,)` the validation images.
        labels: `(n,)` of the validation images.
        probabilities: `(n, K)` of the uncorrupted validation images.
        predict: returns probabilities `(m, K)`, given images and the index of each one's shape.
        score: the study's metric.
        before_chunk: called before each chunk of copies; may raise.
        shapes: (height, width) of images of every size, each in the upper left corner.
        shape_ids: `(all,)` index of each image's shape; None where all are squares.
        most: images that are copied at most.

    Returns:
        The metric by form, such as "noise/2"; nothing where there are no images or no usable probabilities.
    """
    if not len(rows) or len(probabilities) != len(rows) or not np.isfinite(probabilities).all():
        return {}
    chosen = _sample(labels, most)
    images, sample_labels = pixels[rows[chosen]], labels[chosen]
    sample_shapes = None if shape_ids is None else shape_ids[rows[chosen]]
    above_sample = score(labels, probabilities) - score(sample_labels, probabilities[chosen])
    step = max(1, CHUNK_BYTES // images[0].nbytes)
    scores = {}
    for form in FORMS:
        chunks = []
        for start in range(0, len(images), step):
            before_chunk()
            chunk = slice(start, start + step)
            if sample_shapes is None:
                chunks.append(predict(corrupt(images[chunk], form), None))
            else:
                chunks.append(
                    predict(_corrupted(images[chunk], sample_shapes[chunk], shapes, form), sample_shapes[chunk])
                )
        predictions = np.concatenate(chunks)
        if np.isfinite(predictions).all():
            scores[form] = score(sample_labels, predictions) + above_sample
    return scores


def _corrupted(images: Pixels, shape_ids: IntArray, shapes: Sequence[tuple[int, int]], form: str) -> Pixels:
    """Copies of images of every size, shape by shape."""
    copies = np.zeros_like(images)
    for shape_id in np.unique(shape_ids):
        at, (height, width) = np.flatnonzero(shape_ids == shape_id), shapes[shape_id]
        copies[at, :height, :width] = corrupt(images[at, :height, :width], form)
    return copies


def _sample(labels: IntArray, most: int) -> IntArray:
    """Indices of at most `most` images, each class with its share, in ascending order."""
    shuffled = seeds.generator(0, "corrupted images").permutation(len(labels))
    by_class = shuffled[np.argsort(labels[shuffled], kind="stable")]
    evenly = np.linspace(0, len(labels) - 1, min(most, len(labels))).round().astype(np.int64)
    return np.sort(by_class[evenly])
