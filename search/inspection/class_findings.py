"""Findings on the numbers of images per class: classes that are too small, or far smaller than others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

import numpy as np

from search.arrays import IntArray
from search.inspection.findings import Finding, Severity

MOST_FOLDS: Final = 10
"""Largest number of folds that `possible_folds` returns."""

FOLDS: Final = 5
"""Default number of folds of a search."""

IMBALANCED: Final = 3.0
"""Smallest ratio of the largest to the smallest class that is reported, as a note."""

VERY_IMBALANCED: Final = 10.0
"""Smallest ratio of the largest to the smallest class that is reported as a warning."""

FEW: Final = 20
"""Number of images (or groups) below which a class is reported as small: its recall is uncertain by more than 0.1."""

_NORMAL_95: Final = 1.96


def possible_folds(labels: IntArray, groups: IntArray | None, classes: int) -> int:
    """Return the largest number of folds, at most `MOST_FOLDS`, such that each fold can have an image of each class.

    Args:
        labels: `(n,)` class of each image, 0..K-1.
        groups: `(n,)` group of each image, which folds must not separate; None without groups.
        classes: number of classes K.

    Returns:
        A number 0..10; 0 or 1 if no cross-validation is possible.
    """
    each = [_units(labels, groups, label) for label in range(classes)]
    return min([MOST_FOLDS, *each], default=0)


def half_width(labels: IntArray, groups: IntArray | None, classes: int) -> float | None:
    """Return how uncertain a score on these images would be: the half-width of its 95 % interval, 0..1.

    It is computed for a balanced accuracy half-way between chance and 1.

    Args:
        labels: `(n,)` class of each image, 0..K-1.
        groups: `(n,)` group of each image, None without groups; images of one group count as one.
        classes: number of classes K.

    Returns:
        The half-width; None if a class has no image.
    """
    each = [_units(labels, groups, label) for label in range(classes)]
    if not all(each):
        return None
    share = (1 + 1 / classes) / 2
    variance = sum(share * (1 - share) / units for units in each)
    return float(_NORMAL_95 * np.sqrt(variance) / classes)


def class_findings(counts: Mapping[str, int], labels: IntArray, groups: IntArray | None) -> Iterator[Finding]:
    """Yield findings on classes that are too small for a search, small, or far smaller than others.

    Args:
        counts: class name -> number of images, in label order.
        labels: `(n,)` class of each image, 0..K-1.
        groups: `(n,)` group of each image, None without groups; images of one group count as one.
    """
    units = {name: _units(labels, groups, label) for label, name in enumerate(counts)}
    noun = "images" if groups is None else "groups of images"
    short = {name: count for name, count in units.items() if count < FOLDS}
    if short:
        least = min(short.values())
        what = f"--folds {least} is possible" if least >= 2 else "no cross-validation is possible"
        yield Finding(
            kind="too-few",
            severity=Severity.ERROR if least < 2 else Severity.WARNING,
            detail=f"{_named(short)}: fewer {noun} than the {FOLDS} folds of a search; {what}. Add images, or remove "
            "the class.",
        )
    few = {name: count for name, count in units.items() if FOLDS <= count < FEW}
    if few:
        yield Finding(
            kind="too-few",
            severity=Severity.WARNING,
            detail=f"{_named(few)}: with so few {noun}, how well the class is recognised can't be measured precisely.",
        )
    largest, smallest = max(counts.values()), max(1, min(counts.values()))
    if largest >= IMBALANCED * smallest:
        ratio = largest / smallest
        yield Finding(
            kind="imbalance",
            severity=Severity.WARNING if ratio >= VERY_IMBALANCED else Severity.NOTE,
            detail=f"The largest class has {ratio:.1f} times the images of the smallest. A search tries class weights "
            "and oversampling, and judges by balanced accuracy, which counts each class alike.",
        )


def _units(labels: IntArray, groups: IntArray | None, label: int) -> int:
    own = labels == label
    return int(own.sum()) if groups is None else len(np.unique(groups[own]))


def _named(counts: Mapping[str, int]) -> str:
    shown = [f"{name!r} has {count}" for name, count in list(counts.items())[:5]]
    return ", ".join(shown) + (f" and {len(counts) - 5} more classes" if len(counts) > 5 else "")
