"""Arrays that several processes fill block by block."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.data.block_file import BLOCK, BlockFile
from search.errors import DataError

ROWS = 2 * BLOCK + 10
SHAPE = (ROWS, 3)
VALUES = np.arange(ROWS * 3, dtype=np.float32).reshape(SHAPE)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("STEADYNET_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def fill(file: BlockFile, blocks: list[int]) -> None:
    for block in blocks:
        file.write(block, VALUES[file.rows(block)])


@given(st.permutations(range(3)), st.integers(0, 3))
def test_blocks_come_in_any_order_and_are_gone_on_with(order: list[int], first: int) -> None:
    name = f"some-{order}-{first}"
    fill(BlockFile(name, SHAPE), order[:first])
    again = BlockFile(name, SHAPE)
    assert again.missing() == sorted(order[first:])
    fill(again, again.missing())
    assert again.missing() == []
    np.testing.assert_array_equal(BlockFile(name, SHAPE).array(), VALUES)


def test_rows_are_divided_without_gaps() -> None:
    file = BlockFile("some", SHAPE)
    assert file.blocks == 3
    rows = [np.arange(ROWS)[file.rows(block)] for block in range(file.blocks)]
    np.testing.assert_array_equal(np.concatenate(rows), np.arange(ROWS))
    assert BlockFile("one", (1, 3)).blocks == 1


def test_another_shape_or_a_damaged_file_begins_again(cache: Path) -> None:
    fill(BlockFile("some", SHAPE), [0, 1, 2])
    assert BlockFile("some", (ROWS, 4)).missing() == [0, 1, 2]
    (cache / "some.npy").write_bytes(b"damaged")
    file = BlockFile("some", SHAPE)
    assert file.missing() == [0, 1, 2]
    fill(file, [1])
    assert file.missing() == [0, 2]


def test_a_block_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match=r"block 2 has the shape \(10, 3\), got \(256, 3\)"):
        BlockFile("some", SHAPE).write(2, VALUES[:BLOCK])


def test_a_folder_that_cannot_be_written_is_told_of(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = BlockFile("some", SHAPE)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(DataError, match=r"No space left on device.*Free some space"):
        fill(file, [0])
    assert file.missing() == [0, 1, 2]
    assert not list(cache.glob("*.part"))


def _fill_slowly(blocks: list[int], is_endless: bool) -> None:
    file = BlockFile("shared", SHAPE)
    fill(file, blocks)
    while is_endless:  # writes a block again and again, until it is killed
        fill(file, blocks[-1:])


def test_processes_fill_it_together_and_one_that_is_killed_costs_nothing_that_was_done() -> None:
    spawn = multiprocessing.get_context("spawn")
    together = [spawn.Process(target=_fill_slowly, args=([block], False)) for block in (0, 1)]
    killed = spawn.Process(target=_fill_slowly, args=([2], True))
    for process in (*together, killed):
        process.start()
    for process in together:
        process.join(60)
    file = BlockFile("shared", SHAPE)
    while file.missing() and killed.is_alive():
        time.sleep(0.01)
    os.kill(killed.pid or 0, signal.SIGKILL)
    killed.join(10)
    assert file.missing() == []
    np.testing.assert_array_equal(file.array(), VALUES)
