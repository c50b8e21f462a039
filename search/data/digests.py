"""Digests of the contents of files; a file is only read again after its size, inode or times have changed."""

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
"""Age in nanoseconds from which a file's digest is cached: some file systems only store times to 2 s."""

Seen = tuple[int, int, int, int]


def digests(folder: Path, files: Sequence[str], on_progress: OnProgress) -> list[str | OSError]:
    """Return the blake2b digest of each file's bytes.

    Digests are cached with the file's size, inode, mtime and ctime. The ctime is included because a user can set the
    mtime back after changing a file.

    Args:
        folder: the folder that holds the files.
        files: paths of the files, relative to `folder`.
        on_progress: called after each file that had to be read; see `OnProgress`.

    Returns:
        32 hexadecimal digits for each file in the order of `files`, or the OSError of a file that can't be read.

    Raises:
        DataError: the cache folder can't be written.
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
    """Size, inode, mtime and ctime of a file; None if they can't be read."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_size, status.st_ino, status.st_mtime_ns, status.st_ctime_ns


def _digest(path: Path) -> str | OSError:
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # a pipe would be waited for
            return OSError(errno.EINVAL, "not a regular file but a device, a pipe or a folder")
        return disk_cache.digest_of(path)
    except OSError as error:
        return error
