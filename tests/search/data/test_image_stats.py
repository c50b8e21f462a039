"""What a file is and looks like, of every format, kept for the next time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from search.data import disk_cache
from search.data import image_stats as room
from search.data.image_stats import ImageStats, image_stats
from search.data.scan import scan
from search.inspection.file_findings import unusual


def silent(*told: object) -> None: ...


def seen(folder: Path) -> tuple[dict[str, int], ImageStats]:
    found = scan(folder, classes=None, on_progress=silent)
    return {file: row for row, file in enumerate(found.files)}, image_stats(found, on_progress=silent)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "images" / "a").mkdir(parents=True)
    (tmp_path / "images" / "b").mkdir()
    rng = np.random.default_rng(0)
    noise = Image.fromarray(rng.integers(0, 256, (40, 60, 3), np.uint8))
    noise.save(tmp_path / "images" / "a" / "colour.png")
    exif = Image.Exif()
    exif.get_ifd(0x8769)[36867] = "2024:05:06 07:08:09"
    noise.save(tmp_path / "images" / "a" / "photo.jpg", exif=exif)
    Image.fromarray(rng.integers(0, 65536, (40, 60), np.uint16)).save(tmp_path / "images" / "a" / "deep.png")
    Image.new("L", (30, 30), 200).save(tmp_path / "images" / "b" / "grey.bmp")
    Image.new("RGB", (30, 30), "red").save(
        tmp_path / "images" / "b" / "moves.gif", save_all=True, append_images=[Image.new("RGB", (30, 30), "blue")]
    )
    (tmp_path / "images" / "b" / "broken.png").write_bytes(b"no image")
    return tmp_path / "images"


def test_facts(folder: Path) -> None:
    at, found = seen(folder)
    facts = {
        file: (
            found.formats[row],
            found.modes[row],
            int(found.width[row]),
            int(found.bits[row]),
            int(found.frames[row]),
        )
        for file, row in at.items()
    }
    assert facts == {
        "a/colour.png": ("PNG", "RGB", 60, 8, 1),
        "a/photo.jpg": ("JPEG", "RGB", 60, 8, 1),
        "a/deep.png": ("PNG", "I;16", 60, 16, 1),
        "b/grey.bmp": ("BMP", "L", 30, 8, 1),
        "b/moves.gif": ("GIF", "P", 30, 8, 2),
        "b/broken.png": ("", "", 0, 0, 0),
    }
    assert found.readable.tolist() == [file != "b/broken.png" for file in at]
    assert "supported format" in found.reasons[at["b/broken.png"]]
    assert found.taken[at["a/photo.jpg"]] == 1_714_979_289
    assert found.taken[at["a/colour.png"]] == 0


def test_appearance(folder: Path) -> None:
    at, found = seen(folder)
    noise, grey, red = (at[file] for file in ("a/colour.png", "b/grey.bmp", "b/moves.gif"))
    assert found.contrast[grey] == pytest.approx(0, abs=1e-6)
    assert found.sharpness[grey] == pytest.approx(0, abs=1e-5)
    assert found.contrast[noise] > 0.1
    assert found.sharpness[noise] > 0.3
    assert found.darkest[grey] == pytest.approx(200 / 255, abs=0.01)
    assert found.colour[red].reshape(-1, 3).mean(axis=0) == pytest.approx([255, 0, 0], abs=2)
    assert found.grey.shape == (6, 64, 64)
    assert found.colour.shape == (6, 16, 16, 3)


def test_nothing_is_looked_at_twice_and_a_damaged_entry_is_built_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, first = seen(folder)
    with monkeypatch.context() as patch:
        patch.setattr(room, "_stats_of_file", lambda path: pytest.fail("looked at again"))
        _, again = seen(folder)
    assert again.reasons == first.reasons
    assert np.array_equal(again.grey, first.grey)
    (entry,) = disk_cache.cache_folder().glob("*.looks.npz")
    entry.write_bytes(entry.read_bytes()[:200])
    _, built = seen(folder)
    assert np.array_equal(built.grey, first.grey)


@pytest.mark.parametrize(("orientation", "expected"), [(1, (60, 40)), (3, (60, 40)), (6, (40, 60)), (8, (40, 60))])
def test_sizes_are_those_of_the_upright_picture(
    orientation: int, expected: tuple[int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STEADYNET_CACHE", str(tmp_path / "cache"))
    exif = Image.Exif()
    exif[0x0112] = orientation
    for name in ("a", "b"):
        (tmp_path / "images" / name).mkdir(parents=True)
        Image.new("RGB", (60, 40), "red" if name == "a" else "blue").save(tmp_path / f"images/{name}/1.jpg", exif=exif)
    _, found = seen(tmp_path / "images")
    assert list(zip(found.width.tolist(), found.height.tolist(), strict=True)) == [expected, expected]


def test_a_phones_second_picture_is_no_animation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STEADYNET_CACHE", str(tmp_path / "cache"))
    for name in ("a", "b"):
        (tmp_path / "images" / name).mkdir(parents=True)
        one, other = (Image.new("RGB", (60, 40), (40, 90, shade)) for shade in (len(name), ord(name)))
        one.save(tmp_path / f"images/{name}/1.jpg", format="MPO", save_all=True, append_images=[other])
    _, found = seen(tmp_path / "images")
    assert found.frames.tolist() == [1, 1]
    assert found.formats == ("MPO", "MPO")
    assert not list(unusual(("a/1.jpg", "b/1.jpg"), found))
