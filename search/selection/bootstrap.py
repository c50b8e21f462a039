"""Bootstrap samples of the images: whole groups are drawn within classes."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from search.arrays import FloatArray, IntArray
from search.data.groups import strata

MIN_USABLE: Final = 0.1
"""Smallest share of the samples, 0..1, that must leave out images of every class; below it all samples are used."""


def draws(labels: IntArray, groups: IntArray | None, count: int, rng: np.random.Generator) -> FloatArray:
    """Draw bootstrap samples: in each class as many groups as it has, with replacement.

    All images of a drawn group are drawn together. `search.data.groups.strata` defines the class of a group.

    Args:
        labels: `(n,)` int, 0..K-1.
        groups: `(n,)` int, group of each image; None draws single images.
        count: number of samples, B.
        rng: source of the random draws.

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
    """Return which bootstrap samples leave out at least one image of every class.

    Args:
        left_out: `(B, n)` bool, True for images that were not drawn.
        labels: `(n,)` int, 0..K-1.
        classes: number of classes, K.

    Returns:
        `(B,)` bool; True everywhere if less than `MIN_USABLE` of the samples leave out images of every class.
    """
    each = np.stack([left_out[:, labels == k].any(axis=1) for k in range(classes)])
    of_all: npt.NDArray[np.bool_] = np.logical_and.reduce(each)
    return of_all if of_all.mean() >= MIN_USABLE else np.ones(len(left_out), np.bool_)
