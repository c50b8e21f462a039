"""The only reader and writer of NumPy's `.npy` format: never a pickle, and one thread at a time.

Python 3.11 counts the depth of what it parses for all threads together, and a header of NumPy is parsed as syntax: two
threads that read at once can end with a `SystemError` (CPython issue 106905).
"""

from __future__ import annotations

import io
import math
import threading
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np

_PARSING: Final = threading.Lock()
_FIRST_VERSION: Final = b"\x93NUMPY\x01\x00"
_BEGINS: Final = len(_FIRST_VERSION)


def decode_npy(data: bytes) -> np.ndarray[Any, Any]:
    """Decode the bytes of a `.npy` file into a writable array that shares no memory with `data`.

    Raises:
        ValueError: `data` is not in the `.npy` format, or holds pickled objects.
    """
    if data[:_BEGINS] != _FIRST_VERSION:
        with _PARSING:
            return np.lib.format.read_array(io.BytesIO(data), allow_pickle=False)
    start = _BEGINS + 2 + int.from_bytes(data[_BEGINS : _BEGINS + 2], "little")
    shape, is_fortran, dtype = _header(data[:start])
    flat = np.frombuffer(data, dtype, math.prod(shape), start).copy()
    return flat.reshape(shape, order="F" if is_fortran else "C")


@lru_cache(maxsize=1024)
def _header(data: bytes) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, order and dtype. A study has a few headers and tens of thousands of arrays: each is parsed once."""
    with _PARSING:
        stream = io.BytesIO(data)
        np.lib.format.read_magic(stream)
        shape, is_fortran, dtype = np.lib.format.read_array_header_1_0(stream)
    if dtype.hasobject or any(side < 0 for side in shape):
        raise ValueError("an array of plain values is expected")
    return shape, is_fortran, dtype


def encode_npy(array: np.ndarray[Any, Any]) -> bytes:
    """Encode an array as the bytes of a `.npy` file.

    Raises:
        ValueError: the array holds Python objects.
    """
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def memmap_npy(path: Path) -> np.ndarray[Any, Any]:
    """Map the array of a `.npy` file into memory, read-only.

    Raises:
        ValueError: the file is not in the `.npy` format, or holds pickled objects.
        OSError: the file can't be read.
    """
    with _PARSING:
        return np.load(path, mmap_mode="r", allow_pickle=False)  # type: ignore[no-any-return]
