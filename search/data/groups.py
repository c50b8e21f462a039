"""Groups of images that belong together: photographs of one patient, part or place."""

from __future__ import annotations

import csv
import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from search.arrays import IntArray
from search.errors import DataError

COLUMNS: Final = ("file", "group")
DELIMITERS: Final = (",", ";", "\t")


def read_groups(table: Path, *, folder: Path, files: Sequence[str]) -> dict[str, str]:
    """Group name by file, for those of `files` (relative to `folder`) that the CSV names.

    The column `file` is relative to the CSV's own folder or to `folder`. Other columns, and rows for other files, are
    ignored. Fields are parted by commas, semicolons or tabs.

    Raises:
        DataError: no such file; no such table or columns; two groups for one file; not one of `files` is in it.
    """
    known = frozenset(files)
    groups: dict[str, str] = {}
    for entry, group in _rows(table):
        file = next((name for name in _names(entry, table, folder) if name in known), None)
        if file is None or not group:
            continue
        if groups.setdefault(file, group) != group:
            raise DataError(f"{table} puts {entry} into two groups, {groups[file]!r} and {group!r}. Keep one row.")
    if not groups:
        example = f", such as {files[0]}" if files else ""
        raise DataError(
            f"{table} names none of the images in {folder}. Its column 'file' must be relative to the CSV's own "
            f"folder or to {folder}{example}."
        )
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


def _rows(table: Path) -> list[tuple[str, str]]:
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            header = file.readline()
            file.seek(0)
            delimiter = max(DELIMITERS, key=header.count)
            reader = csv.DictReader(file, delimiter=delimiter, strict=True, skipinitialspace=True)
            names = {(name or "").strip(): name for name in reader.fieldnames or ()}
            if missing := [column for column in COLUMNS if column not in names]:
                found = ", ".join(name for name in names if name)[:100] or "nothing"
                raise DataError(
                    f"{table} lacks the column {missing[0]!r}. Expected a CSV file whose first line names the columns "
                    f"'file' and 'group'; found {found}."
                )
            return [tuple((row[names[column]] or "").strip() for column in COLUMNS) for row in reader]  # type: ignore[misc]
    except FileNotFoundError as error:
        raise DataError(
            f"there is no group file {table}. Expected a CSV file with columns 'file' and 'group'."
        ) from error
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise DataError(f"{table} can't be read as a CSV file with columns 'file' and 'group': {reason}.") from error


def _names(entry: str, table: Path, folder: Path) -> list[str]:
    """What the row's file may be called relative to the image folder: from the CSV's folder first."""
    root, entry = folder.resolve(), entry.replace("\\", "/")
    return [Path(os.path.relpath(place / entry, root)).as_posix() for place in (table.resolve().parent, root)]
