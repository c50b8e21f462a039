"""Digests of files' contents, read once: a file that its file system says was not touched is not read again."""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from search.data import disk_cache
from search.data.parallel import OnProgress, map_in_threads

_SURE_AFTER: Final = 2_000_000_000
"""Nanoseconds that a file must be old when it is read: times of some file systems are as coarse as that."""

Seen = tuple[int, int, int, int]


def digests(folder: Path, files: Sequence[str], on_progress: OnProgress) -> list[str | OSError]:
    """blake2b of each file's bytes, 32 hexadecimal digits; the error of one that can't be read.

    What was read is remembered with size, inode and the times of the last change of contents and of anything else: the
    latter can't be set back by whoever changes a file.

    Args:
        folder: that the files lie in.
        files: relative to it.
        on_progress: told of each file that has to be read.

    Raises:
        DataError: the cache can't be written.
    """
    name = f"{disk_cache.entry_name(['digests', os.path.realpath(folder)])}.digests.json"
    remembered = disk_cache.plain(name, _parsed) or {}
    marks = [_seen(folder / file) for file in files]
    results: list[str | OSError | None] = [
        remembered[file][4] if file in remembered and remembered[file][:4] == mark else None
        for file, mark in zip(files, marks, strict=True)
    ]
    missing = [index for index, digest in enumerate(results) if digest is None]
    if not missing:
        return [digest for digest in results if digest is not None]
    now = time.time_ns()
    paths = [folder / files[index] for index in missing]
    for index, digest in zip(missing, map_in_threads(_digest, paths, "hashing", on_progress), strict=True):
        results[index] = digest
    to_remember = {
        file: [*mark, digest]
        for file, mark, digest in zip(files, marks, results, strict=True)
        if mark is not None and isinstance(digest, str) and max(mark[2:]) < now - _SURE_AFTER
    }
    if to_remember:
        disk_cache.keep_plain(name, to_remember)
    return [digest for digest in results if digest is not None]


def _parsed(value: Any) -> dict[str, tuple[int, int, int, int, str]]:
    return {
        str(file): (int(size), int(inode), int(written), int(changed), str(digest))
        for file, (size, inode, written, changed, digest) in value.items()
    }


def _seen(path: Path) -> Seen | None:
    """What the file system says of a file; None where it says nothing."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_size, status.st_ino, status.st_mtime_ns, status.st_ctime_ns


def _digest(path: Path) -> str | OSError:
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # a pipe would be waited for
            return OSError(errno.EINVAL, "no file but a device, a pipe or a folder")
        return disk_cache.digest_of(path)
    except OSError as error:
        return error
