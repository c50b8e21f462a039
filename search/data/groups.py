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
    """Read the group of each image from a CSV file with the columns `file` and `group`.

    File names are relative to the CSV's own folder or to `folder`, and may omit their ending. Other columns and rows
    for other files are ignored. Fields are separated by commas, semicolons or tabs.

    Args:
        table: the CSV file.
        folder: the image folder.
        files: paths of the images, relative to `folder`.

    Returns:
        File -> name of its group, for those of `files` that the CSV names.

    Raises:
        DataError: the CSV does not exist or can't be read, lacks a column, has two groups for one file, or names none
            of `files`.
    """
    groups = read_column(table, GROUP, folder=folder, files=files, endings=EXTENSIONS).by_file
    if not groups:
        raise names_none(table, folder, files)
    return groups


def number_groups(groups: Mapping[str, str], files: Sequence[str], table: Path) -> IntArray:
    """Number the groups of n files from 0 by first appearance, so that their names have no effect.

    Args:
        groups: file -> name of its group.
        files: the n files.
        table: the CSV file with the groups, for messages.

    Returns:
        `(n,)` int64 group of each file.

    Raises:
        DataError: a file has no group.
    """
    if missing := [file for file in files if file not in groups]:
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        raise DataError(
            f"{len(missing)} of {len(files)} images have no group in {table}: {', '.join(missing[:3])}{more}. "
            "Add a row for each of them; an image that belongs to no other gets a group of its own."
        )
    numbers: dict[str, int] = {}
    return np.array([numbers.setdefault(groups[file], len(numbers)) for file in files], dtype=np.int64)


def groups_hash(groups: IntArray | None) -> str | None:
    """Return a hash of the groups `(n,)`, 12 hexadecimal digits, unchanged by renumbering; None without groups."""
    if groups is None:
        return None
    numbers: dict[int, int] = {}
    canonical = [numbers.setdefault(group, len(numbers)) for group in groups.tolist()]
    return hashlib.blake2b(repr(canonical).encode(), digest_size=6).hexdigest()


def strata(labels: IntArray, groups: IntArray | None) -> tuple[IntArray, IntArray]:
    """Number the units of a split (groups, or images if there are no groups), and assign a class to each.

    The class of a group with several labels is the most frequent one; among equally frequent ones the rarest in the
    data.

    Args:
        labels: `(n,)` class of each image, 0..K-1.
        groups: `(n,)` group of each image, or None.

    Returns:
        `(n,)` unit of each image, numbered from 0, and `(units,)` class of each unit.
    """
    units = np.arange(len(labels)) if groups is None else np.unique(groups, return_inverse=True)[1]
    counts = np.bincount(labels)
    members = np.zeros((int(units.max()) + 1, len(counts)))
    np.add.at(members, (units, labels), 1)
    return units, (members - 0.5 * counts / counts.sum()).argmax(axis=1)  # less than one image: settles ties only
