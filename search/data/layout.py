"""Layout of an image folder: a sub-folder for each class, or the parts of a split with such sub-folders."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from search.errors import DataError

EXPECTED: Final = "one sub-folder for each class, with its images in it"
TRAINING: Final = frozenset({"train", "training", "val", "valid", "validation", "dev"})
TESTING: Final = frozenset({"test", "testing"})
NO_CLASSES: Final = frozenset({"__MACOSX", "@eaDir"})
"""Folders that archives made on a Mac and Synology disks add; they hold no images."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Location of the class folders.

    Attributes:
        parts: folders, relative to the image folder, whose sub-folders are classes; "." is the image folder itself.
        test: part of a split that is kept for a test, None where there is none.
        flat: parts of a split without folders for the classes, which are left alone.
    """

    parts: tuple[str, ...]
    test: str | None = None
    flat: tuple[str, ...] = ()


def layout(folder: Path) -> Layout:
    """Find the class folders: of the image folder itself, or of the training and validation parts of a split.

    The test part of a `train/ val/ test/` layout is set aside. Images of `val` are used like those of `train`, since
    the cross-validation makes its own validation parts.

    A split has two folders of such names, or no others, and classes in one of them. Names that only contain such a
    word, as `seg_train` and `test set`, are parts of a split if two of them hold the same classes.

    Raises:
        DataError: no such folder; a file; no sub-folders; nothing but a test; folders beside a split's.
    """
    names = subfolders(folder)
    if not names:
        raise DataError(f"{folder} has no sub-folders. Expected {EXPECTED}.")
    is_test = _parts(names)
    if not is_test and _share_classes(folder, loose := _parts(names, within=True)):
        is_test = loose
    sorted_ones = [name for name in is_test if subfolders(folder / name)]
    trains = any(not is_test[name] for name in sorted_ones)
    if not sorted_ones or (len(is_test) < len(names) and (len(is_test) < 2 or not trains)):
        return Layout((".",))
    if others := [name for name in names if name not in is_test]:
        raise DataError(
            f"{folder} has {others[0]!r} beside {' and '.join(is_test)}: is it a class, or a split and something "
            f"else? Move {others[0]!r} away, or pass --data {folder / sorted_ones[0]}."
        )
    parts = tuple(name for name in sorted_ones if not is_test[name])
    tests = [name for name in sorted_ones if is_test[name]]
    if not parts:
        raise DataError(
            f"{folder} has nothing but {tests[0]!r}, the part of a split that is for a test. "
            f"Pass --data {folder / tests[0]} if you want to search on it."
        )
    return Layout(parts, _only(tests, folder), tuple(name for name in names if name not in sorted_ones))


def test_part(folder: Path) -> str | None:
    """Return the name of the test part of a split whose classes stand in a table; None without a split.

    Raises:
        DataError: no such folder; a file; two such parts.
    """
    is_test_part = _parts(subfolders(folder), within=True)
    tests = [name for name, is_test in is_test_part.items() if is_test]
    return _only(tests, folder) if tests and len(tests) < len(is_test_part) else None


def _parts(names: Sequence[str], *, within: bool = False) -> Mapping[str, bool]:
    """The names that are parts of a split, or (`within`) contain such a word; and whether each is a test part."""
    is_test = {}
    for name in names:
        words = set(re.split("[^a-z]+", name.casefold())) if within else {name.casefold()}
        if words & (TRAINING | TESTING):
            is_test[name] = bool(words & TESTING)
    return is_test


def _share_classes(folder: Path, parts: Mapping[str, bool]) -> bool:
    """Whether training and test are among the parts, and at least two sub-folders are in several parts."""
    often = Counter(name for part in parts for name in subfolders(folder / part))
    return len(set(parts.values())) > 1 and sum(count > 1 for count in often.values()) > 1


def _only(tests: Sequence[str], folder: Path) -> str | None:
    if len(tests) > 1:
        raise DataError(
            f"{folder} has two parts for a test ({', '.join(tests)}). Join them, or pass --data and --test."
        )
    return tests[0] if tests else None


def is_shown(name: str) -> bool:
    """Whether a file or folder of this name is meant for people."""
    return name[0] != "." and name not in NO_CLASSES


def subfolders(folder: Path) -> Sequence[str]:
    """Return the sorted names of the sub-folders that are not hidden.

    Raises:
        DataError: no such folder; a file; it may not be read.
    """
    if not folder.exists():
        raise DataError(f"there is no folder {folder}. Expected {EXPECTED}.")
    if not folder.is_dir():
        raise DataError(f"{folder} is a file. Expected a folder with {EXPECTED}.")
    try:
        return sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and is_shown(entry.name))
    except PermissionError as error:
        raise DataError(f"{folder} may not be read ({error.strerror}). Change its permissions.") from error
