"""CSV files that say something of images: their group, their class."""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from search.errors import DataError

DELIMITERS: Final = (",", ";", "\t")
FILES: Final = ("file", "filename", "file_name", "image", "image_name", "image_id", "path", "id")
"""What the column with the file's name may be called, in any case; the first that is there counts."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of such a file.

    Attributes:
        names: what it may be called, in any case; the first that is there counts.
        table: what the file is called in messages.
        several: what it means for a file to have two of its values.
    """

    names: tuple[str, ...]
    table: str
    several: str


def read_column(
    table: Path, column: Column, *, folder: Path, files: Sequence[str], endings: Sequence[str] = ()
) -> dict[str, str]:
    """The column's value by file, for those of `files` (relative to `folder`) that the CSV names.

    The file's name is relative to the CSV's own folder, to `folder`, or to the one that `folder` lies in. Other
    columns, rows for other files and rows without a value are ignored. Fields are parted by commas, semicolons or tabs.

    Args:
        table: the CSV file; its first line names the columns.
        column: the one to read.
        folder: the image folder.
        files: the images in it.
        endings: of image files: a name in the CSV may lack them.

    Raises:
        DataError: no such file; no such table or columns; two values for one file.
    """
    known = frozenset(files)
    values: dict[str, str] = {}
    for entry, value in _rows(table, column):
        names = _names(entry, table, folder)
        file = next((name for name in (*names, *(n + e for n in names for e in endings)) if name in known), None)
        if file is None or not value:
            continue
        if values.setdefault(file, value) != value:
            raise DataError(
                f"{table} puts {entry} into two {column.several}, {values[file]!r} and {value!r}. Keep one row."
            )
    return values


def names_none(table: Path, folder: Path, files: Sequence[str]) -> DataError:
    """The error of a table that speaks of other images."""
    example = f", such as {files[0]}" if files else ""
    return DataError(
        f"{table} names none of the images in {folder}. Its column 'file' must be relative to the CSV's own folder or "
        f"to {folder}{example}."
    )


def _rows(table: Path, column: Column) -> list[tuple[str, str]]:
    wanted = f"a CSV file with columns 'file' and {column.names[0]!r}"
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            header = file.readline()
            file.seek(0)
            delimiter = max(DELIMITERS, key=header.count)
            reader = csv.DictReader(file, delimiter=delimiter, strict=True, skipinitialspace=True)
            names = {(name or "").strip().casefold(): name for name in reader.fieldnames or ()}
            chosen = []
            for allowed in (FILES, column.names):
                found = next((names[name] for name in allowed if name in names), None)
                if found is None:
                    there = ", ".join(name for name in names if name)[:100] or "nothing"
                    raise DataError(
                        f"{table} lacks the column {allowed[0]!r}. Expected a CSV file whose first line names the "
                        f"columns 'file' and {column.names[0]!r}; found {there}."
                    )
                chosen.append(found)
            return [((row[chosen[0]] or "").strip(), (row[chosen[1]] or "").strip()) for row in reader]
    except FileNotFoundError as error:
        raise DataError(f"there is no {column.table} {table}. Expected {wanted}.") from error
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise DataError(f"{table} can't be read as {wanted}: {reason}.") from error


def _names(entry: str, table: Path, folder: Path) -> list[str]:
    """What the row's file may be called relative to the image folder: from the CSV's folder first."""
    root, entry = folder.resolve(), entry.replace("\\", "/")
    places = (table.resolve().parent, root, root.parent)
    return [Path(os.path.relpath(place / entry, root)).as_posix() for place in places]
