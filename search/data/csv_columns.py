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
"""Accepted names of the column with the file names, in upper or lower case; the first one present is used."""


@dataclass(frozen=True, slots=True)
class Column:
    """Names of a CSV column, and the words for it in messages.

    Attributes:
        names: accepted names of the column, in upper or lower case; the first one present is used.
        table: noun for the CSV file in messages, such as "group file".
        several: plural noun for the column's values in messages, such as "groups".
    """

    names: tuple[str, ...]
    table: str
    several: str


@dataclass(frozen=True, slots=True)
class Values:
    """The values of a CSV column.

    Attributes:
        by_file: image file, relative to the image folder -> value, for each image that the CSV names.
        missing_files: file names in the CSV for which there is no image.
    """

    by_file: dict[str, str]
    missing_files: tuple[str, ...]


def read_column(table: Path, column: Column, *, folder: Path, files: Sequence[str], endings: Sequence[str]) -> Values:
    """Read a CSV column that holds one value per image.

    File names in the CSV are relative to the CSV's own folder, to `folder`, or to the parent of `folder`. Other columns
    and rows without a value are ignored. Fields are separated by commas, semicolons or tabs. Names match whether their
    accented letters are stored as one Unicode character or as two.

    Args:
        table: the CSV file; its first line names the columns.
        column: the column to read.
        folder: the image folder.
        files: paths of the images, relative to `folder`.
        endings: file endings of images in lower case, such as ".png"; file names in the CSV may omit them.

    Raises:
        DataError: the CSV does not exist or can't be read, lacks a column, or has two values for one file.
    """
    by_name = {composed(file): file for file in files} | {file: file for file in files}
    by_bare_name: dict[str, str] = {}
    for name, path in sorted(by_name.items()):
        stem, dot, ending = name.rpartition(".")
        if dot and f".{ending.lower()}" in endings:
            by_bare_name.setdefault(stem, path)
    values: dict[str, str] = {}
    missing_files: list[str] = []
    for entry, value in _rows(table, column):
        names = [form for name in _names(entry, table, folder) for form in (name, composed(name))]
        file = next((owner[name] for owner in (by_name, by_bare_name) for name in names if name in owner), None)
        if file is None:
            missing_files.append(entry)
        if file is None or not value:
            continue
        if values.setdefault(file, value) != value:
            raise DataError(
                f"{table} has {entry} in two {column.several}, {values[file]!r} and {value!r}. Keep one of the rows."
            )
    return Values(values, tuple(missing_files))


def composed(name: str) -> str:
    """Return a name in Unicode's normal form C: each accented letter as one character, as most systems write it."""
    return unicodedata.normalize("NFC", name)


def names_none(table: Path, folder: Path, files: Sequence[str]) -> DataError:
    """Return the error to raise for a CSV that names none of the images.

    Args:
        table: the CSV file.
        folder: the image folder.
        files: paths of the images, relative to `folder`; the first one is shown as an example.
    """
    example = f", such as {files[0]}" if files else ""
    return DataError(
        f"{table} names none of the images in {folder}. Expected paths in its column 'file' that are relative to the "
        f"CSV's own folder or to {folder}{example}."
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
