"""Scan of an image folder for its classes, files and digests of their contents. Nothing is decoded."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from search.arrays import IntArray
from search.data.csv_columns import Column, composed, names_none, read_column
from search.data.digests import digests
from search.data.layout import EXPECTED, Layout, is_shown, layout, subfolders, test_part
from search.data.parallel import OnProgress
from search.errors import DataError

_log = logging.getLogger(__name__)

EXTENSIONS: Final = (".png", ".jpg", ".jpeg", ".jfif", ".bmp", ".gif", ".tif", ".tiff", ".webp")
_OTHERS: Final = frozenset(
    ".avif .cr2 .dcm .dng .heic .heif .ico .jp2 .jxl .mpo .nef .pbm .pcx .pgm .pnm .ppm .psd .svg .tga .xbm".split()
)
"""Endings of images in formats that are not read."""
_STARTS: Final = {
    ".png": re.compile(rb"\x89PNG\r\n"),
    ".jpg": re.compile(rb"\xff\xd8\xff"),
    ".gif": re.compile(rb"GIF8[79]a"),
    ".tif": re.compile(rb"II\*\0|MM\0\*"),
    ".webp": re.compile(rb"RIFF....WEBP", re.DOTALL),
    ".bmp": re.compile(rb"BM.{4}\0{4}", re.DOTALL),
}
"""First bytes of the formats that are read."""
LABEL: Final = Column(("label", "class", "category", "target", "diagnosis"), "label file", "classes")
_LINKED: Final = "links to folders are only followed if they are a class: replace the link by the folder itself"
LEADS_OUT: Final = "a link to a place outside the folder (--follow-links reads it)"
"""Reason why a link is not followed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageFolder:
    """The n image files of a folder, sorted by (class, digest, file), so that renaming a file changes nothing."""

    path: Path
    classes: tuple[str, ...]  # in label order
    files: tuple[str, ...]  # n paths relative to the folder, with forward slashes
    digests: tuple[str, ...]  # n blake2b digests of the files' bytes, 32 hexadecimal digits each
    labels: IntArray  # (n,) int64 index into classes
    unopened: Mapping[str, str]  # file that was not opened or can't be read from the disk -> reason
    test: Path | None = None  # test folder of a `train/ val/ test/` layout, which is set aside
    unlabelled: tuple[str, ...] = ()  # images that the CSV of labels does not name
    missing_files: tuple[str, ...] = ()  # file names in the CSV of labels for which there is no image
    table: Path | None = None  # CSV of the labels; None if sub-folders are the classes


def scan(
    folder: Path,
    *,
    classes: Sequence[str] | None = None,
    labels: Path | None = None,
    follow_links: bool = False,
    on_progress: OnProgress,
) -> ImageFolder:
    """Find the images of `folder/<class>/`, however deep below it, and hash their contents.

    In a `train/ val/ test/` layout the images of `folder/train/<class>/` and `folder/val/<class>/` are found. With
    `labels` the images may lie anywhere in the folder; images that the CSV does not name are left out, and those
    below `folder/test` are set aside if there is a `folder/train` too.

    Hidden files and folders are skipped. Links to files are followed, links to folders only if they are a class, and
    links to places outside the folder only with `follow_links`, as a downloaded folder could point to any file.

    Args:
        folder: the image folder.
        classes: names of the training classes if `folder` is a test folder, which may lack some of them; None: the
            classes are those that the folder or the CSV has.
        labels: CSV file with the columns `file` and `label`; None: sub-folders are the classes. If it names no image of
            a test folder, the sub-folders of that folder are its classes.
        follow_links: follow links to places outside the folder.
        on_progress: called after each hashed file; see `OnProgress`.

    Raises:
        DataError: the folder does not exist, is a file, or has no sub-folders; there is only one class, a class without
            images or one that is not in `classes`; the CSV of labels can't be used.
    """
    class_layout = layout(folder) if classes is None and labels is None else Layout((".",))
    for part in class_layout.flat:
        _log.warning("%s has no sub-folders for classes and is ignored.", folder / part)
    by_table = None if labels is None else _labelled(folder, labels, classes)
    if by_table is None:
        names, class_folders = _classes(folder, class_layout, classes)
        every: list[tuple[str, str, str]] = []
        unread: dict[str, str] = {}
        for name, place in class_folders:
            files, others = images_in(folder, place)
            every += [(name, place, file) for file in files]
            unread |= others
    else:
        names, every, unread = by_table.names, by_table.every, by_table.unread
        class_folders, class_layout = [(name, ".") for name in names], Layout((".",), by_table.test)
    entries = every if follow_links else [entry for entry in every if not leads_out(folder, *entry[1:])]
    for name in names if classes is None else ():
        if not any(name == owner for owner, _, _ in entries):
            location = next(folder / place for owner, place in class_folders if owner == name)
            if any(name == owner for owner, _, _ in every):
                why = f"{location} has only links to places outside {folder}. If you trust them, pass --follow-links."
            else:
                why = f"{location} holds no file ending in {_endings()}. Add images to it, or remove the folder."
            raise DataError(f"class {name!r} has no images: {why}")
    test = class_layout.test
    if test is not None and not follow_links and not _is_inside(folder / test, folder):
        unread[test], test = LEADS_OUT, None
    results = digests(folder, [file for *_, file in entries], on_progress)
    rows, unopened = [], {file: LEADS_OUT for _, _, file in set(every) - set(entries)}
    unopened |= unread
    for (name, _, file), digest in zip(entries, results, strict=True):
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
        test=None if test is None else folder / test,
        unlabelled=() if by_table is None else by_table.unlabelled,
        missing_files=() if by_table is None else by_table.missing_files,
        table=None if by_table is None else labels,
    )


def _classes(
    folder: Path, class_layout: Layout, classes: Sequence[str] | None
) -> tuple[tuple[str, ...], list[tuple[str, str]]]:
    """Names of the classes, and for each class folder its class and its path in the image folder."""
    class_folders = [
        (composed(name), name if part == "." else f"{part}/{name}")
        for part in class_layout.parts
        for name in subfolders(folder / part)
    ]
    names = tuple(sorted({name for name, _ in class_folders}))
    if not names:
        raise DataError(f"{folder} has no sub-folders. Expected {EXPECTED}.")
    _check_names(names, classes, folder, "Rename or remove the sub-folder", "two sub-folders, one for each class")
    return names, class_folders


@dataclass(frozen=True, slots=True)
class _Labelled:
    """The images of a folder that a CSV of labels names.

    Attributes:
        names: the classes.
        every: (class, ".", file) of each labelled image.
        unread: files and folders that may hold images but are not read -> reason.
        test: name of the test folder, whose images are set aside; None if none of them is labelled.
        unlabelled: images that the CSV does not name.
        missing_files: file names in the CSV for which there is no image.
    """

    names: tuple[str, ...]
    every: list[tuple[str, str, str]]
    unread: dict[str, str]
    test: str | None
    unlabelled: tuple[str, ...]
    missing_files: tuple[str, ...]


def _labelled(folder: Path, table: Path, classes: Sequence[str] | None) -> _Labelled | None:
    """The images that a CSV names; None for a test folder with sub-folders of which it names no image."""
    below = subfolders(folder)  # which complains where there is no folder to read
    files, unread = images_in(folder, ".")
    column = read_column(table, LABEL, folder=folder, files=files, endings=EXTENSIONS)
    by_file = column.by_file
    if not by_file:
        if classes is not None and below:
            return None
        raise names_none(table, folder, files)
    unlabelled = tuple(file for file in files if file not in by_file)
    if unlabelled:
        _log.warning("Left out %d of %d images in %s that are not in %s.", len(unlabelled), len(files), folder, table)
    part = test_part(folder) if classes is None else None
    label_of = {file: name for file, name in by_file.items() if part is None or not file.startswith(f"{part}/")}
    names = tuple(sorted(set(label_of.values())))
    _check_names(names, classes, table, "Correct the label", "two labels")
    every = [(name, ".", file) for file, name in label_of.items()]
    labelled_test = part if len(label_of) < len(by_file) else None
    return _Labelled(names, every, unread, labelled_test, unlabelled, column.missing_files)


def _check_names(names: Sequence[str], classes: Sequence[str] | None, where: Path, mend: str, expected: str) -> None:
    if classes is not None:
        if unknown := [name for name in names if name not in classes]:
            raise DataError(
                f"{where} has a class {unknown[0]!r} that the training images don't have. "
                f"Known classes: {', '.join(classes)}. {mend}."
            )
    elif len(names) == 1:
        raise DataError(f"{where} has only one class ({names[0]!r}). Expected at least {expected}.")


def images_in(folder: Path, place: str) -> tuple[list[str], dict[str, str]]:
    """Find the image files below `folder/place`, at any depth; hidden files and folders are skipped.

    Args:
        folder: the image folder.
        place: sub-folder to look in, relative to `folder`; "." for `folder` itself.

    Returns:
        The paths of the image files relative to `folder`, and the files and folders that may hold images but are not
        read -> reason.
    """
    files: list[str] = []
    others: dict[str, str] = {}
    for parent, folders, names in os.walk(folder / place):
        folders[:] = [entry for entry in folders if is_shown(entry)]
        links = [entry for entry in folders if Path(parent, entry).is_symlink()]
        others |= {Path(parent, entry).relative_to(folder).as_posix(): _LINKED for entry in links}
        for entry in names:
            path = Path(parent, entry)
            if entry[0] == ".":
                continue
            if path.suffix.lower() in EXTENSIONS and (path.is_file() or path.is_symlink()):
                files.append(path.relative_to(folder).as_posix())
            elif why := _passed_over(path):
                others[path.relative_to(folder).as_posix()] = why
    return files, others


def _passed_over(path: Path) -> str:
    """The reason why a file that may hold an image is not read; "" for a file that holds none."""
    ending = path.suffix.lower()
    if ending in _OTHERS:
        return f"{ending} images are not supported: convert them to png or jpg"
    if path.is_symlink() or not path.is_file():
        return ""
    try:
        with path.open("rb") as file:
            start = file.read(16)
    except OSError:
        return ""
    named = next((ending for ending, known in _STARTS.items() if known.match(start)), None)
    return f"is an image without the ending of one: rename it to end in {named}" if named else ""


def leads_out(folder: Path, place: str, file: str) -> bool:
    """Whether an image is reached through a link to a place outside the folder.

    Args:
        folder: the image folder.
        place: sub-folder that the image was found in, relative to `folder`.
        file: path of the image, relative to `folder`.
    """
    path, above = folder / file, [folder / part for part in [Path(place), *Path(place).parents]]
    is_linked = path.is_symlink() or any(part.is_symlink() for part in above if part != folder)
    return is_linked and not _is_inside(path, folder)


def _is_inside(path: Path, folder: Path) -> bool:
    return Path(os.path.realpath(path)).is_relative_to(
        os.path.realpath(folder)
    )  # unlike Path.resolve, it accepts loops of links


def _endings() -> str:
    return ", ".join(EXTENSIONS[:-1]) + " or " + EXTENSIONS[-1]
