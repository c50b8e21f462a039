"""Values in the pickles of a PyTorch file, without running what the pickles ask for.

A pickle is a program: unpickled in the usual way it may call any function of any module. The interpreter here knows
only the opcodes of plain values and four names, which it never imports. Anything else ends with a `TorchFileError`.
"""

from __future__ import annotations

import io
import pickletools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

import numpy as np

_ORDERED_DICT: Final = "collections OrderedDict"
_TENSOR: Final = "torch._utils _rebuild_tensor_v2"
_DTYPES: Final[dict[str, np.dtype[Any]]] = {"torch FloatStorage": np.dtype("<f4"), "torch LongStorage": np.dtype("<i8")}
_NAMES: Final = {_ORDERED_DICT, _TENSOR, *_DTYPES}
_MOST_OPERATIONS: Final = 100_000  # of a file: six times those of a network of 400 tensors
_MOST_LETTERS: Final = 60  # of a text in a message
_OPCODES: Final = {opcode.code.encode("latin-1"): opcode.name for opcode in pickletools.opcodes}
_KNOWN: Final = frozenset(
    """PROTO STOP MARK NONE NEWTRUE NEWFALSE BININT BININT1 BININT2 LONG1 BINUNICODE EMPTY_TUPLE TUPLE TUPLE1 TUPLE2
    TUPLE3 EMPTY_LIST APPENDS EMPTY_DICT SETITEM SETITEMS BINPUT LONG_BINPUT BINGET LONG_BINGET GLOBAL BINPERSID REDUCE
    BUILD""".split()
)


class TorchFileError(ValueError):
    """A file is not a PyTorch file of plain float32 and int64 tensors. The message says what came instead."""


@dataclass(frozen=True, slots=True)
class _Name:
    """A function or class that the file names."""

    text: str


@dataclass(frozen=True, slots=True)
class Storage:
    """A storage that the file announces: its key, the type of its numbers, and how many they are."""

    key: str
    dtype: np.dtype[Any]
    length: int


@dataclass(frozen=True, slots=True)
class Tensor:
    """A part of a storage: numbers from `offset` on, `strides` apart."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


Value: TypeAlias = int | str | tuple[Any, ...] | list[Any] | dict[str, Any] | _Name | Storage | Tensor | None


@dataclass(slots=True)
class Pickles:
    """The pickles at the beginning of a file, one after the other.

    Attributes:
        data: bytes of the file.
        storages: key -> storage of those that the pickles have mentioned so far.
    """

    data: bytes
    storages: dict[str, Storage] = field(default_factory=dict)
    _file: io.BytesIO = field(init=False)
    _operations: int = 0

    def __post_init__(self) -> None:
        self._file = io.BytesIO(self.data)

    @property
    def position(self) -> int:
        """Bytes read so far."""
        return self._file.tell()

    def next(self) -> Value:
        """Return the value of the next pickle.

        Tensors are as the file describes them: whether they lie in their storages is not checked.

        Raises:
            TorchFileError: the pickle is damaged, or does anything but build plain values and tensors.
        """
        stack = _Stack()
        memo: dict[int, Value] = {}
        for opcode, argument in self._read():
            match opcode:
                case "PROTO" | "STOP":
                    pass
                case "NONE":
                    stack.push(None)
                case "NEWTRUE" | "NEWFALSE":
                    stack.push(opcode == "NEWTRUE")
                case "BININT" | "BININT1" | "BININT2" | "LONG1" | "BINUNICODE":
                    stack.push(argument)
                case "EMPTY_TUPLE":
                    stack.push(())
                case "EMPTY_LIST":
                    stack.push([])
                case "EMPTY_DICT":
                    stack.push({})
                case "MARK":
                    stack.mark()
                case "TUPLE":
                    stack.push(tuple(stack.pop_marked()))
                case "TUPLE1" | "TUPLE2" | "TUPLE3":
                    stack.push(tuple(stack.pop(int(opcode[-1]))))
                case "APPENDS":
                    items = stack.pop_marked()
                    _expect(stack.top(), list).extend(items)
                case "SETITEM":
                    _set_items(stack, stack.pop(2))
                case "SETITEMS":
                    _set_items(stack, stack.pop_marked())
                case "BINPUT" | "LONG_BINPUT":
                    memo[argument] = stack.top()
                case "BINGET" | "LONG_BINGET":
                    if argument not in memo:
                        raise TorchFileError(f"a pickle takes value {argument}, which it did not store")
                    stack.push(memo[argument])
                case "GLOBAL":
                    stack.push(_Name(argument))
                case "BINPERSID":
                    stack.push(self._storage(*stack.pop(1)))
                case "REDUCE":
                    stack.push(_reduced(*stack.pop(2)))
                case "BUILD":  # `state_dict` notes the versions of its layers, which nobody needs here
                    (state,) = stack.pop(1)
                    if _expect(state, dict).keys() != {"_metadata"} or not isinstance(stack.top(), dict):
                        raise TorchFileError(f"a pickle sets attributes other than _metadata of {short(stack.top())}")
        (value,) = stack.pop(1)
        stack.check_empty()
        return value

    def _read(self) -> Iterator[tuple[str, Any]]:
        """Opcodes of the next pickle up to STOP, with their arguments."""
        operations = pickletools.genops(self._file)
        while True:
            opcode = self.data[self.position : self.position + 1]
            if (name := _OPCODES.get(opcode)) not in _KNOWN:  # before its argument is read
                what = f"the operation {name or repr(opcode)}" if opcode else "the end of the file"
                raise TorchFileError(f"expected a pickle of plain tensors, got {what} at byte {self.position:,}")
            if name == "GLOBAL":
                self._check_name()
            self._operations += 1
            if self._operations > _MOST_OPERATIONS:
                raise TorchFileError(f"the pickles have more than {_MOST_OPERATIONS:,} operations")
            try:
                operation, argument, _ = next(operations)
            except ValueError as error:
                raise TorchFileError(f"a pickle breaks off or is damaged at byte {self.position:,} ({error})") from None
            yield operation.name, argument
            if operation.name == "STOP":
                return

    def _check_name(self) -> None:
        """Refuses other names than the four before `pickletools` reads them, as it warns of backslashes."""
        start = self.position + 1
        module, *rest = self.data[start : start + _MOST_LETTERS].split(b"\n", 2)
        name = b" ".join([module, *rest[:1]]).decode("latin-1")
        if len(rest) < 2 or name not in _NAMES:
            raise TorchFileError(f"a pickle names {short(name)}, which weights don't need")

    def _storage(self, reference: Value) -> Storage:
        match reference:
            case ("storage", _Name(kind), str(key), str(), int(length), None) if kind in _DTYPES and length >= 0:
                storage = Storage(key, _DTYPES[kind], length)
            case _:
                raise TorchFileError(f"expected a storage of float32 or int64 numbers, got {short(reference)}")
        if self.storages.setdefault(key, storage) != storage:
            raise TorchFileError(f"the storage {short(key)} is described in two ways")
        return storage


class _Stack:
    """The stack of a pickle, on which marks separate the values of nested tuples, lists and dictionaries."""

    def __init__(self) -> None:
        self._values: list[Value] = []
        self._marks: list[int] = []

    def push(self, value: Value) -> None:
        self._values.append(value)

    def mark(self) -> None:
        self._marks.append(len(self._values))

    def top(self) -> Value:
        self._check_holds(1)
        return self._values[-1]

    def pop(self, count: int) -> list[Value]:
        self._check_holds(count)
        popped = self._values[-count:]
        del self._values[-count:]
        return popped

    def pop_marked(self) -> list[Value]:
        if not self._marks:
            raise TorchFileError("a pickle takes values up to a mark that it did not set")
        start = self._marks.pop()
        popped = self._values[start:]
        del self._values[start:]
        return popped

    def check_empty(self) -> None:
        if self._values or self._marks:
            raise TorchFileError("a pickle ends with more than one value")

    def _check_holds(self, count: int) -> None:
        if len(self._values) - (self._marks[-1] if self._marks else 0) < count:
            raise TorchFileError("a pickle takes more values than it has stored")


def _expect(value: Value, kind: type) -> Any:
    if not isinstance(value, kind):
        raise TorchFileError(f"expected a {kind.__name__}, got {short(value)}")
    return value


def _set_items(stack: _Stack, items: Sequence[Value]) -> None:
    """Add keys and values, which alternate in `items`, to the dictionary on top of the stack."""
    target = _expect(stack.top(), dict)
    if len(items) % 2:
        raise TorchFileError("a pickle adds a key without a value")
    for key, value in zip(items[::2], items[1::2], strict=True):
        if not isinstance(key, str) or key in target:  # other keys could take forever to hash
            what = "the key {} twice" if isinstance(key, str) else "{} as a key"
            raise TorchFileError(f"a pickle adds {what.format(short(key))}")
        target[key] = value


def _reduced(function: Value, arguments: Value) -> Value:
    """What one of the two known functions returns."""
    match function, arguments:
        case _Name(name), () if name == _ORDERED_DICT:
            return {}
        case _Name(name), (Storage() as storage, int(offset), tuple(shape), tuple(strides), bool(), dict()) if (
            name == _TENSOR
        ):
            return Tensor(storage, offset, shape, strides)
    raise TorchFileError(f"expected a dictionary or a tensor of a storage, got a call of {short(function)}")


def short(value: Value) -> str:
    """A few words for a value of any size."""
    match value:
        case None | bool():
            return repr(value)
        case int():
            return repr(value) if abs(value) < 10**30 else "a number of more than 30 digits"
        case str():
            return repr(value if len(value) <= _MOST_LETTERS else f"{value[:_MOST_LETTERS]}...")
        case _Name(text):
            return short(text)
        case _:
            return f"a {type(value).__name__.strip('_').lower()}"
