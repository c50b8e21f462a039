"""Findings on the numbers of images: classes that are too small, or far smaller than others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

import numpy as np

from search.arrays import IntArray
from search.inspection.findings import Finding, Severity

MOST_FOLDS: Final = 10
FOLDS: Final = 5
"""Number of folds of a search by default."""

IMBALANCED: Final = 3.0
"""Ratio of the largest class to the smallest from which on it is reported."""

VERY_IMBALANCED: Final = 10.0
"""The ratio from which on it is a warning."""

FEW: Final = 20
"""Images, or groups, of a class below which its recall can't be estimated to a tenth."""

_NORMAL_95: Final = 1.96


def possible_folds(labels: IntArray, groups: IntArray | None, classes: int) -> int:
    """Return the largest number of folds, at most ten, that each can have an image of each class.

    Args:
        labels: `(n,)` 0..K-1.
        groups: `(n,)` of images that belong together, or None.
        classes: K.

    Returns:
        0 or 1 where no cross-validation is possible.
    """
    each = [_units(labels, groups, label) for label in range(classes)]
    return min([MOST_FOLDS, *each], default=0)


def half_width(labels: IntArray, groups: IntArray | None, classes: int) -> float | None:
    """Return the half-width of the 95 % interval of a balanced accuracy half-way between chance and 1.

    Args:
        labels: `(n,)` 0..K-1.
        groups: `(n,)` of images that belong together, or None.
        classes: K.

    Returns:
        None where a class has no image.
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
        counts: images by class.
        labels: `(n,)`.
        groups: `(n,)` of images that belong together, or None.
    """
    units = {name: _units(labels, groups, label) for label, name in enumerate(counts)}
    noun = "images" if groups is None else "groups of images that belong together"
    short = {name: count for name, count in units.items() if count < FOLDS}
    if short:
        least = min(short.values())
        what = f"--folds {least} is possible" if least >= 2 else "no cross-validation is possible"
        yield Finding(
            kind="too-few",
            severity=Severity.ERROR if least < 2 else Severity.WARNING,
            detail=f"{_named(short)}: fewer {noun} than the {FOLDS} folds of a search; {what}. Add images, or leave "
            "the class out.",
        )
    few = {name: count for name, count in units.items() if FOLDS <= count < FEW}
    if few:
        yield Finding(
            kind="too-few",
            severity=Severity.WARNING,
            detail=f"{_named(few)}: so few {noun} say little about how well that class is recognised.",
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
