"""Findings on shortcuts: size, file format, day or mean colour that tell the class without what the picture shows."""

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
"""Standard errors above chance from which on a score counts."""

WORTH: Final = {"its size": 0.25, "its file format": 0.25, "the day of its file": 0.5, "its mean colour": 0.6}
"""Share of the way from chance to 1 that makes a shortcut.

Classes may well differ in colour, and copying a folder leaves days that mean nothing; sizes and formats say where
pictures come from.
"""

_DAY: Final = 86_400.0
_MOST_CLASSES: Final = 50  # of which each is tried against the others
_DEPTH: Final = 3  # of the tree, which so sees at most eight regions

Table = npt.NDArray[np.floating[Any]]


def shortcut_tables(stats: ImageStats, rows: IntArray, moments: Sequence[float]) -> dict[str, Table]:
    """Return the features `(len(rows), features)` float64 from which a tree tries to tell the class, by their name.

    Args:
        stats: of all files.
        rows: of the files that are used.
        moments: seconds since 1970 at which each file was written, or its picture taken.
    """
    width, height = stats.width[rows].astype(np.float64), stats.height[rows].astype(np.float64)
    kinds = [f"{stats.formats[row]} {stats.modes[row]}" for row in rows]
    names = sorted(set(kinds))
    return {
        "its size": np.stack([width, height, width / np.maximum(height, 1)], axis=1),
        "its file format": np.array([[kind == name for name in names] for kind in kinds], np.float64),
        "the day of its file": np.floor(np.array(moments, np.float64)[rows] / _DAY)[:, None],
        "its mean colour": stats.colour[rows].mean(axis=(1, 2)),
    }


def shortcut_findings(
    tables: Mapping[str, Table], labels: IntArray, folds: Sequence[tuple[IntArray, IntArray]], classes: Sequence[str]
) -> Iterator[Finding]:
    """Yield findings on tables that tell the class, or one class from the others, of images left out of the fit.

    Args:
        tables: from `shortcut_tables`.
        labels: `(n,)` 0..K-1.
        folds: training and validation rows.
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
                separated.append((score, f"{classes[label]!r} from the other classes"))
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


def _finding(what: str, whom: str, score: float, chance: float) -> Finding:
    return Finding(
        kind="shortcut",
        severity=Severity.WARNING,
        detail=f"{what[0].upper()}{what[1:]} alone tells {whom} with a balanced accuracy of {score:.2f} (chance: "
        f"{chance:.2f}). A network may learn that instead of what is shown, and fail where it does not hold.",
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
