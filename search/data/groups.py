"""Groups of images that belong together: photographs of one patient, part or place."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from search.arrays import IntArray
from search.data.csv_columns import Column, names_none, read_column
from search.data.scan import EXTENSIONS
from search.errors import DataError

GROUP: Final = Column(("group",), "group file", "groups")


def read_groups(table: Path, *, folder: Path, files: Sequence[str]) -> dict[str, str]:
    """Group name by file, for those of `files` (relative to `folder`) that the CSV names.

    The column `file` is relative to the CSV's own folder or to `folder`. Other columns, and rows for other files, are
    ignored. Fields are parted by commas, semicolons or tabs. Names may lack their ending.

    Raises:
        DataError: no such file; no such table or columns; two groups for one file; not one of `files` is in it.
    """
    groups = read_column(table, GROUP, folder=folder, files=files, endings=EXTENSIONS).by_file
    if not groups:
        raise names_none(table, folder, files)
    return groups


def number_groups(groups: Mapping[str, str], files: Sequence[str], table: Path) -> IntArray:
    """Group of each file, (n,) int64, numbered from 0 in order of first appearance: group names decide nothing.

    Raises:
        DataError: a file without a group.
    """
    if missing := [file for file in files if file not in groups]:
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        raise DataError(
            f"{len(missing)} of {len(files)} images have no group in {table}: {', '.join(missing[:3])}{more}. "
            "Add a row for each; an image on its own is a group of one."
        )
    numbers: dict[str, int] = {}
    return np.array([numbers.setdefault(groups[file], len(numbers)) for file in files], dtype=np.int64)


def groups_hash(groups: IntArray | None) -> str | None:
    """Twelve hexadecimal digits of the grouping, the same for renumbered groups; None without groups."""
    if groups is None:
        return None
    numbers: dict[int, int] = {}
    canonical = [numbers.setdefault(group, len(numbers)) for group in groups.tolist()]
    return hashlib.blake2b(repr(canonical).encode(), digest_size=6).hexdigest()


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
