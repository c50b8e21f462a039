"""Images of coming steps are asked for in time, each once, and not too far ahead."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from search.training import device
from search.training import prefetch as module
from search.training.prefetch import Prefetcher, prefetcher_for

SIDE, COUNT, BATCH = 4, 64, 8
BYTES = SIDE * SIDE * 3


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "pixels.npy"
    np.save(path, np.arange(COUNT * BYTES, dtype=np.uint8).reshape(COUNT, SIDE, SIDE, 3))
    return path


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Places in the file that the system was told of."""
    told: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "posix_fadvise", lambda file, start, length, advice: told.append((start, length)))
    return told


def until(condition) -> bool:
    end = time.monotonic() + 10
    while not condition() and time.monotonic() < end:
        time.sleep(0.002)
    return bool(condition())


def test_every_image_is_asked_for_where_it_lies(file, asked) -> None:
    rows = np.random.default_rng(0).permutation(COUNT).reshape(-1, BATCH).astype(np.int32)
    with Prefetcher(file).epoch(rows, lambda: len(rows)):
        assert until(lambda: len(asked) == COUNT)
    content = file.read_bytes()
    pixels = np.load(file)
    for (start, length), row in zip(asked, np.concatenate([np.sort(batch) for batch in rows]), strict=True):
        assert content[start : start + length] == pixels[row].tobytes()


def test_it_keeps_its_distance(file, asked, monkeypatch) -> None:
    monkeypatch.setattr(module, "_LEAD_BYTES", 3 * BATCH * BYTES)
    rows, done = np.arange(COUNT, dtype=np.int32).reshape(-1, BATCH), 0
    with Prefetcher(file).epoch(rows, lambda: done):
        assert until(lambda: len(asked) == 4 * BATCH)  # the step at hand and three more
        time.sleep(0.05)
        assert len(asked) == 4 * BATCH
        done = 2
        assert until(lambda: len(asked) == 6 * BATCH)
    assert threading.active_count() < 50
    assert len(asked) == 6 * BATCH


@pytest.mark.parametrize("fails", [False, True])
def test_it_ends_with_the_epoch_however_that_ends(file, asked, monkeypatch, fails) -> None:
    monkeypatch.setattr(module, "_LEAD_BYTES", 0)
    before = threading.active_count()
    try:
        with Prefetcher(file).epoch(np.zeros((100, BATCH), np.int32), lambda: 0):
            if fails:
                raise RuntimeError
    except RuntimeError:
        pass
    assert threading.active_count() == before


def test_only_large_files_are_fetched_ahead(file, monkeypatch) -> None:
    assert prefetcher_for(file) is None
    monkeypatch.setattr(module, "LARGE", file.stat().st_size)
    assert prefetcher_for(file) is not None


def test_a_large_file_is_mapped_all_the_same(file, monkeypatch) -> None:
    monkeypatch.setattr(device, "LARGE", 0)
    np.testing.assert_array_equal(device.load_pixels(file, None).numpy(), np.load(file))


def test_an_epoch_is_the_same_with_it(make_engine, images, labels, tmp_path) -> None:
    from search.training.engine import Engine
    from search.training.sampling import balance

    np.save(tmp_path / "pixels.npy", images)
    plain = make_engine()
    fetching = Engine(
        plain.configuration,
        plain.protocol,
        device.load_pixels(tmp_path / "pixels.npy", None),
        device.tensor(labels.astype(np.int32)),
        100,
        prefetcher=Prefetcher(tmp_path / "pixels.npy"),
    )
    rows = np.random.default_rng(0).permutation(len(labels))[:56].reshape(-1, 8).astype(np.int32)
    for engine in (plain, fetching):
        engine.begin(1, np.arange(len(labels)), balance(np.bincount(labels)))
        engine.train_epoch(rows, np.full(len(rows), 0.01, np.float32), 0)
    np.testing.assert_array_equal(*(one.logits(np.arange(len(labels))) for one in (plain, fetching)))
