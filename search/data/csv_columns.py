"""Columns of CSV files that give the group or the class of each image."""

from __future__ import annotations

import csv
import os
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from search.errors import DataError

DELIMITERS: Final = (",", ";", "\t")
FILES: Final = ("file", "filename", "file_name", "image", "image_name", "image_id", "path", "id")
"""Names of the column with the file name, in any case; the first that is there counts."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a CSV file.

    Attributes:
        names: that it may have, in any case; the first that is there counts.
        table: word for the CSV file in messages, such as "group file".
        several: word for its values in messages, such as "groups".
    """

    names: tuple[str, ...]
    table: str
    several: str


@dataclass(frozen=True, slots=True)
class Values:
    """Values of a column.

    Attributes:
        by_file: value of each file that the table names.
        absent: names in the table of files that are not there.
    """

    by_file: dict[str, str]
    absent: tuple[str, ...]


def read_column(table: Path, column: Column, *, folder: Path, files: Sequence[str], endings: Sequence[str]) -> Values:
    """Read the value of a column for each of the files that the CSV names.

    File names are relative to the CSV's own folder, to `folder`, or to its parent. Other columns, rows for other files
    and rows without a value are ignored. Fields are separated by commas, semicolons or tabs. A letter and its accent
    may be one character in the one and two in the other.

    Args:
        table: the CSV file; its first line names the columns.
        column: to read.
        folder: the image folder.
        files: the images in it, relative to `folder`.
        endings: of image files, in lower case; a name in the CSV may lack its ending.

    Raises:
        DataError: no such CSV, not the expected columns, or two values for one file.
    """
    by_name = {composed(file): file for file in files} | {file: file for file in files}
    by_bare_name: dict[str, str] = {}
    for name, path in sorted(by_name.items()):
        stem, dot, ending = name.rpartition(".")
        if dot and f".{ending.lower()}" in endings:
            by_bare_name.setdefault(stem, path)
    values: dict[str, str] = {}
    absent: list[str] = []
    for entry, value in _rows(table, column):
        names = [form for name in _names(entry, table, folder) for form in (name, composed(name))]
        file = next((owner[name] for owner in (by_name, by_bare_name) for name in names if name in owner), None)
        if file is None:
            absent.append(entry)
        if file is None or not value:
            continue
        if values.setdefault(file, value) != value:
            raise DataError(
                f"{table} puts {entry} into two {column.several}, {values[file]!r} and {value!r}. Keep one row."
            )
    return Values(values, tuple(absent))


def composed(name: str) -> str:
    """Return a name with each letter and its accent as one character (Unicode's form C), as most systems write it."""
    return unicodedata.normalize("NFC", name)


def names_none(table: Path, folder: Path, files: Sequence[str]) -> DataError:
    """Return the error of a table that names none of the images.

    Args:
        table: the CSV file.
        folder: the image folder.
        files: the images in it.
    """
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
                name_in_file = next((names[name] for name in allowed if name in names), None)
                if name_in_file is None:
                    there = ", ".join(name for name in names if name)[:100] or "nothing"
                    raise DataError(
                        f"{table} lacks the column {allowed[0]!r}. Expected a CSV file whose first line names the "
                        f"columns 'file' and {column.names[0]!r}; found {there}."
                    )
                chosen.append(name_in_file)
            return [((row[chosen[0]] or "").strip(), (row[chosen[1]] or "").strip()) for row in reader]
    except FileNotFoundError as error:
        raise DataError(f"there is no {column.table} {table}. Expected {wanted}.") from error
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise DataError(f"{table} can't be read as {wanted}: {reason}.") from error


def _names(entry: str, table: Path, folder: Path) -> list[str]:
    """Names that the file of a row may have relative to the image folder: from the CSV's folder first."""
    root, entry = folder.resolve(), entry.replace("\\", "/")
    parents = (table.resolve().parent, root, root.parent)
    return [Path(os.path.relpath(parent / entry, root)).as_posix() for parent in parents]
