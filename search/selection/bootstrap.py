"""Bootstrap samples of the images: whole groups are drawn within classes."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from search.arrays import FloatArray, IntArray
from search.data.groups import strata

MIN_USABLE: Final = 0.1
"""Share of the draws that must leave out images of every class; with fewer, all draws are used."""


def draws(labels: IntArray, groups: IntArray | None, count: int, rng: np.random.Generator) -> FloatArray:
    """Draw whole groups within classes, with replacement, as many as there are.

    Units and their classes are those of `search.data.groups`.

    Args:
        labels: `(n,)` 0..K-1.
        groups: `(n,)` group of each image, or None.
        count: B.
        rng: source of the draws.

    Returns:
        `(B, n)` float32: how often each image was drawn.
    """
    units, stratum = strata(labels, groups)
    drawn = np.zeros((count, len(stratum)), np.float32)
    for k in np.unique(stratum):
        ours = np.flatnonzero(stratum == k)
        drawn[:, ours] = rng.multinomial(len(ours), np.full(len(ours), 1 / len(ours)), size=count)
    return drawn[:, units]


def usable(left_out: npt.NDArray[np.bool_], labels: IntArray, classes: int) -> npt.NDArray[np.bool_]:
    """Mask `(B,)` of the draws that leave out images of every class; all True where too few do.

    Args:
        left_out: `(B, n)` images that were not drawn.
        labels: `(n,)` 0..K-1.
        classes: K.
    """
    each = np.stack([left_out[:, labels == k].any(axis=1) for k in range(classes)])
    of_all: npt.NDArray[np.bool_] = np.logical_and.reduce(each)
    return of_all if of_all.mean() >= MIN_USABLE else np.ones(len(left_out), np.bool_)
