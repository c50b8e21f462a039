"""Files in PyTorch's older format, written without PyTorch: sound ones, and ones with anything in them."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

MAGIC = 0x1950A86A20F9469CFC6C


@dataclass(frozen=True)
class Name:
    """A function or class, by module and name."""

    text: str


@dataclass(frozen=True)
class Call:
    """What a function returns."""

    function: Any
    arguments: Any


@dataclass(frozen=True)
class Reference:
    """A thing outside the pickle."""

    thing: Any


@dataclass(frozen=True)
class Raw:
    """Opcodes as they are."""

    code: bytes


@dataclass
class Parts:
    """All that a file is made of; each part may be replaced by another one."""

    tensors: Any
    keys: Any
    storages: Sequence[tuple[int, bytes]]  # of each: the length that stands before it, and its numbers
    magic: Any = MAGIC
    version: Any = 1001
    machine: Any = field(default_factory=lambda: {"protocol_version": 1001, "little_endian": True})

    def written(self) -> bytes:
        """The file's bytes."""
        pickles = (self.magic, self.version, self.machine, self.tensors, self.keys)
        storages = (struct.pack("<q", length) + numbers for length, numbers in self.storages)
        return b"".join([*(pickled(value) for value in pickles), *storages])


ORDERED_DICT = Call(Name("collections OrderedDict"), ())


def parts_of(arrays: Mapping[str, np.ndarray]) -> Parts:
    """The parts of a file of float32 and int64 arrays, which keep their strides."""
    kinds = {"float32": "torch FloatStorage", "int64": "torch LongStorage"}
    tensors = {
        name: tensor(
            str(number),
            array.size,
            array.shape,
            [stride // array.itemsize for stride in array.strides],
            kind=kinds[array.dtype.name],
        )
        for number, (name, array) in enumerate(arrays.items())
    }
    return Parts(
        tensors=tensors,
        keys=[str(number) for number in range(len(arrays))],
        storages=[(array.size, array.ravel(order="K").tobytes()) for array in arrays.values()],
    )


def tensor(
    key: Any,
    length: Any,
    shape: Sequence[Any],
    strides: Sequence[Any],
    offset: Any = 0,
    kind: str = "torch FloatStorage",
) -> Call:
    """A tensor of a storage of `length` numbers."""
    storage = Reference(("storage", Name(kind), key, "cpu", length, None))
    arguments = (storage, offset, tuple(shape), tuple(strides), False, ORDERED_DICT)
    return Call(Name("torch._utils _rebuild_tensor_v2"), arguments)


def torch_file(arrays: Mapping[str, np.ndarray]) -> bytes:
    """A sound file."""
    return parts_of(arrays).written()


def pickled(value: Any) -> bytes:
    """A pickle; each text is stored when it first comes, and taken from there later."""
    return b"\x80\x02" + _code(value, {}) + b"."


def _code(value: Any, memo: dict[str, int]) -> bytes:
    match value:
        case Raw(code):
            return code
        case None:
            return b"N"
        case bool():
            return b"\x88" if value else b"\x89"
        case int():
            return _integer(value)
        case str() if value in memo:
            return b"h" + bytes([memo[value]])
        case str():
            text = value.encode()
            memo[value] = len(memo)
            stored = b"q" + bytes([memo[value]]) if memo[value] < 256 else b"r" + struct.pack("<I", memo.pop(value))
            return b"X" + struct.pack("<I", len(text)) + text + stored
        case tuple():
            return b"(" + b"".join(_code(item, memo) for item in value) + b"t"
        case list():
            return b"](" + b"".join(_code(item, memo) for item in value) + b"e"
        case dict():
            items = b"".join(_code(key, memo) + _code(item, memo) for key, item in value.items())
            return _code(ORDERED_DICT, memo) + b"(" + items + b"u"
        case Name(text):
            return b"c" + text.replace(" ", "\n").encode() + b"\n"
        case Call(function, arguments):
            return _code(function, memo) + _code(arguments, memo) + b"R"
        case Reference(thing):
            return _code(thing, memo) + b"Q"
    raise TypeError(value)


def _integer(value: int) -> bytes:
    if -(2**31) <= value < 2**31:
        return b"J" + struct.pack("<i", value)
    digits = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(digits)]) + digits
