"""Are there enough images, and of each class?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

import numpy as np

from search.arrays import IntArray
from search.inspection.findings import Finding, Severity

MOST_FOLDS: Final = 10
FOLDS: Final = 5
"""Of a search, unless another number is asked for."""

IMBALANCED: Final = 3.0
"""Times as many images in the largest class as in the smallest that are said."""

VERY_IMBALANCED: Final = 10.0
FEW: Final = 20
"""Images, or groups, of a class: with fewer a recall can't be told to a tenth."""

_NORMAL_95: Final = 1.96


def possible_folds(labels: IntArray, groups: IntArray | None, classes: int) -> int:
    """Largest number of folds, at most ten, of which each can have an image of each class; 0 or 1: none."""
    each = [_units(labels, groups, label) for label in range(classes)]
    return min([MOST_FOLDS, *each], default=0)


def half_width(labels: IntArray, groups: IntArray | None, classes: int) -> float | None:
    """Half-width of the plain 95 % interval of a balanced accuracy half-way between guessing and always right.

    None where a class has no image.
    """
    each = [_units(labels, groups, label) for label in range(classes)]
    if not all(each):
        return None
    share = (1 + 1 / classes) / 2
    variance = sum(share * (1 - share) / units for units in each)
    return float(_NORMAL_95 * np.sqrt(variance) / classes)


def amounts(counts: Mapping[str, int], labels: IntArray, groups: IntArray | None) -> Iterator[Finding]:
    """Classes that are too small for a search, small, or far smaller than others.

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
            detail=f"{_named(few)}: so few {noun} say little about how often that class will be recognised.",
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
