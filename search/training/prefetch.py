"""Images of the coming steps, fetched from the disk before they are needed: for folders larger than memory.

The order of an epoch is known when it begins. Left to itself, the system reads a mapped file where it is touched, one
place after the other, each time with a piece of what lies behind it, which at random places is read in vain.
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
"""Bytes from which on a file of images is fetched so; smaller ones stay in memory once they have been read."""

_LEAD: Final = 128_000_000  # bytes that are fetched before they are needed
_PATIENCE: Final = 0.01  # seconds between two looks at how far the epoch is


class Prefetcher:
    """Fetches rows of one `.npy` file.

    Args:
        path: of an array with the rows along its first axis.
    """

    def __init__(self, path: Path) -> None:
        array = memmap_npy(path)
        self._bytes = int(array.nbytes // max(1, len(array)))
        self._start = int(getattr(array, "offset", 0))
        self._path = path

    def epoch(self, rows: np.ndarray[Any, Any], done: Callable[[], int]) -> AbstractContextManager[None]:
        """Inside, rows of coming steps are fetched, not too far ahead of the steps that are done.

        Args:
            rows: (steps, batch).
            done: finished steps since it began.
        """
        return beside(lambda over: self._fetch(rows, done, over))

    def _fetch(self, rows: np.ndarray[Any, Any], done: Callable[[], int], over: threading.Event) -> None:
        lead = max(2, _LEAD // max(1, self._bytes * rows.shape[1]))
        file = os.open(self._path, os.O_RDONLY)
        try:
            for step, batch in enumerate(rows):
                while step > done() + lead:
                    if over.wait(_PATIENCE):
                        return
                if over.is_set():
                    return
                for row in np.sort(batch).tolist():
                    os.posix_fadvise(file, self._start + row * self._bytes, self._bytes, os.POSIX_FADV_WILLNEED)
        finally:
            os.close(file)


def prefetcher_for(path: Path) -> Prefetcher | None:
    """For a large file, where the system can be told what comes; None: not needed, or not possible."""
    possible = hasattr(os, "posix_fadvise")
    return Prefetcher(path) if possible and path.stat().st_size >= LARGE else None


def touched_at_random(array: np.ndarray[Any, Any]) -> None:
    """Have the system read of a mapped file only what is touched, not what lies behind it as well."""
    mapping = getattr(array, "_mmap", None)
    if mapping is not None and hasattr(mmap, "MADV_RANDOM"):
        mapping.madvise(mmap.MADV_RANDOM)
