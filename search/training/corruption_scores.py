"""Scores of a fitted network on corrupted copies of its validation images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np

from search import seeds
from search.arrays import FloatArray, IntArray
from search.data.corruptions import FORMS, Pixels, corrupt

MOST_IMAGES: Final = 500
"""Most validation images of a fit that are corrupted. The fits of a configuration together use many times as many."""

MOST_THROUGH_BACKBONES: Final = 100
"""The same for a head on a frozen backbone: each corrupted image has to go through the whole backbone."""

CHUNK_BYTES: Final = 1 << 25
"""Most bytes of corrupted images in memory at the same time."""

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
    """Compute the study's metric on corrupted validation images, for each form of corruption.

    Of more than `most` images a stratified sample is corrupted. The loss of score on the sample is then subtracted from
    the score on all images, so sampling does not add to the difference. Every network sees the same corrupted images.

    Args:
        pixels: `(all, side, side, channels)` uint8, all images of the study; may be a memory map.
        rows: `(n,)` row numbers of the validation images.
        labels: `(n,)` classes of the validation images, 0..K-1.
        probabilities: `(n, K)` predictions for the uncorrupted validation images.
        predict: returns probabilities `(m, K)` of `(m, side, side, channels)` uint8 images, given their shape indices
            `(m,)` or None.
        score: the study's metric of labels and probabilities.
        before_chunk: called before each chunk of images; may raise to end the computation.
        shapes: (height, width) of each shape in pixels; images lie in the upper left corners of their squares.
        shape_ids: `(all,)` index in `shapes` of each image; None if all images are squares.
        most: most images to corrupt.

    Returns:
        Form of corruption, such as "noise/2" -> metric. Forms with non-finite predictions are missing; empty without
        validation images or finite `probabilities`.
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
    """Corrupt images of several shapes, shape by shape."""
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
