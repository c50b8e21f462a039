"""Arrays come back as they were; bytes from strangers are arrays of plain values or an error."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from search.fit_checks import CHECK_DTYPE
from search.npy import decode_npy, encode_npy

DTYPES: st.SearchStrategy[Any] = st.sampled_from([np.float32, np.float64, np.int64, np.uint8, np.bool_, CHECK_DTYPE])


@given(DTYPES.flatmap(lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=4, min_side=0))))
def test_an_array_comes_back_as_it_was(array) -> None:
    for one in (array, np.asfortranarray(array)):
        back = decode_npy(encode_npy(one))
        assert (back.shape, back.dtype) == (one.shape, one.dtype)
        assert back.tobytes() == one.tobytes()


def test_it_is_one_that_may_be_changed() -> None:
    back = decode_npy(encode_npy(np.zeros(3)))
    back[0] = 1


@given(DTYPES)
def test_it_agrees_with_numpy(dtype) -> None:
    array = np.zeros((3, 2), dtype)
    np.testing.assert_array_equal(
        decode_npy(encode_npy(array)), np.load(io.BytesIO(encode_npy(array)), allow_pickle=False)
    )


def test_later_versions_of_the_format_are_read_too() -> None:
    stream = io.BytesIO()
    np.lib.format.write_array(stream, np.arange(4), version=(2, 0))
    assert decode_npy(stream.getvalue()).tolist() == [0, 1, 2, 3]


def header(shape: str, descr: str = "'<f4'") -> bytes:
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x93NUMPY\x01\x00",
        b"\x93NUMPY\x01\x00\xff\xff",
        b"PK\x03\x04 an archive",
        b"no array at all",
        encode_npy(np.arange(9))[:-1],
        header("(10**12,)"),
        header("(1000000000000,)") + bytes(8),
        header("(-1,)") + bytes(8),
        header("(-2, -2)") + bytes(16),
        header("(2,)", "'|O'") + bytes(16),
        header("(2,)", "[('a', '|O')]") + bytes(16),
        header("('x',)") + bytes(8),
    ],
)
def test_anything_else_is_an_error(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        decode_npy(data)
