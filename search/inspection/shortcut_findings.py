"""Findings on shortcuts: the class can be predicted from image size, file format, day or mean colour alone."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from search.arrays import IntArray
from search.data.image_stats import ImageStats
from search.inspection.findings import Finding, Severity

CLEARLY: Final = 4.0
"""Number of standard errors above chance that a score must exceed to be a shortcut."""

WORTH: Final = {"image size": 0.25, "file format": 0.25, "day of the file": 0.5, "mean colour": 0.6}
"""Name of a feature table -> share (0..1) of the way from chance to 1 that a score must exceed to be a shortcut.

It is higher for colours, as classes may really differ in them, and for days, as copying files changes them.
"""

_DAY: Final = 86_400.0
_MOST_CLASSES: Final = 50  # up to which each class is also tested against all others
_DEPTH: Final = 3  # of the decision tree, which has at most eight leaves

Table = npt.NDArray[np.floating[Any]]


def shortcut_tables(stats: ImageStats, rows: IntArray, timestamps: Sequence[float]) -> dict[str, Table]:
    """Build the feature tables from which `shortcut_findings` tries to predict the class.

    Args:
        stats: statistics of all m files.
        rows: `(n,)` row numbers of the files to use.
        timestamps: m times of the photographs or else of the last change of the files, in seconds since 1970.

    Returns:
        Name of the table (a key of `WORTH`) -> features `(n, d)`, floats; d depends on the table.
    """
    width, height = stats.width[rows].astype(np.float64), stats.height[rows].astype(np.float64)
    kinds = [f"{stats.formats[row]} {stats.modes[row]}" for row in rows]
    names = sorted(set(kinds))
    return {
        "image size": np.stack([width, height, width / np.maximum(height, 1)], axis=1),
        "file format": np.array([[kind == name for name in names] for kind in kinds], np.float64),
        "day of the file": np.floor(np.array(timestamps, np.float64)[rows] / _DAY)[:, None],
        "mean colour": stats.colour[rows].mean(axis=(1, 2)),
    }


def shortcut_findings(
    tables: Mapping[str, Table], labels: IntArray, folds: Sequence[tuple[IntArray, IntArray]], classes: Sequence[str]
) -> Iterator[Finding]:
    """Yield a finding for each feature table from which the class, or one class, can be predicted in cross-validation.

    Args:
        tables: name -> features `(n, d)`, from `shortcut_tables`.
        labels: `(n,)` class of each image, 0..K-1.
        folds: training and validation rows of each fold.
        classes: K names.
    """
    for what, table in tables.items():
        if not len(table) or (table == table[:1]).all():
            continue
        present = np.unique(labels)
        separated = []
        for label in present if 2 < len(present) <= _MOST_CLASSES else ():
            own = (labels == label).astype(np.int64)
            score = _score(table, own, folds)
            if _is_shortcut(score, own, min(0.9, 2 * WORTH[what])):
                separated.append((score, f"whether an image is {classes[label]!r}"))
        if 0 < len(separated) <= len(present) / 2:
            score, name = max(separated)
            more = f" (and {len(separated) - 1} more)" if len(separated) > 1 else ""
            yield _finding(what, f"{name}{more}", score, 0.5)
        elif _is_shortcut(score := _score(table, labels, folds), labels, WORTH[what]):
            yield _finding(what, "the class", score, 1 / len(present))


def _is_shortcut(score: float, labels: IntArray, worth: float) -> bool:
    counts = np.unique(labels, return_counts=True)[1]
    chance = 1 / len(counts)
    error = float(np.sqrt(np.sum(chance * (1 - chance) / counts)) / len(counts))
    return score - chance > max(CLEARLY * error, worth * (1 - chance))


def _finding(what: str, target: str, score: float, chance: float) -> Finding:
    return Finding(
        kind="shortcut",
        severity=Severity.WARNING,
        detail=f"From the {what} alone, {target} can be predicted with a balanced accuracy of {score:.2f} (guessing: "
        f"{chance:.2f}). A network may learn this instead of the content, and fail on images where it does not hold.",
    )


def _score(table: Table, labels: IntArray, folds: Sequence[tuple[IntArray, IntArray]]) -> float:
    from sklearn.tree import DecisionTreeClassifier

    predicted = np.zeros(len(labels), np.int64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for train, val in folds:
            least = max(1, min(5, np.bincount(labels[train]).max() // 4))
            tree = DecisionTreeClassifier(
                max_depth=_DEPTH, min_samples_leaf=least, class_weight="balanced", random_state=0
            )
            predicted[val] = tree.fit(table[train], labels[train]).predict(table[val])
    return float(np.mean([(predicted[labels == label] == label).mean() for label in np.unique(labels)]))
