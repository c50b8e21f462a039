"""CSV files that say something of images: their group, their class."""

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


@dataclass(frozen=True, slots=True)
class Values:
    """What a table says.

    Attributes:
        by_file: the column's value of those files that the table names.
        absent: names of the table that are no file's.
    """

    by_file: dict[str, str]
    absent: tuple[str, ...]


def read_column(table: Path, column: Column, *, folder: Path, files: Sequence[str], endings: Sequence[str]) -> Values:
    """The column's value by file, for those of `files` (relative to `folder`) that the CSV names.

    The file's name is relative to the CSV's own folder, to `folder`, or to the one that `folder` lies in. Other
    columns, rows for other files and rows without a value are ignored. Fields are parted by commas, semicolons or tabs.
    An accent may be one sign with its letter in the one and two in the other.

    Args:
        table: the CSV file; its first line names the columns.
        column: the one to read.
        folder: the image folder.
        files: the images in it.
        endings: of image files, in lower case: a name in the CSV may lack them, in any case.

    Raises:
        DataError: no such file; no such table or columns; two values for one file.
    """
    known = {composed(file): file for file in files} | {file: file for file in files}
    bare: dict[str, str] = {}
    for name, path in sorted(known.items()):
        stem, dot, ending = name.rpartition(".")
        if dot and f".{ending.lower()}" in endings:
            bare.setdefault(stem, path)
    values: dict[str, str] = {}
    absent: list[str] = []
    for entry, value in _rows(table, column):
        names = [form for name in _names(entry, table, folder) for form in (name, composed(name))]
        file = next((owner[name] for owner in (known, bare) for name in names if name in owner), None)
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
    """A name with each accent in one sign with its letter (Unicode's form C), as most systems write it."""
    return unicodedata.normalize("NFC", name)


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
