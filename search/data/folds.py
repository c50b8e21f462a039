"""Stratified folds: fixed within a study, the same for every configuration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata

import numpy as np

from search import seeds
from search.arrays import IntArray
from search.data import disk_cache
from search.errors import DataError


@dataclass(frozen=True, kw_only=True, slots=True)
class Fold:
    """One split of the rows into a training and a validation part.

    Attributes:
        train: sorted row numbers of the training part, int64.
        val: sorted row numbers of the validation part, int64; all rows that are not in `train`.
    """

    train: IntArray
    val: IntArray


def make_folds(
    labels: IntArray,
    *,
    folds: int,
    seed: int,
    groups: IntArray | None = None,
    class_names: Sequence[str] | None = None,
    cached: bool = False,
) -> tuple[Fold, ...]:
    """Make stratified cross-validation folds: each row is in one validation part, and no group is split.

    Without groups the images of a class are spread evenly over the folds, to within one image, and renumbering the
    classes changes nothing. With groups, classes are balanced as far as the groups allow.

    Args:
        labels: `(n,)` class of each row, 0..K-1.
        folds: number of folds, at least 2.
        seed: root seed of the run.
        groups: `(n,)` group of each row; None: each row is on its own.
        class_names: K names for messages; None: classes are named by their number.
        cached: read the folds from the disk cache, or store them there.

    Raises:
        DataError: `folds` is below 2, a class or the data has too few images or groups, a training part lacks a class,
            or a validation part is empty.
    """
    if folds < 2:
        raise DataError(f"cross-validation needs at least 2 folds, got {folds}. Pass --folds 2 or more.")
    present = [int(label) for label in np.unique(labels)]
    for label in present:
        check_count(_name(label, class_names), int(np.sum(labels == label)), folds)
    state = seeds.child(seed, "folds")
    if groups is not None:
        _check_groups(labels, groups, folds, class_names)
    if cached:
        version = metadata.version("scikit-learn")
        parts = [version, labels.tolist(), folds, state, None if groups is None else groups.tolist()]
        fold_of = disk_cache.cached(
            "folds",
            parts,
            make=lambda: _fold_of(labels, groups, folds, state).tolist(),
            parse=lambda stored: _stored(np.array(stored), labels, groups, folds),
        )
    else:
        fold_of = _fold_of(labels, groups, folds, state)
    result = tuple(
        Fold(train=np.flatnonzero(fold_of != fold), val=np.flatnonzero(fold_of == fold)) for fold in range(folds)
    )
    _check_parts(labels, result, present, class_names)
    return result


def _stored(fold_of: IntArray, labels: IntArray, groups: IntArray | None, folds: int) -> IntArray:
    """Return stored folds unchanged. Raises ValueError if they are not valid folds, as in a damaged entry."""
    if fold_of.shape != labels.shape or fold_of.dtype.kind != "i" or set(np.unique(fold_of)) != set(range(folds)):
        raise ValueError("no fold for each image")
    if groups is not None and len(set(zip(groups.tolist(), fold_of.tolist(), strict=True))) > len(np.unique(groups)):
        raise ValueError("a group in two folds")
    return fold_of


def _fold_of(labels: IntArray, groups: IntArray | None, folds: int, state: int) -> IntArray:
    """The fold `(n,)` whose validation part each row is in."""
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold  # two seconds that few have to wait

    splitter = (StratifiedKFold if groups is None else StratifiedGroupKFold)(folds, shuffle=True, random_state=state)
    fold_of = np.zeros(len(labels), np.int64)
    for fold, (_, val) in enumerate(splitter.split(np.zeros((len(labels), 1)), labels, groups)):
        fold_of[val] = fold
    return fold_of


def check_count(name: str, count: int, folds: int, where: str = "") -> None:
    """Check that a class has at least one image for each fold.

    Args:
        name: the class.
        count: number of its readable images.
        folds: number of folds.
        where: where the images were counted, for the message, with a leading blank, such as " in photos/cat".

    Raises:
        DataError: the class has fewer images than there are folds.
    """
    if count >= folds:
        return
    fewer = f", or pass --folds {count}" if count >= 2 else ""
    raise DataError(
        f"class {name!r} has {count} readable image(s){where}, but {folds} folds need at least {folds}. "
        f"Add images{fewer}."
    )


def fold_warnings(labels: IntArray, folds: Sequence[Fold], class_names: Sequence[str]) -> list[str]:
    """Return one warning, a sentence, for each fold and class such that the validation part lacks the class.

    Args:
        labels: `(n,)` class of each row, 0..K-1.
        folds: the folds, from `make_folds`.
        class_names: K names.
    """
    return [
        f"The validation part of fold {number} of {len(folds)} has no image of class {class_names[label]!r}: "
        "the class has too few groups, or groups of too different sizes, for so many folds."
        for number, fold in enumerate(folds, start=1)
        for label in np.setdiff1d(labels, labels[fold.val])
    ]


def _name(label: int, class_names: Sequence[str] | None) -> str:
    return class_names[label] if class_names is not None else str(label)


def _check_groups(labels: IntArray, groups: IntArray, folds: int, class_names: Sequence[str] | None) -> None:
    for label in np.unique(labels):
        if len(np.unique(groups[labels == label])) < 2:
            raise DataError(
                f"all images of class {_name(int(label), class_names)!r} are in one group, so they can't be in both "
                "the training and the validation part. Add images of other groups, remove the class or split the group."
            )
    if (count := len(np.unique(groups))) < folds:
        raise DataError(f"there are {count} groups, but {folds} folds need at least {folds}. Pass --folds {count}.")


def _check_parts(
    labels: IntArray, folds: Sequence[Fold], present: Sequence[int], class_names: Sequence[str] | None
) -> None:
    for number, fold in enumerate(folds, start=1):
        if not len(fold.val):
            raise DataError(
                f"the validation part of fold {number} of {len(folds)} is empty: there are too few groups, or their "
                "sizes differ too much. Pass a smaller --folds."
            )
        if missing := np.setdiff1d(present, labels[fold.train]).tolist():
            raise DataError(
                f"the training part of fold {number} of {len(folds)} has no image of class "
                f"{_name(missing[0], class_names)!r}: all groups with that class are in the validation part. Pass "
                "another --folds or --seed, or add images of this class from another group."
            )
