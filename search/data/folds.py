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
    """One split of the rows: sorted row numbers, each row in one of the two."""

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
    """Split the rows `folds` times; every row is validated on once, and no group is on both sides.

    Without groups each class is spread evenly to within one image, and the folds don't depend on which class has
    which number. With groups both hold as far as the groups allow.

    Args:
        labels: (n,) class of each row, 0..K-1.
        folds: at least 2.
        seed: root seed of the run.
        groups: (n,) group of each row.
        class_names: for messages; numbers without.
        cached: take the split from the cache, or store it there: for splits that every start of a study needs.

    Raises:
        DataError: too few images or groups, or a training part would lack a class.
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
    """As it is. Raises ValueError for what the cache can't have from us: somebody may have put it there."""
    if fold_of.shape != labels.shape or fold_of.dtype.kind != "i" or set(np.unique(fold_of)) != set(range(folds)):
        raise ValueError("no fold for each image")
    if groups is not None and len(set(zip(groups.tolist(), fold_of.tolist(), strict=True))) > len(np.unique(groups)):
        raise ValueError("a group in two folds")
    return fold_of


def _fold_of(labels: IntArray, groups: IntArray | None, folds: int, state: int) -> IntArray:
    """In which fold each row is validated on."""
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold  # two seconds that few have to wait

    splitter = (StratifiedKFold if groups is None else StratifiedGroupKFold)(folds, shuffle=True, random_state=state)
    fold_of = np.zeros(len(labels), np.int64)
    for fold, (_, val) in enumerate(splitter.split(np.zeros((len(labels), 1)), labels, groups)):
        fold_of[val] = fold
    return fold_of


def check_count(name: str, count: int, folds: int, where: str = "") -> None:
    """Refuse a class with fewer images than folds; `where` tells more about what was counted, with a leading blank.

    Raises:
        DataError: it has fewer.
    """
    if count >= folds:
        return
    fewer = f", or pass --folds {count}" if count >= 2 else ""
    raise DataError(
        f"class {name!r} has {count} readable image(s){where}, but {folds} folds need at least {folds}. "
        f"Add images{fewer}."
    )


def fold_warnings(labels: IntArray, folds: Sequence[Fold], class_names: Sequence[str]) -> list[str]:
    """A sentence for each validation part that lacks a class: its score says nothing about that class."""
    return [
        f"Fold {number} of {len(folds)} has no image of class {class_names[label]!r} to validate on: "
        "the groups of that class are too few or too uneven to reach every fold."
        for number, fold in enumerate(folds, start=1)
        for label in np.setdiff1d(labels, labels[fold.val])
    ]


def _name(label: int, class_names: Sequence[str] | None) -> str:
    return class_names[label] if class_names is not None else str(label)


def _check_groups(labels: IntArray, groups: IntArray, folds: int, class_names: Sequence[str] | None) -> None:
    for label in np.unique(labels):
        if len(np.unique(groups[labels == label])) < 2:
            raise DataError(
                f"all images of class {_name(int(label), class_names)!r} are of one group, so it can't be trained and "
                "validated on. Add images of another group, leave the class out, or split the group."
            )
    if (count := len(np.unique(groups))) < folds:
        raise DataError(f"there are {count} groups, but {folds} folds need at least {folds}. Pass --folds {count}.")


def _check_parts(
    labels: IntArray, folds: Sequence[Fold], present: Sequence[int], class_names: Sequence[str] | None
) -> None:
    for number, fold in enumerate(folds, start=1):
        if not len(fold.val):
            raise DataError(
                f"fold {number} of {len(folds)} gets no image to validate on: the groups are too few or too uneven. "
                "Pass a smaller --folds."
            )
        if missing := np.setdiff1d(present, labels[fold.train]).tolist():
            raise DataError(
                f"the training part of fold {number} of {len(folds)} has no image of class "
                f"{_name(missing[0], class_names)!r}: its groups all fall into one fold. Pass another --folds or "
                "--seed, or add images of another group."
            )
