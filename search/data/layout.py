"""Layout of an image folder: one sub-folder per class, or split folders such as train and test that hold these."""

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
"""Folders that macOS archives and Synology disks add; they hold no images of the user."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Location of the class folders.

    Attributes:
        parts: folders, relative to the image folder, whose sub-folders are classes; "." is the image folder itself.
        test: split folder with the test set, relative to the image folder; None if there is none.
        flat: split folders without sub-folders, which are ignored.
    """

    parts: tuple[str, ...]
    test: str | None = None
    flat: tuple[str, ...] = ()


def layout(folder: Path) -> Layout:
    """Find the class folders of an image folder: its own sub-folders, or those of its training and validation sets.

    The test set of a `train/ val/ test/` layout is set aside. Images of `val` are used like those of `train`, since
    the cross-validation makes its own validation parts.

    Split folders are recognised by names such as `train`, if there are two of them or nothing else, and at least one
    has sub-folders. Names that only contain such a word, such as `seg_train` and `test set`, count if there are both
    training and test folders and at least two classes are in several of them.

    Raises:
        DataError: the folder does not exist, is a file, can't be read, or has no sub-folders; it has only a test set,
            two test sets, or split folders beside other folders.
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
            f"{folder} mixes split folders ({', '.join(is_test)}) with {others[0]!r}. Move {others[0]!r} away, or pass "
            f"--data {folder / sorted_ones[0]}."
        )
    parts = tuple(name for name in sorted_ones if not is_test[name])
    tests = [name for name in sorted_ones if is_test[name]]
    if not parts:
        raise DataError(
            f"{folder} contains only the test set {tests[0]!r}. Expected training images. To search on the test images "
            f"anyway, pass --data {folder / tests[0]}."
        )
    return Layout(parts, _only(tests, folder), tuple(name for name in names if name not in sorted_ones))


def test_part(folder: Path) -> str | None:
    """Return the name of the test folder of an image folder whose classes are in a CSV; None without a split.

    A split has a test folder and a training folder, such as `test` and `train`.

    Raises:
        DataError: the folder does not exist, is a file or can't be read, or has two test folders.
    """
    is_test_part = _parts(subfolders(folder), within=True)
    tests = [name for name, is_test in is_test_part.items() if is_test]
    return _only(tests, folder) if tests and len(tests) < len(is_test_part) else None


def _parts(names: Sequence[str], *, within: bool = False) -> Mapping[str, bool]:
    """Name of each split folder -> whether it is a test folder. `within`: names may contain other words too."""
    is_test = {}
    for name in names:
        words = set(re.split("[^a-z]+", name.casefold())) if within else {name.casefold()}
        if words & (TRAINING | TESTING):
            is_test[name] = bool(words & TESTING)
    return is_test


def _share_classes(folder: Path, parts: Mapping[str, bool]) -> bool:
    """Whether there are training and test folders, and at least two names of sub-folders occur in several of them."""
    often = Counter(name for part in parts for name in subfolders(folder / part))
    return len(set(parts.values())) > 1 and sum(count > 1 for count in often.values()) > 1


def _only(tests: Sequence[str], folder: Path) -> str | None:
    if len(tests) > 1:
        raise DataError(f"{folder} has several test sets ({', '.join(tests)}). Merge them, or pass --data and --test.")
    return tests[0] if tests else None


def is_shown(name: str) -> bool:
    """Whether a file or folder name is neither hidden nor one of `NO_CLASSES`."""
    return name[0] != "." and name not in NO_CLASSES


def subfolders(folder: Path) -> Sequence[str]:
    """Return the sorted names of the sub-folders that are not hidden.

    Raises:
        DataError: the folder does not exist, is a file, or can't be read.
    """
    if not folder.exists():
        raise DataError(f"there is no folder {folder}. Expected {EXPECTED}.")
    if not folder.is_dir():
        raise DataError(f"{folder} is a file. Expected a folder with {EXPECTED}.")
    try:
        return sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and is_shown(entry.name))
    except PermissionError as error:
        raise DataError(f"{folder} can't be read ({error.strerror}). Change its permissions.") from error
