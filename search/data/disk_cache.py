"""A cache on the disk for JSON values, arrays and files, each under a name made of all that decides its content.

Files are written under a name of their own and then renamed, so that two processes that make the same entry only repeat
work. A damaged entry counts as missing.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Final, TypeVar

import numpy as np

from search.errors import DataError
from search.npy import memmap_npy

_log = logging.getLogger(__name__)

Kept = TypeVar("Kept")

STALE_SECONDS: Final = 86_400
"""Age at which a half-written file is taken for the remains of a killed process."""


def cache_folder() -> Path:
    """`$STEADYNET_CACHE`, else `$XDG_CACHE_HOME/steadynet`, else `~/.cache/steadynet`."""
    if own := os.environ.get("STEADYNET_CACHE"):
        return Path(own).expanduser()
    if shared := os.environ.get("XDG_CACHE_HOME"):
        return Path(shared) / "steadynet"
    return Path.home() / ".cache" / "steadynet"


def cached(kind: str, parts: Any, make: Callable[[], Any], parse: Callable[[Any], Kept]) -> Kept:
    """Return a value from the cache, or make and store it.

    Args:
        kind: part of the entry's name.
        parts: JSON values that decide the content.
        make: returns the content as JSON values.
        parse: turns the content into the value; an error marks the entry as damaged.
    """
    name = f"{entry_name([kind, parts])}.{kind}.json"
    stored = plain(name, parse)
    if stored is None:
        value = make()
        keep_plain(name, value)
        stored = parse(value)
    return stored


def plain(name: str, parse: Callable[[Any], Kept]) -> Kept | None:
    """Return the parsed JSON values stored under a name; None if there are none, or damaged ones."""
    path = entry(name)
    try:
        return parse(json.loads(path.read_text()))
    except FileNotFoundError:
        return None
    except Exception as error:  # a damaged file can break the parser anywhere
        _log.info("The cache entry %s is damaged (%s) and is built again.", path.name, error)
        return None


def keep_plain(name: str, value: Any) -> None:
    """Store JSON values under a name. Raises DataError if they can't be written."""
    with replacing(entry(name)) as file:
        file.write(json.dumps(value).encode())


def entry_name(parts: Any) -> str:
    """Return the name, 32 hexadecimal digits, of content that depends on these JSON values only."""
    return hashlib.blake2b(json.dumps(parts).encode(), digest_size=16).hexdigest()


def digest_of(path: Path) -> str:
    """Return the blake2b digest of a file, 32 hexadecimal digits. Raises OSError if it can't be read."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def stamp_of(path: Path) -> list[int]:
    """Return what changes when a file is written: inode, size in bytes, and time of the last write in ns."""
    stat = path.stat()
    return [stat.st_ino, stat.st_size, stat.st_mtime_ns]


def arrays(name: str, parse: Callable[[dict[str, np.ndarray[Any, Any]]], Kept]) -> Kept | None:
    """Return the parsed arrays stored under a name; None if there are none, or damaged ones."""
    path = entry(name)
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as held:
            return parse({key: held[key] for key in held.files})
    except FileNotFoundError:
        return None
    except Exception as error:  # a damaged file can break the parser anywhere
        _log.info("The cache entry %s is damaged (%s) and is built again.", path.name, error)
        return None


def keep_arrays(name: str, values: Mapping[str, np.ndarray[Any, Any]]) -> None:
    """Store arrays under a name, in one file. Raises DataError if they can't be written."""
    with replacing(entry(name)) as file:
        np.savez(file, **values)  # type: ignore[arg-type]


def array_file(name: str, shape: Sequence[int], make: Callable[[], np.ndarray[Any, Any]]) -> Path:
    """Return the path of an array's `.npy` file, made now if there is none in the cache.

    Args:
        name: of the file.
        shape: of the array; a stored one of another shape is replaced.
        make: returns the array.

    Raises:
        DataError: it can't be written.
    """
    path = entry(name)
    try:
        is_stored = path.is_file() and memmap_npy(path).shape == tuple(shape)
    except (ValueError, OSError) as error:
        is_stored = False
        _log.info("The cache entry %s is damaged (%s) and is built again.", path.name, error)
    if not is_stored:
        values = make()
        with replacing(path) as file:
            np.save(file, values, allow_pickle=False)
    return path


def entry(name: str) -> Path:
    """Return the path of an entry, which need not exist. Raises DataError if the cache folder can't be made."""
    folder = cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(folder, error) from error
    return folder / name


@contextmanager
def replacing(target: Path) -> Iterator[BinaryIO]:
    """Yield a new file that replaces `target` when the `with` block ends, and is removed if the block raises."""
    _sweep(target.parent)
    try:
        with tempfile.NamedTemporaryFile(dir=target.parent, prefix=target.stem, suffix=".part", delete=False) as file:
            part = Path(file.name)
            try:
                yield file  # type: ignore[misc]
                file.flush()
                part.replace(target)
            finally:
                part.unlink(missing_ok=True)
    except OSError as error:
        raise _unwritable(target.parent, error) from error


def _sweep(folder: Path) -> None:
    for part in folder.glob("*.part"):
        try:
            if time.time() - part.stat().st_mtime > STALE_SECONDS:
                part.unlink(missing_ok=True)
        except FileNotFoundError:  # another process was faster
            continue


def _unwritable(folder: Path, error: OSError) -> DataError:
    return DataError(
        f"the image cache {folder} can't be written ({error.strerror}). "
        "Free some space, or set STEADYNET_CACHE to a folder that can be written."
    )
