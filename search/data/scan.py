"""What lies in an image folder: classes, files, contents. Nothing is decoded here."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from search.arrays import IntArray
from search.data.passes import OnProgress, each
from search.errors import DataError

EXTENSIONS: Final = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp")
EXPECTED: Final = "one sub-folder for each class, with its images in it"
LEADS_OUT: Final = "a link that leads out of the folder (--follow-links follows it)"
SPLIT_NAMES: Final = frozenset({"train", "training", "val", "valid", "validation", "test", "testing"})


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageFolder:
    """Images found, by class and content: sorted by (class, content hash, file), so that file names decide nothing."""

    path: Path
    classes: tuple[str, ...]  # in label order
    files: tuple[str, ...]  # relative to the folder, with forward slashes
    digests: tuple[str, ...]  # blake2b of each file's bytes, 32 hexadecimal digits
    labels: IntArray  # (n,) index into classes
    unopened: Mapping[str, str]  # file that can't even be read from the disk -> reason


def scan(
    folder: Path, *, classes: Sequence[str] | None = None, follow_links: bool = False, on_progress: OnProgress
) -> ImageFolder:
    """Find the images of `folder/<class>/`, however deep below it, and hash their contents.

    Hidden files and folders are skipped. Links to files are followed, links to folders only where they are a class;
    those that lead out of the folder only with `follow_links`: who packed the folder could name any file by them.
    With `classes` (a test folder) these are the classes: any part of them may be missing in the folder.

    Raises:
        DataError: no such folder; a file; no sub-folders; a single class; a class without images; sub-folders that
            are parts of a split; a class that is not among `classes`.
    """
    names = _class_names(folder, classes)
    every = [(name, file) for name in names for file in _images(folder, name)]
    found = every if follow_links else [entry for entry in every if not _leads_out(folder, *entry)]
    for name in names if classes is None else ():
        if not any(name == owner for owner, _ in found):
            if any(name == owner for owner, _ in every):
                why = (
                    f"{folder / name} has only links that lead out of {folder}. If you trust them, pass --follow-links."
                )
            else:
                why = f"{folder / name} holds no file ending in {_endings()}. Add images to it, or remove the folder."
            raise DataError(f"class {name!r} has no images: {why}")
    digests = each(lambda entry: _digest(folder / entry[1]), found, "hashing", on_progress)
    rows, unopened = [], {file: LEADS_OUT for _, file in set(every) - set(found)}
    for (name, file), digest in zip(found, digests, strict=True):
        if isinstance(digest, OSError):
            unopened[file] = digest.strerror or type(digest).__name__
        else:
            rows.append((name, digest, file))
    rows.sort()
    order = tuple(classes) if classes is not None else names
    return ImageFolder(
        path=folder,
        classes=order,
        files=tuple(file for _, _, file in rows),
        digests=tuple(digest for _, digest, _ in rows),
        labels=np.array([order.index(name) for name, _, _ in rows], dtype=np.int64),
        unopened=unopened,
    )


def _class_names(folder: Path, classes: Sequence[str] | None) -> tuple[str, ...]:
    if not folder.exists():
        raise DataError(f"there is no folder {folder}. Expected {EXPECTED}.")
    if not folder.is_dir():
        raise DataError(f"{folder} is a file. Expected a folder with {EXPECTED}.")
    try:
        names = tuple(sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and entry.name[0] != "."))
    except PermissionError as error:
        raise DataError(f"{folder} may not be read ({error.strerror}). Change its permissions.") from error
    if not names:
        raise DataError(f"{folder} has no sub-folders. Expected {EXPECTED}.")
    if classes is not None:
        if unknown := [name for name in names if name not in classes]:
            raise DataError(
                f"{folder} has a class {unknown[0]!r} that the training images don't have. "
                f"Known classes: {', '.join(classes)}. Rename or remove the sub-folder."
            )
        return names
    if all(name.casefold() in SPLIT_NAMES for name in names):
        raise DataError(
            f"the sub-folders of {folder} ({', '.join(names)}) are parts of a split, not classes. "
            f"Pass one of them, such as --data {folder / names[-1]}."
        )
    if len(names) == 1:
        raise DataError(
            f"{folder} has one class only ({names[0]!r}); there is nothing to tell apart. "
            "Expected at least two sub-folders, one for each class."
        )
    return names


def _images(folder: Path, name: str) -> list[str]:
    """Image files of a class, relative to the folder."""
    files = []
    for parent, folders, names in os.walk(folder / name):
        folders[:] = [entry for entry in folders if entry[0] != "."]
        for entry in names:
            path = Path(parent, entry)
            if entry[0] != "." and path.suffix.lower() in EXTENSIONS and (path.is_file() or path.is_symlink()):
                files.append(path.relative_to(folder).as_posix())
    return files


def _leads_out(folder: Path, name: str, file: str) -> bool:
    """Whether an image of the class `name` lies elsewhere, and is here by a link."""
    path = folder / file
    return ((folder / name).is_symlink() or path.is_symlink()) and not _is_inside(path, folder)


def _is_inside(path: Path, folder: Path) -> bool:
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))  # which bears loops


def _digest(path: Path) -> str | OSError:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
    except OSError as error:
        return error


def _endings() -> str:
    return ", ".join(EXTENSIONS[:-1]) + " or " + EXTENSIONS[-1]
