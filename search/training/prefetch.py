"""Prefetching of the images of coming steps from the disk, for image sets larger than memory.

The order of an epoch is known when it begins. Without prefetching, the system reads a mapped file at each access, one
after the other, together with the following pages, which random access does not need.
"""

from __future__ import annotations

import mmap
import os
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Final

import numpy as np

from search.background import beside
from search.npy import memmap_npy

LARGE: Final = 1_000_000_000
"""Size in bytes from which a file of images is prefetched; smaller files stay in memory once they are read."""

_LEAD_BYTES: Final = 128_000_000  # fetched before they are needed
_POLL_SECONDS: Final = 0.01


class Prefetcher:
    """Reads rows of a `.npy` file into the system's page cache before they are needed.

    Args:
        path: file of an array whose first axis is the row.
    """

    def __init__(self, path: Path) -> None:
        array = memmap_npy(path)
        self._bytes = int(array.nbytes // max(1, len(array)))
        self._start = int(getattr(array, "offset", 0))
        self._path = path

    def epoch(self, rows: np.ndarray[Any, Any], done: Callable[[], int]) -> AbstractContextManager[None]:
        """Return a context manager that prefetches the rows of an epoch, at most about 128 MB ahead of training.

        Args:
            rows: `(steps, batch)` row numbers in the order of the epoch.
            done: returns the number of steps finished since the start of the epoch.
        """
        return beside(lambda over: self._fetch(rows, done, over))

    def _fetch(self, rows: np.ndarray[Any, Any], done: Callable[[], int], over: threading.Event) -> None:
        lead = max(2, _LEAD_BYTES // max(1, self._bytes * rows.shape[1]))
        file = os.open(self._path, os.O_RDONLY)
        try:
            for step, batch in enumerate(rows):
                while step > done() + lead:
                    if over.wait(_POLL_SECONDS):
                        return
                if over.is_set():
                    return
                for row in np.sort(batch).tolist():
                    os.posix_fadvise(file, self._start + row * self._bytes, self._bytes, os.POSIX_FADV_WILLNEED)
        finally:
            os.close(file)


def prefetcher_for(path: Path) -> Prefetcher | None:
    """Return a prefetcher of a `.npy` file; None if the file is small or the system has no `posix_fadvise`."""
    possible = hasattr(os, "posix_fadvise")
    return Prefetcher(path) if possible and path.stat().st_size >= LARGE else None


def advise_random_access(array: np.ndarray[Any, Any]) -> None:
    """Tell the system to read only accessed pages of a memory-mapped array; ignored for other arrays."""
    mapping = getattr(array, "_mmap", None)
    if mapping is not None and hasattr(mmap, "MADV_RANDOM"):
        mapping.madvise(mmap.MADV_RANDOM)
