"""A disk cache for JSON values, arrays and files. An entry's name is a digest of all inputs of its content.

Files are written under a temporary name and then renamed, so that processes that build the same entry don't clash. A
damaged entry counts as missing.
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
"""Age in seconds at which a half-written file is removed, as the process that wrote it must have been killed."""


def cache_folder() -> Path:
    """Return the cache folder: `$STEADYNET_CACHE`, else `$XDG_CACHE_HOME/steadynet`, else `~/.cache/steadynet`."""
    if own := os.environ.get("STEADYNET_CACHE"):
        return Path(own).expanduser()
    if shared := os.environ.get("XDG_CACHE_HOME"):
        return Path(shared) / "steadynet"
    return Path.home() / ".cache" / "steadynet"


def cached(kind: str, parts: Any, make: Callable[[], Any], parse: Callable[[Any], Kept]) -> Kept:
    """Return a value from the cache, or compute and store it.

    Args:
        kind: what the entry holds, such as "folds"; part of its name.
        parts: JSON values that determine the content.
        make: computes the content as JSON values; called if there is no sound entry.
        parse: converts the stored JSON values to the value; any exception marks the entry as damaged.

    Raises:
        DataError: the cache folder can't be written.
    """
    name = f"{entry_name([kind, parts])}.{kind}.json"
    stored = plain(name, parse)
    if stored is None:
        value = make()
        keep_plain(name, value)
        stored = parse(value)
    return stored


def plain(name: str, parse: Callable[[Any], Kept]) -> Kept | None:
    """Read JSON values from the cache; None if there is no such entry or it is damaged.

    Args:
        name: file name of the entry.
        parse: converts the stored JSON values to the result; any exception marks the entry as damaged.

    Raises:
        DataError: the cache folder can't be created.
    """
    path = entry(name)
    try:
        return parse(json.loads(path.read_text()))
    except FileNotFoundError:
        return None
    except Exception as error:  # a damaged file can break the parser anywhere
        _log.info("The cache entry %s is damaged (%s) and is built again.", path.name, error)
        return None


def keep_plain(name: str, value: Any) -> None:
    """Write JSON values to the cache entry with the file name `name`.

    Raises:
        DataError: the cache folder can't be written.
    """
    with replacing(entry(name)) as file:
        file.write(json.dumps(value).encode())


def entry_name(parts: Any) -> str:
    """Return the entry name, 32 hexadecimal digits, of content that is determined by the JSON values `parts`."""
    return hashlib.blake2b(json.dumps(parts).encode(), digest_size=16).hexdigest()


def digest_of(path: Path) -> str:
    """Return the blake2b digest of a file's bytes, 32 hexadecimal digits.

    Raises:
        OSError: the file can't be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def stamp_of(path: Path) -> list[int]:
    """Return inode, size in bytes and mtime in nanoseconds of a file, at least one of which changes on every write.

    Raises:
        OSError: there is no such file.
    """
    stat = path.stat()
    return [stat.st_ino, stat.st_size, stat.st_mtime_ns]


def arrays(name: str, parse: Callable[[dict[str, np.ndarray[Any, Any]]], Kept]) -> Kept | None:
    """Read arrays from the cache; None if there is no such entry or it is damaged.

    Args:
        name: file name of the entry.
        parse: converts the stored arrays, by name, to the result; any exception marks the entry as damaged.

    Raises:
        DataError: the cache folder can't be created.
    """
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
    """Write named arrays to the cache entry with the file name `name`, an `.npz` file.

    Raises:
        DataError: the cache folder can't be written.
    """
    with replacing(entry(name)) as file:
        np.savez(file, **values)  # type: ignore[arg-type]


def array_file(name: str, shape: Sequence[int], make: Callable[[], np.ndarray[Any, Any]]) -> Path:
    """Return the path of a cached `.npy` file; the array is computed and written if it is not in the cache.

    Args:
        name: file name of the entry.
        shape: shape of the array; a stored array of another shape is replaced.
        make: computes the array.

    Raises:
        DataError: the cache folder can't be written.
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
    """Return the path of the cache entry with the file name `name`, which need not exist. Creates the cache folder.

    Raises:
        DataError: the cache folder can't be created.
    """
    folder = cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(folder, error) from error
    return folder / name


@contextmanager
def replacing(target: Path) -> Iterator[BinaryIO]:
    """Yield a temporary file that replaces `target` when the `with` block ends; it is removed if the block raises.

    Raises:
        DataError: the file can't be written.
    """
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
        "Free some space, or set STEADYNET_CACHE to a writable folder."
    )
