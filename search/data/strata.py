"""What is drawn or split as a whole, and the class that it counts for."""

from __future__ import annotations

import numpy as np

from search.arrays import IntArray


def strata(labels: IntArray, groups: IntArray | None) -> tuple[IntArray, IntArray]:
    """Number the units, and give each a class. Without groups each image is a unit of its own.

    A group of mixed labels belongs to the class of most of its images, of several to the rarest of these in the data.

    Args:
        labels: `(n,)` 0..K-1.
        groups: `(n,)` group of each image, or None.

    Returns:
        `(n,)` unit of each image, from 0, and `(units,)` class of each unit.
    """
    units = np.arange(len(labels)) if groups is None else np.unique(groups, return_inverse=True)[1]
    counts = np.bincount(labels)
    members = np.zeros((int(units.max()) + 1, len(counts)))
    np.add.at(members, (units, labels), 1)
    return units, (members - 0.5 * counts / counts.sum()).argmax(axis=1)  # less than one image: settles ties only
