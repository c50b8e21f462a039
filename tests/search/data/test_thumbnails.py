import base64
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from search.data.decode import UnreadableImage, miniature
from search.data.thumbnails import thumbnails


def opened(text: str) -> Image.Image:
    return Image.open(BytesIO(base64.b64decode(text, validate=True)))


@pytest.fixture
def folder(tmp_path):
    """A wide red photograph, a small grey picture, and a file that is no image."""
    Image.new("RGB", (400, 200), (200, 30, 30)).save(tmp_path / "wide.jpg")
    Image.new("L", (20, 30), 90).save(tmp_path / "small.png")
    (tmp_path / "broken.png").write_bytes(b"nothing")
    return tmp_path


FILES = ("wide.jpg", "small.png", "broken.png", "gone.png")


@pytest.fixture
def pixels() -> np.ndarray:
    """The decoded images: all blue."""
    return np.full((4, 200, 200, 3), (20, 20, 220), np.uint8)


def test_originals_are_shown_in_their_own_proportions(folder, pixels) -> None:
    shown = thumbnails([1, 0], folder=folder, files=FILES, pixels=pixels)
    assert list(shown) == [0, 1]
    wide, small = (opened(text) for text in shown.values())
    assert (wide.format, wide.mode, wide.size) == ("JPEG", "RGB", (128, 64))
    np.testing.assert_allclose(wide.getpixel((60, 30)), (200, 30, 30), atol=4)
    assert (small.mode, small.size, small.getpixel((10, 10))) == ("L", (20, 30), 90)


def test_what_is_gone_or_broken_is_shown_as_it_was_trained_on(folder, pixels) -> None:
    shown = thumbnails([2, 3], folder=folder, files=FILES, pixels=pixels, side=96)
    for text in shown.values():
        assert opened(text).size == (96, 96)
        np.testing.assert_allclose(opened(text).getpixel((50, 50)), (20, 20, 220), atol=6)


def test_grey_pixels_from_the_disk_are_shown_too(tmp_path, folder) -> None:
    np.save(tmp_path / "grey.npy", np.full((4, 16, 16, 1), 77, np.uint8))
    stored = np.load(tmp_path / "grey.npy", mmap_mode="r")
    shown = opened(thumbnails([3], folder=folder, files=FILES, pixels=stored)[3])
    assert (shown.mode, shown.size, shown.getpixel((8, 8))) == ("L", (16, 16), 77)


def test_photographs_are_a_few_kilobytes_and_the_same_each_time(tmp_path, pixels) -> None:
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(0, 256, (24, 32, 3), dtype=np.uint8))
    coarse.resize((1600, 1200), Image.Resampling.BICUBIC).save(tmp_path / "photo.jpg")
    once, again = (thumbnails([0], folder=tmp_path, files=["photo.jpg"], pixels=pixels) for _ in range(2))
    assert once == again
    assert len(once[0]) < 8000


def test_nothing_but_the_picture_is_passed_on(tmp_path, pixels) -> None:
    exif = Image.Exif()
    exif[0x010E] = "name of a patient"
    profile = b"name of a monitor"
    Image.new("RGB", (50, 50)).save(
        tmp_path / "told.jpg", exif=exif, comment="name of a doctor", icc_profile=profile, dpi=(72, 72)
    )
    shown = base64.b64decode(thumbnails([0], folder=tmp_path, files=["told.jpg"], pixels=pixels)[0])
    assert b"name" in (tmp_path / "told.jpg").read_bytes()
    assert b"name" not in shown


def test_a_row_that_comes_twice_is_shown_once_and_none_gives_nothing(folder, pixels) -> None:
    twice = thumbnails([np.int64(1), 1], folder=folder, files=FILES, pixels=pixels)  # type: ignore[list-item]
    assert list(twice) == [1]
    assert thumbnails([], folder=folder, files=FILES, pixels=pixels) == {}


def test_progress_is_told(folder, pixels) -> None:
    told = []
    thumbnails([0, 1, 2], folder=folder, files=FILES, pixels=pixels, on_progress=lambda *now: told.append(now))
    assert told == [("drawing thumbnails", done, 3) for done in (1, 2, 3)]


def test_a_miniature_is_upright_and_opaque(tmp_path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # lies on its side
    Image.new("RGB", (300, 100)).save(tmp_path / "turned.jpg", exif=exif)
    assert miniature(tmp_path / "turned.jpg", side=60).size == (20, 60)
    see_through = Image.new("RGBA", (50, 50), (0, 0, 0, 0))
    see_through.putpixel((0, 0), (0, 0, 0, 255))
    see_through.save(tmp_path / "clear.png")
    assert miniature(tmp_path / "clear.png", side=64).getpixel((30, 30)) == (255, 255, 255)
    with pytest.raises(UnreadableImage, match="No such file"):
        miniature(tmp_path / "gone.png", side=64)
