"""Can the class be told by what is not in the picture: its size, its file, its day, or its mean colour alone?"""

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
"""Standard errors above guessing."""

WORTH: Final = {"its size": 0.25, "its file format": 0.25, "the day of its file": 0.5, "its mean colour": 0.6}
"""Share of the way from guessing to always right that makes a shortcut. Classes may well differ in colour, and copying
a folder leaves days that mean nothing; sizes and formats say where pictures come from."""

_DAY: Final = 86_400.0
_MOST_CLASSES: Final = 50  # of which each is tried against the others
_DEPTH: Final = 3  # of the tree, which so sees at most eight regions

Table = npt.NDArray[np.floating[Any]]


def tables(looks: ImageStats, rows: IntArray, moments: Sequence[float]) -> dict[str, Table]:
    """What a tree may look at, `(len(rows), features)`, by what it is called.

    Args:
        looks: of all files.
        rows: that count.
        moments: seconds since 1970 at which each file was written, or its picture taken.
    """
    width, height = looks.width[rows].astype(np.float64), looks.height[rows].astype(np.float64)
    kinds = [f"{looks.formats[row]} {looks.modes[row]}" for row in rows]
    names = sorted(set(kinds))
    return {
        "its size": np.stack([width, height, width / np.maximum(height, 1)], axis=1),
        "its file format": np.array([[kind == name for name in names] for kind in kinds], np.float64),
        "the day of its file": np.floor(np.array(moments, np.float64)[rows] / _DAY)[:, None],
        "its mean colour": looks.colour[rows].mean(axis=(1, 2)),
    }


def shortcuts(
    given: Mapping[str, Table], labels: IntArray, folds: Sequence[tuple[IntArray, IntArray]], classes: Sequence[str]
) -> Iterator[Finding]:
    """What tells the class, or one class from the others, of images that it was not fitted on.

    Args:
        given: from `tables`.
        labels: `(n,)`.
        folds: training and validation rows.
        classes: names.
    """
    for what, table in given.items():
        if not len(table) or (table == table[:1]).all():
            continue
        present = np.unique(labels)
        told = []
        for label in present if 2 < len(present) <= _MOST_CLASSES else ():
            own = (labels == label).astype(np.int64)
            score = _score(table, own, folds)
            if _is_shortcut(score, own, min(0.9, 2 * WORTH[what])):
                told.append((score, f"{classes[label]!r} from the other classes"))
        if 0 < len(told) <= len(present) / 2:
            score, name = max(told)
            more = f" (and {len(told) - 1} more)" if len(told) > 1 else ""
            yield _finding(what, f"{name}{more}", score, 0.5)
        elif _is_shortcut(score := _score(table, labels, folds), labels, WORTH[what]):
            yield _finding(what, "the class", score, 1 / len(present))


def _is_shortcut(score: float, labels: IntArray, worth: float) -> bool:
    counts = np.unique(labels, return_counts=True)[1]
    guessing = 1 / len(counts)
    error = float(np.sqrt(np.sum(guessing * (1 - guessing) / counts)) / len(counts))
    return score - guessing > max(CLEARLY * error, worth * (1 - guessing))


def _finding(what: str, whom: str, score: float, guessing: float) -> Finding:
    return Finding(
        kind="shortcut",
        severity=Severity.WARNING,
        detail=f"{what[0].upper()}{what[1:]} alone tells {whom} with a balanced accuracy of {score:.2f} (guessing: "
        f"{guessing:.2f}). A network may learn that instead of what is shown, and fail where it does not hold.",
    )


def _score(table: Table, labels: IntArray, folds: Sequence[tuple[IntArray, IntArray]]) -> float:
    from sklearn.tree import DecisionTreeClassifier

    told = np.zeros(len(labels), np.int64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for train, val in folds:
            least = max(1, min(5, np.bincount(labels[train]).max() // 4))
            tree = DecisionTreeClassifier(
                max_depth=_DEPTH, min_samples_leaf=least, class_weight="balanced", random_state=0
            )
            told[val] = tree.fit(table[train], labels[train]).predict(table[val])
    return float(np.mean([(told[labels == label] == label).mean() for label in np.unique(labels)]))
