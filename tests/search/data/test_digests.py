"""A file is read again when it may have changed, and only then."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from search.data import digests as module
from search.data import disk_cache
from search.data.digests import digests

FILES = ("a/1.png", "a/2.png", "b/1.png")
LONG_AGO = 1_000_000_000


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three files, old enough to be sure of."""
    monkeypatch.setenv("STEADYNET_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(module, "_SURE_AFTER", 0)
    for name in FILES:
        path = tmp_path / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"of {name}")
    time.sleep(0.02)
    return tmp_path / "images"


def read(folder: Path, files: tuple[str, ...] = FILES) -> tuple[list[object], int]:
    """The digests, and how many files were read for them."""
    told: list[tuple[str, int, int]] = []
    found = digests(folder, files, lambda *news: told.append(news))
    return list(found), len(told)


def test_nothing_is_read_twice(folder) -> None:
    first, count = read(folder)
    assert count == 3
    assert len(set(first)) == 3
    assert read(folder) == (first, 0)


@pytest.mark.parametrize("what", ["written", "same size and time", "replaced", "new"])
def test_only_what_may_have_changed_is_read_again(folder, what) -> None:
    first, _ = read(folder)
    path = folder / FILES[1]
    files: tuple[str, ...] = FILES
    before = path.stat()
    if what == "written":
        path.write_text("another content")
    elif what == "same size and time":  # who sets the time back leaves the time of that behind
        path.write_text("OF a/2.png")
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    elif what == "replaced":
        other = folder / "other"
        other.write_text("OF a/2.png")
        os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
        other.replace(path)
    else:
        (folder / "b/2.png").write_text("of b/2.png")
        files = (*FILES, "b/2.png")
    again, count = read(folder, files)
    assert count == 1
    assert again[0] == first[0]
    assert (again[1] == first[1]) is (what == "new")


def test_a_file_that_was_just_written_is_read_again(folder, monkeypatch) -> None:
    """Within the coarseness of its times it may change once more without showing it."""
    monkeypatch.setattr(module, "_SURE_AFTER", LONG_AGO * 3600)
    first, _ = read(folder)
    assert read(folder) == (first, 3)


def test_what_can_not_be_read_is_told_each_time(folder) -> None:
    files = (*FILES, "gone.png")
    for _ in range(2):
        *others, last = digests(folder, files, lambda *news: None)
        assert isinstance(last, FileNotFoundError)
        assert all(isinstance(other, str) for other in others)


@pytest.mark.parametrize("damage", [b"", b"{", b'{"a/1.png": 3}', b'["x"]'])
def test_a_damaged_memory_is_none(folder, damage) -> None:
    first, _ = read(folder)
    (entry,) = disk_cache.cache_folder().glob("*.digests.json")
    entry.write_bytes(damage)
    assert read(folder) == (first, 3)
    assert read(folder) == (first, 0)


def test_folders_are_not_mixed_up(folder, tmp_path) -> None:
    first, _ = read(folder)
    other = tmp_path / "others"
    for name in FILES:
        (other / name).parent.mkdir(parents=True, exist_ok=True)
        (other / name).write_text("x" * len(f"of {name}"))
    assert read(other)[0][0] != first[0]
    assert read(folder) == (first, 0)
