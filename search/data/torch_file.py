"""Reading of PyTorch's older `.pth` files, without PyTorch.

Such a file is five pickles (a magic number, a version, facts about the machine, the tensors by name, the keys of the
storages) and then the storages: for each its length (int64) and its numbers.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from search.data.torch_pickle import Pickles, Storage, Tensor, TorchFileError, Value, short

_MAGIC: Final = 0x1950A86A20F9469CFC6C
_VERSION: Final = 1001
_MOST_SIZES: Final = 8  # dimensions of a tensor
_LENGTH_BYTES: Final = 8  # before each storage


def read_torch_file(source: bytes | Path) -> dict[str, npt.NDArray[Any]]:
    """Read the tensors of a `.pth` file of the format that PyTorch wrote before version 1.6.

    Args:
        source: the file's bytes or its path. It must fit into memory; what is read takes little more.

    Returns:
        Name -> read-only float32 or int64 array, a view of the file's bytes that need not be contiguous or aligned.

    Raises:
        TorchFileError: the file is none of that format, is damaged, or holds anything but such tensors.
        OSError: the file can't be read.
    """
    data = source.read_bytes() if isinstance(source, Path) else source
    pickles = Pickles(data)
    if (magic := pickles.next()) != _MAGIC:
        raise TorchFileError(f"expected PyTorch's magic number at the beginning, got {short(magic)}")
    if (version := pickles.next()) != _VERSION:
        raise TorchFileError(f"expected version {_VERSION} of the format, got {short(version)}")
    machine = pickles.next()
    if not isinstance(machine, dict) or machine.get("little_endian") is not True:
        raise TorchFileError(f"expected numbers in little-endian order, got {short(machine)}")
    tensors, keys = pickles.next(), pickles.next()
    if not isinstance(tensors, dict):
        raise TorchFileError(f"expected tensors by name, got {short(tensors)}")
    starts = _read_storages(data, pickles.position, keys, pickles.storages)
    arrays = {name: _array(data, name, tensor, starts) for name, tensor in tensors.items()}
    if (total := sum(array.nbytes for array in arrays.values())) > len(data):
        raise TorchFileError(f"the tensors have {total:,} bytes, but the file only {len(data):,}")
    return arrays


def _read_storages(data: bytes, position: int, keys: Value, storages: dict[str, Storage]) -> dict[str, int]:
    """Key of each storage -> byte at which its numbers begin."""
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise TorchFileError(f"expected the keys of the storages, got {short(keys)}")
    if len(keys) != len(storages) or set(keys) != storages.keys():
        raise TorchFileError(f"expected the keys of {len(storages)} storages, each once, got {len(keys)} others")
    starts = {}
    for key in keys:
        storage = storages[key]
        length = int.from_bytes(data[position : position + _LENGTH_BYTES], "little")
        starts[key] = position + _LENGTH_BYTES
        position = starts[key] + storage.length * storage.dtype.itemsize
        if position > len(data):
            raise TorchFileError(f"the file breaks off at byte {len(data):,}, in the storage {short(key)}")
        if length != storage.length:
            raise TorchFileError(f"expected {storage.length:,} numbers in the storage {short(key)}, got {length:,}")
    if position != len(data):
        raise TorchFileError(f"expected the end of the file after {position:,} bytes, got {len(data):,} bytes")
    return starts


def _array(data: bytes, name: str, tensor: Value, starts: dict[str, int]) -> npt.NDArray[Any]:
    if not isinstance(tensor, Tensor):
        raise TorchFileError(f"expected a tensor with the name {short(name)}, got {short(tensor)}")
    storage, shape = tensor.storage, tensor.shape
    are_sound = len(shape) == len(tensor.strides) <= _MOST_SIZES and all(
        type(number) is int and number >= least
        for numbers, least in (((tensor.offset,), 0), (shape, 1), (tensor.strides, 0))
        for number in numbers
    )
    if not are_sound:
        raise TorchFileError(f"the tensor {short(name)} has no sound offset, sizes and strides")
    strides = [0 if size == 1 else stride for size, stride in zip(shape, tensor.strides, strict=True)]
    last = tensor.offset + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))
    if last >= storage.length or math.prod(shape) > storage.length:  # more numbers than stored: some are repeated
        raise TorchFileError(f"the tensor {short(name)} reaches beyond the {storage.length:,} numbers of its storage")
    size = storage.dtype.itemsize
    return np.ndarray(
        shape,
        storage.dtype,
        buffer=data,
        offset=starts[storage.key] + tensor.offset * size,
        strides=[stride * size for stride in strides],
    )
