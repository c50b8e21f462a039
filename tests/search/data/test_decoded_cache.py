import errno
import json
import logging
import os
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from search.data import decoded_cache, disk_cache
from search.data.decode import Probe, decode
from search.data.image_stats import image_stats
from search.data.scan import ImageFolder, scan
from search.errors import DataError
from spaces.image_format import ImageFormat

pytestmark = pytest.mark.slow


def quiet(what: str, done: int, total: int) -> None: ...


def read(folder: Path) -> ImageFolder:
    return scan(folder, on_progress=quiet)


def decoded(images: ImageFolder, **options: int) -> decoded_cache.Decoded:
    image_format = ImageFormat(**{"image_size": 8, "channels": 1, **options})
    return decoded_cache.decoded(images, image_format, on_progress=quiet)


@pytest.fixture
def no_decoding(monkeypatch: pytest.MonkeyPatch):
    """Call it: from then on every attempt to decode fails the test."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("decoded again")

    def forbid() -> None:
        monkeypatch.setattr(decoded_cache, "decode", refuse)
        monkeypatch.setattr(decoded_cache, "probe", refuse)

    return forbid


def test_pixels_are_those_of_the_files_in_row_order(make_folder) -> None:
    images = read(make_folder(a=3, b=2))
    pixels = np.load(decoded(images).path)
    assert pixels.shape == (5, 8, 8, 1)
    assert pixels.dtype == np.uint8
    for row, file in zip(pixels, images.files, strict=True):
        np.testing.assert_array_equal(row, decode(images.path / file, ImageFormat(image_size=8, channels=1)))


def test_a_second_run_decodes_nothing_even_after_renaming(make_folder, no_decoding) -> None:
    folder = make_folder(a=3, b=2)
    (folder / "b" / "bad.png").write_bytes(b"bad")
    first, probes = decoded(read(folder)), decoded_cache.probes(read(folder), on_progress=quiet)
    no_decoding()
    for file in sorted(folder.rglob("*.png"), reverse=True):
        file.rename(file.with_name(f"renamed_{file.name}"))
    moved = folder.rename(folder.with_name("moved"))
    assert decoded(read(moved)) == first
    assert decoded_cache.probes(read(moved), on_progress=quiet) == probes


@pytest.mark.parametrize("change", [{"image_size": 9}, {"channels": 3}])
def test_another_format_is_another_entry(make_folder, change: dict[str, int]) -> None:
    images = read(make_folder(a=2, b=2))
    assert decoded(images, **change).path != decoded(images).path


def test_other_labels_and_contents_are_other_entries(make_folder, tmp_path: Path) -> None:
    folder = make_folder(a=2, b=2)
    first = decoded(read(folder)).path
    (folder / "a" / "0.png").rename(folder / "b" / "new.png")
    second = decoded(read(folder)).path
    (folder / "b" / "new.png").unlink()
    assert len({first, second, decoded(read(folder)).path}) == 3


def test_unreadable_files_leave_no_row(make_folder) -> None:
    folder = make_folder(a=2, b=2)
    (folder / "a" / "bad.png").write_bytes(b"")
    images = read(folder)
    result = decoded(images)
    assert {images.files[row]: why for row, why in result.unreadable.items()} == {"a/bad.png": "empty file"}
    sound = [file for file in images.files if file != "a/bad.png"]
    expected = np.stack([decode(folder / file, ImageFormat(image_size=8, channels=1)) for file in sound])
    np.testing.assert_array_equal(np.load(result.path), expected)


def test_nothing_readable_is_no_crash(make_folder, no_decoding) -> None:
    folder = make_folder(a=1, b=1)
    for file in folder.rglob("*.png"):
        file.write_bytes(b"bad" + file.parent.name.encode())
    assert len(decoded(read(folder)).unreadable) == 2
    no_decoding()
    assert len(decoded(read(folder)).unreadable) == 2


def test_probes(make_folder) -> None:
    folder = make_folder(a=2, b=2, side=20)
    (folder / "b" / "bad.png").write_bytes(b"bad")
    images = read(folder)
    found = decoded_cache.probes(images, on_progress=quiet)
    assert dict(zip(images.files, found, strict=True)) == {
        **dict.fromkeys(("a/0.png", "a/1.png", "b/0.png", "b/1.png"), Probe(20, 20, True)),
        "b/bad.png": None,
    }


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-3])


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 255
    path.write_bytes(bytes(content))


@pytest.mark.parametrize("ending", [".npy", ".json", ".probes.json"])
@pytest.mark.parametrize(
    "damage", [_cut, _flip, Path.unlink, lambda path: path.write_bytes(b""), lambda path: path.write_text("[7, {}]")],
    ids=["cut", "flipped", "gone", "empty", "other"],
)  # fmt: skip
def test_a_damaged_entry_is_built_again(make_folder, own_cache: Path, caplog, ending: str, damage) -> None:
    images = read(make_folder(a=2, b=2))
    first, probes = decoded(images), decoded_cache.probes(images, on_progress=quiet)
    good = contents(own_cache)
    with caplog.at_level(logging.INFO, logger="search.data.disk_cache"):
        damage(next(path for path in own_cache.iterdir() if path.name.partition(".")[2] == ending[1:]))
        assert decoded(images) == first
        assert decoded_cache.probes(images, on_progress=quiet) == probes
    assert contents(own_cache) == good
    assert ("is built again" in caplog.text) == (damage is not Path.unlink)
    assert all(record.levelno == logging.INFO for record in caplog.records)


def contents(folder: Path) -> dict[str, bytes]:
    """All but the stamps, which say when a file was written."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if not path.name.endswith(".seen.json")}


def test_pixels_are_compared_with_what_was_written_where_the_file_was_touched_and_not_at_each_start(
    make_folder, own_cache: Path, monkeypatch
) -> None:
    images = read(make_folder(a=2, b=2))
    first = decoded(images)
    pixels, compared = bytearray(first.path.read_bytes()), []
    monkeypatch.setattr(
        disk_cache, "digest_of", lambda path, real=disk_cache.digest_of: compared.append(path) or real(path)
    )
    assert decoded(images) == first
    assert not compared
    pixels[-1] ^= 1
    first.path.write_bytes(pixels)
    decoded(images)
    assert compared
    assert first.path.read_bytes() != pixels, "built again"
    for path in own_cache.glob("*.seen.json"):
        path.unlink()
    compared.clear()
    assert decoded(images) == first
    assert decoded(images) == first
    assert len(compared) == 1


def test_builders_at_the_same_time_do_not_hurt_each_other(make_folder, own_cache: Path) -> None:
    images = read(make_folder(a=10, b=10))
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda _: decoded(images), range(4)))
    assert all(result == results[0] for result in results)
    assert np.load(results[0].path).shape == (20, 8, 8, 1)
    assert sorted(path.name.partition(".")[2] for path in own_cache.iterdir()) == ["json", "npy", "seen.json"]


def test_remains_of_killed_builders_are_swept_and_fresh_ones_left(make_folder, own_cache: Path) -> None:
    own_cache.mkdir()
    old, fresh = own_cache / "old.part", own_cache / "fresh.part"
    for path in (old, fresh):
        path.write_bytes(b"half")
    long_ago = time.time() - 2 * disk_cache.STALE_SECONDS
    os.utime(old, (long_ago, long_ago))
    decoded(read(make_folder(a=1, b=1)))
    assert not old.exists()
    assert fresh.exists()


def test_a_failure_while_building_leaves_nothing(make_folder, own_cache: Path, monkeypatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    images = read(make_folder(a=2, b=2))
    monkeypatch.setattr(decoded_cache, "_write_header", full)
    with pytest.raises(
        DataError, match=r"can't be written \(No space left on device\)\. Free some space, or set STEADYNET_CACHE"
    ):
        decoded(images)
    assert list(own_cache.iterdir()) == []


@pytest.mark.parametrize(
    ("free", "message"),
    [
        (
            4 * 48 * 48,
            r"4 images of 64 x 64 pixels in 1 .* take 0\.0 MB.*be used in .*cache\. Use --image-size 48 or smaller",
        ),
        (100, "Use fewer images: not even --image-size 16 fits, make room, or set STEADYNET_CACHE"),
    ],
)
def test_what_exceeds_the_disk_is_refused(make_folder, monkeypatch, free: int, message: str) -> None:
    usage = shutil.disk_usage("/")._replace(free=decoded_cache.SPARE_DISK + free)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(DataError, match=message):
        decoded(read(make_folder(a=2, b=2)), image_size=64)


def test_images_for_backbones_that_exceed_the_disk_name_the_option_that_does_without_them(
    make_folder, monkeypatch
) -> None:
    scanned = read(make_folder(a=2, b=2))
    usage = shutil.disk_usage("/")._replace(free=decoded_cache.SPARE_DISK + 4 * 8 * 8 * 3)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(DataError, match=r"4 images of 224 x 224 pixels .* Use --weights none, make room, or set"):
        decoded_cache.decoded(
            scanned, ImageFormat(image_size=224, channels=3), on_progress=lambda *_: None, otherwise="--weights none"
        )


def test_a_cache_folder_that_cannot_be_made(make_folder, tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("STEADYNET_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(DataError, match=r"image cache .* can't be written"):
        decoded(read(make_folder(a=1, b=1)))


def test_where_the_cache_lies(monkeypatch) -> None:
    monkeypatch.setenv("STEADYNET_CACHE", "/own")
    monkeypatch.setenv("XDG_CACHE_HOME", "/shared")
    monkeypatch.setenv("HOME", "/home/x")
    assert disk_cache.cache_folder() == Path("/own")
    monkeypatch.delenv("STEADYNET_CACHE")
    assert disk_cache.cache_folder() == Path("/shared/steadynet")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert disk_cache.cache_folder() == Path("/home/x/.cache/steadynet")


def test_the_facts_hold_no_names(make_folder, own_cache: Path) -> None:
    folder = make_folder(a=1, b=1)
    (folder / "a" / "secret.png").write_bytes(b"bad")
    facts = decoded(read(folder)).path.with_suffix(".json").read_text()
    assert "secret" not in facts
    assert list(json.loads(facts)) == ["unreadable", "bytes"]


@pytest.mark.parametrize("error", [OSError(errno.EIO, "Input/output error"), MemoryError()], ids=["disk", "memory"])
def test_what_could_not_be_read_for_once_is_not_kept(make_folder, monkeypatch, error: Exception) -> None:
    images = read(make_folder(a=3, b=2))
    away = images.path / images.files[1]
    plain = Path.read_bytes

    def failing(path: Path) -> bytes:
        if path == away:
            raise error
        return plain(path)

    monkeypatch.setattr(Path, "read_bytes", failing)
    assert list(decoded(images).unreadable) == [1]
    assert decoded_cache.probes(images, on_progress=quiet)[1] is None
    assert image_stats(images, on_progress=quiet).readable.tolist() == [True, False, True, True, True]
    monkeypatch.setattr(Path, "read_bytes", plain)
    assert not decoded(images).unreadable
    assert decoded_cache.probes(images, on_progress=quiet)[1] is not None
    assert image_stats(images, on_progress=quiet).readable.all()
