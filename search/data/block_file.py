"""A cached array that several processes fill block by block, and that is gone on with after a kill."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from filelock import FileLock

from search.arrays import FloatArray
from search.data import disk_cache
from search.errors import DataError
from search.npy import memmap_npy

BLOCK: Final = 256
"""Rows of a block."""


class BlockFile:
    """A float32 array in the disk cache, of which blocks of `BLOCK` rows are written one by one, in any order.

    The array is one `.npy` file of its full size from the beginning. A second file lists the blocks that are done, and
    is appended to only when a block is on the disk: a kill costs the block that was being written.

    Args:
        name: name of the entry, without an ending.
        shape: shape of the array; the first axis is divided into blocks.
    """

    def __init__(self, name: str, shape: Sequence[int]) -> None:
        self._shape = tuple(shape)
        self.path: Path = disk_cache.entry(f"{name}.npy")
        self._done: Path = disk_cache.entry(f"{name}.done")

    @property
    def blocks(self) -> int:
        """Number of blocks; the last one may be shorter."""
        return math.ceil(self._shape[0] / BLOCK)

    def rows(self, block: int) -> slice:
        """Return the rows of a block, 0..`blocks` - 1."""
        return slice(block * BLOCK, min((block + 1) * BLOCK, self._shape[0]))

    def missing(self) -> list[int]:
        """Return the blocks that are still to be written, in order."""
        if not self._is_sound():
            return list(range(self.blocks))
        try:
            lines = self._done.read_text().split()
        except OSError:
            lines = []
        done = {int(line) for line in lines if line.isdecimal()}
        return [block for block in range(self.blocks) if block not in done]

    def write(self, block: int, values: FloatArray) -> None:
        """Write a block to the disk.

        Args:
            block: number of the block.
            values: its rows, float32.

        Raises:
            DataError: the disk is full or can't be written.
            ValueError: the block has another shape.
        """
        rows = self.rows(block)
        if values.shape != (rows.stop - rows.start, *self._shape[1:]):
            wanted = (rows.stop - rows.start, *self._shape[1:])
            raise ValueError(f"block {block} has the shape {wanted}, got {values.shape}")
        try:
            self._begin()
            array = np.lib.format.open_memmap(self.path, mode="r+")
            array[rows] = values
            array.flush()
            del array
            handle = os.open(self._done, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
            try:
                os.write(handle, f"{block}\n".encode())  # a line this short is written as a whole
            finally:
                os.close(handle)
        except OSError as error:
            raise DataError(
                f"the image cache {self.path.parent} can't be written ({error.strerror}). Free some space, or set "
                "STEADYNET_CACHE to a writable folder."
            ) from error

    def array(self) -> np.ndarray[Any, Any]:
        """Return the whole array, mapped read-only; blocks that are missing are zeros."""
        return memmap_npy(self.path)

    def _is_sound(self) -> bool:
        try:
            return bool(memmap_npy(self.path).shape == self._shape)
        except (OSError, ValueError):
            return False

    def _begin(self) -> None:
        """Write a file of the full size and forget what was done before, unless there is a sound one."""
        with FileLock(f"{self.path}.lock"):  # of two processes that begin, the second must not undo the first
            if self._is_sound():
                return
            self._done.unlink(missing_ok=True)
            with disk_cache.replacing(self.path) as file:
                header = {"descr": "<f4", "fortran_order": False, "shape": self._shape}
                np.lib.format.write_array_header_1_0(file, header)
                size = 4 * math.prod(self._shape)
                if hasattr(os, "posix_fallocate"):  # so that a full disk shows itself here, not in a mapped page
                    os.posix_fallocate(file.fileno(), file.tell(), size)
                else:
                    file.truncate(file.tell() + size)
