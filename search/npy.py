"""The one door to NumPy's `.npy` files: never a pickle, and one thread at a time.

Python 3.11 counts the depth of what it parses for all threads together, and a header of NumPy is parsed as syntax: two
threads that read at once can end with a `SystemError` (CPython issue 106905).
"""

from __future__ import annotations

import io
import threading
from pathlib import Path
from typing import Any, Final

import numpy as np

_PARSING: Final = threading.Lock()


def unpacked(data: bytes) -> np.ndarray[Any, Any]:
    """The array of the bytes of a `.npy` file.

    Raises:
        ValueError: they are none, or hold pickled objects.
    """
    with _PARSING:
        return np.load(io.BytesIO(data), allow_pickle=False)  # type: ignore[no-any-return]


def packed(array: np.ndarray[Any, Any]) -> bytes:
    """The bytes of a `.npy` file."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def mapped(path: Path) -> np.ndarray[Any, Any]:
    """The array of a `.npy` file, mapped read-only.

    Raises:
        ValueError: the file is none, or holds pickled objects.
        OSError: it can't be read.
    """
    with _PARSING:
        return np.load(path, mmap_mode="r", allow_pickle=False)  # type: ignore[no-any-return]
