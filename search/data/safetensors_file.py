"""Reading of safetensors files: a header of JSON with names, types and shapes, and then the numbers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import ml_dtypes  # noqa: F401  # from here on NumPy knows bfloat16
import numpy as np
from safetensors import SafetensorError, safe_open

from search.arrays import FloatArray

_FLOATS: Final = ("F32", "F16", "BF16")
_MOST_LETTERS: Final = 200  # of an error


class SafetensorsFileError(ValueError):
    """Error for a file that is no safetensors file, is damaged, or has other tensors than expected."""


def safetensors_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Return name -> shape of the tensors of a file. Only the header is read.

    A header whose tensors overlap, leave gaps, or don't end where the file ends is refused.

    Raises:
        SafetensorsFileError: the header can't be read.
        OSError: the file can't be read.
    """
    with _opened(path) as file:
        return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}


def read_safetensors(path: Path, names: Iterable[str]) -> dict[str, FloatArray]:
    """Read tensors of a file; others are not read.

    Args:
        path: the file.
        names: names of the tensors, which must be of float32, float16 or bfloat16.

    Returns:
        Name -> float32 array.

    Raises:
        SafetensorsFileError: the file can't be read as tensors, one is missing, or it is of another type.
        OSError: the file can't be read.
    """
    arrays = {}
    with _opened(path) as file:
        for name in names:
            if (dtype := file.get_slice(name).get_dtype()) not in _FLOATS:
                raise SafetensorsFileError(f"expected {name} as one of {', '.join(_FLOATS)}, got {dtype}")
            arrays[name] = np.asarray(file.get_tensor(name), np.float32)
    return arrays


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        with safe_open(path, framework="np") as file:
            yield file
    except SafetensorError as error:
        raise SafetensorsFileError(" ".join(str(error).split())[:_MOST_LETTERS]) from None  # it quotes the file
