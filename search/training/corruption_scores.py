"""How a network that has just been trained does on corrupted copies of its validation images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np

from search import seeds
from search.arrays import FloatArray, IntArray
from search.data.corruptions import FORMS, Pixels, corrupt

MOST_IMAGES: Final = 500
"""Of a fit that are copied. The fits of a configuration together see many times as many."""

MOST_THROUGH_BACKBONES: Final = 100
"""The same of a head, whose fit costs less than sending one image through its backbone a hundred times."""

CHUNK_BYTES: Final = 1 << 25
"""Of copies that are held at once."""

Score = Callable[[IntArray, FloatArray], float]


def corrupted_scores(
    pixels: Pixels,
    rows: IntArray,
    labels: IntArray,
    probabilities: FloatArray,
    predict: Callable[[Pixels, IntArray | None], FloatArray],
    score: Score,
    heed: Callable[[], None] = lambda: None,
    shapes: Sequence[tuple[int, int]] = (),
    shape_ids: IntArray | None = None,
    most: int = MOST_IMAGES,
) -> dict[str, float]:
    """Score on the copies, by form of the corruption.

    Of many images a share of each class is copied. What these lose is then taken off the score on all of them, so that
    the difference between the two scores is one of the same images. Every network sees the same copies.

    Args:
        pixels: `(all, side, side, channels)` uint8; may be mapped from the disk.
        rows: `(n,)` the validation images.
        labels: `(n,)` theirs.
        probabilities: `(n, K)` of them as they are.
        predict: gives the probabilities `(m, K)` of other images, from them and the indices of their shapes.
        score: the study's metric.
        heed: called before each chunk of copies; may raise.
        shapes: (height, width) of images of every size, each in the upper left corner.
        shape_ids: `(all,)` index of each image's shape; None where all are squares.
        most: images that are copied.

    Returns:
        The metric by form, such as "noise/2"; nothing where there are no images or no usable probabilities.
    """
    if not len(rows) or len(probabilities) != len(rows) or not np.isfinite(probabilities).all():
        return {}
    chosen = _sample(labels, most)
    images, given = pixels[rows[chosen]], labels[chosen]
    own = None if shape_ids is None else shape_ids[rows[chosen]]
    above_sample = score(labels, probabilities) - score(given, probabilities[chosen])
    step = max(1, CHUNK_BYTES // images[0].nbytes)
    scores = {}
    for form in FORMS:
        said = []
        for start in range(0, len(images), step):
            heed()
            part = slice(start, start + step)
            if own is None:
                said.append(predict(corrupt(images[part], form), None))
            else:
                said.append(predict(_corrupted(images[part], own[part], shapes, form), own[part]))
        answers = np.concatenate(said)
        if np.isfinite(answers).all():
            scores[form] = score(given, answers) + above_sample
    return scores


def _corrupted(images: Pixels, shape_ids: IntArray, shapes: Sequence[tuple[int, int]], form: str) -> Pixels:
    """Copies of images of every size, shape by shape."""
    copies = np.zeros_like(images)
    for place in np.unique(shape_ids):
        at, (height, width) = np.flatnonzero(shape_ids == place), shapes[place]
        copies[at, :height, :width] = corrupt(images[at, :height, :width], form)
    return copies


def _sample(labels: IntArray, most: int) -> IntArray:
    """Places of at most so many images, each class with its share, in ascending order."""
    shuffled = seeds.generator(0, "corrupted images").permutation(len(labels))
    by_class = shuffled[np.argsort(labels[shuffled], kind="stable")]
    evenly = np.linspace(0, len(labels) - 1, min(most, len(labels))).round().astype(np.int64)
    return np.sort(by_class[evenly])
