"""Fresh splits, which the search did not use: one per repeat of the finalists' fits, the same for all finalists."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from search import seeds
from search.arrays import IntArray
from search.data.folds import Fold, make_folds
from search.data.groups import strata

_TRIES: Final = 100  # orders of the groups; nearly always the first is good


def fresh_count(labels: IntArray, groups: IntArray | None, folds: int) -> int:
    """Return the number of folds of a fresh split.

    It is the search's number of folds if there are no groups, or if each class has at least twice as many groups.
    Otherwise it is smaller (2 or more): a class with as many groups as folds can only be split in one way.

    Args:
        labels: `(n,)` class of each image, 0..K-1.
        groups: `(n,)` group of each image, or None.
        folds: number of folds of the search.
    """
    if groups is None:
        return folds
    fewest = min(len(np.unique(groups[labels == label])) for label in np.unique(labels))
    return folds if fewest >= 2 * folds else max(2, min(folds - 1, fewest - 1))


def fresh_folds(
    labels: IntArray, groups: IntArray | None, *, folds: int, seed: int, repeat: int, cached: bool = False
) -> tuple[Fold, ...]:
    """Make the stratified folds of one repeat; no fold separates a group.

    scikit-learn's StratifiedGroupKFold deals the largest groups first: with few groups of like size every seed gives
    the same split. Here the groups of each class are dealt in a random order, each to the fold with the fewest images
    of the class.

    Args:
        labels: `(n,)` class of each image, 0..K-1.
        groups: `(n,)` group of each image, or None.
        folds: number of folds, at least 2; see `fresh_count`.
        seed: root seed of the run.
        repeat: number of the repeat, from 0; different repeats have different splits if the groups allow it.
        cached: read folds without groups from the disk cache, or store them there.

    Raises:
        DataError: there are too few images or groups for this number of folds.
    """
    if groups is None:
        return make_folds(labels, folds=folds, seed=seeds.child(seed, "fresh", repeat), cached=cached)
    unit, stratum = strata(labels, groups)
    for attempt in range(_TRIES):
        dealt = _deal(labels, unit, stratum, folds, seeds.generator(seed, "fresh", repeat, attempt))
        fold_of = dealt[unit]
        if all(_is_sound(labels, fold_of == fold) for fold in range(folds)):
            return tuple(
                Fold(train=np.flatnonzero(fold_of != fold), val=np.flatnonzero(fold_of == fold))
                for fold in range(folds)
            )
    return make_folds(labels, folds=folds, seed=seeds.child(seed, "fresh", repeat), groups=groups)


def smallest_part(labels: IntArray, groups: IntArray | None, folds: Sequence[Fold], *, seed: int, repeats: int) -> int:
    """Return the number of images in the smallest training part of the search's folds and the fresh splits.

    Args:
        labels: `(n,)` class of each image, 0..K-1.
        groups: `(n,)` group of each image, or None.
        folds: the folds of the search.
        seed: root seed of the run.
        repeats: number of fresh splits.

    Raises:
        DataError: there are too few images or groups for the folds of a fresh split.
    """
    k = fresh_count(labels, groups, len(folds))
    fresh = [fresh_folds(labels, groups, folds=k, seed=seed, repeat=repeat, cached=True) for repeat in range(repeats)]
    return min(len(fold.train) for split in (folds, *fresh) for fold in split)


def _deal(labels: IntArray, unit: IntArray, stratum: IntArray, folds: int, rng: np.random.Generator) -> IntArray:
    """Deal the units to folds; returns the fold of each unit `(units,)`."""
    size = np.zeros((len(stratum), int(labels.max()) + 1))
    np.add.at(size, (unit, labels), 1)
    held = np.zeros((folds, size.shape[1]))
    dealt = np.zeros(len(stratum), np.int64)
    for label in rng.permutation(np.unique(stratum)):
        for one in rng.permutation(np.flatnonzero(stratum == label)):
            fold = np.lexsort((rng.random(folds), held.sum(axis=1), held[:, label]))[0]
            dealt[one] = fold
            held[fold] += size[one]
    return dealt


def _is_sound(labels: IntArray, val: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> bool:
    """Whether the validation part `val` (a mask `(n,)`) has an image, and the training part one of each class."""
    return bool(val.any()) and len(np.unique(labels[~val])) == len(np.unique(labels))
