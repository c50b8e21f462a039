import struct
import threading
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from search.data import decode as decoding
from search.data.decode import Probe, UnreadableImage, decode, probe
from spaces.image_format import ImageFormat

# A quarter of the picture is bright, at the top left: every mode must show it there.
QUARTER = np.zeros((32, 32), np.uint8)
QUARTER[:16, :16] = 200


def save(image: Image.Image, path: Path, **options: object) -> Path:
    image.save(path, **options)
    return path


def corners(path: Path, channels: int = 1) -> list[list[int]]:
    pixels = decode(path, ImageFormat(image_size=8, channels=channels))
    assert pixels.shape == (8, 8, channels)
    assert pixels.dtype == np.uint8
    return [pixels[y, x].tolist() for y, x in ((1, 1), (1, 6), (6, 1), (6, 6))]


@pytest.mark.parametrize(
    ("mode", "ending", "bright"),
    [
        ("1", "png", 255),
        ("L", "png", 200),
        ("L", "bmp", 200),
        ("L", "gif", 200),
        ("L", "tif", 200),
        ("LA", "png", 200),
        ("P", "png", 200),
        ("RGB", "png", 200),
        ("RGB", "webp", 200),
        ("RGBA", "png", 200),
        ("CMYK", "tif", 200),
        ("I", "tif", 200),
        ("F", "tif", 200),
    ],
)
def test_every_mode_shows_the_same_picture(tmp_path: Path, mode: str, ending: str, bright: int) -> None:
    image = Image.fromarray(QUARTER).convert(mode, dither=Image.Dither.NONE)
    path = save(image, tmp_path / f"a.{ending}", **({"lossless": True} if ending == "webp" else {}))
    assert corners(path) == [[bright], [0], [0], [0]]
    assert corners(path, 3) == [[bright] * 3, [0] * 3, [0] * 3, [0] * 3]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0, 65535], [0, 255]),  # all 16 bits
        ([32768, 65535], [128, 255]),
        ([0, 4095], [0, 255]),  # a 12-bit sensor
        ([0, 2048], [0, 128]),
        ([0, 30], [0, 247]),  # the lowest five bits: not black
        ([255, 128], [255, 128]),
        ([0, 1], [0, 255]),
        ([0, 0], [0, 0]),
    ],
)
def test_sixteen_bits_are_scaled_by_the_bits_in_use(tmp_path: Path, values: list[int], expected: list[int]) -> None:
    path = save(Image.fromarray(np.array([values, values], np.uint16)), tmp_path / "a.png")
    assert decode(path, ImageFormat(image_size=2, channels=1))[0, :, 0].tolist() == expected


def png_of_16_bits(values: np.ndarray) -> bytes:
    """(height, width, 2..4): what Pillow reads and does not write."""
    height, width, channels = values.shape
    kind = {2: 4, 3: 2, 4: 6}[channels]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    parts = (b"IHDR", struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0)), (b"IDAT", zlib.compress(rows))
    chunks = [
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in (*parts, (b"IEND", b""))
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def tiff_of_16_bits(values: np.ndarray, order: str) -> bytes:
    """(height, width, 3), in one strip for each row; order is < or >."""
    height, width, channels = values.shape
    pixels = values.astype(f"{order}u2").tobytes()
    row = len(pixels) // height
    lists = struct.pack(f"{order}3H", 16, 16, 16) + struct.pack(
        f"{order}{2 * height}I", *(8 + row * n for n in range(height)), *(height * [row])
    )
    at = 8 + len(pixels)
    tags = [
        *((256, 4, 1, width), (257, 4, 1, height), (258, 3, 3, at), (259, 3, 1, 1), (262, 3, 1, 2)),
        *((273, 4, height, at + 6), (277, 3, 1, channels), (278, 4, 1, 1), (279, 4, height, at + 6 + 4 * height)),
    ]
    entries = b"".join(
        struct.pack(f"{order}HHI", tag, kind, count)
        + (struct.pack(f"{order}HH", value, 0) if kind == 3 and count == 1 else struct.pack(f"{order}I", value))
        for tag, kind, count, value in tags
    )
    directory = struct.pack(f"{order}H", len(tags)) + entries + struct.pack(f"{order}I", 0)
    head = {"<": b"II*\0", ">": b"MM\0*"}[order]
    return head + struct.pack(f"{order}I", at + len(lists)) + pixels + lists + directory


def deep_files() -> list[object]:
    """Colour images of 16 bits, and in which channels."""

    def as_grey(values: np.ndarray) -> np.ndarray:
        return np.concatenate([values[..., :1], np.full_like(values[..., :1], 65535)], axis=2)

    def with_alpha(values: np.ndarray) -> np.ndarray:
        return np.concatenate([values, np.full_like(values[..., :1], 65535)], axis=2)

    return [
        pytest.param(png_of_16_bits, False, id="PNG"),
        pytest.param(lambda values: png_of_16_bits(with_alpha(values)), False, id="PNG with alpha"),
        pytest.param(lambda values: png_of_16_bits(as_grey(values)), True, id="PNG, grey with alpha"),
        pytest.param(lambda values: tiff_of_16_bits(values, "<"), False, id="TIFF, little-endian"),
        pytest.param(lambda values: tiff_of_16_bits(values, ">"), False, id="TIFF, big-endian"),
    ]


@pytest.mark.parametrize("bits", [5, 10, 12, 15, 16])
@pytest.mark.parametrize(("written", "is_grey"), deep_files())
def test_colours_of_sixteen_bits_are_scaled_by_the_bits_in_use(
    tmp_path: Path, written: Callable[[np.ndarray], bytes], is_grey: bool, bits: int
) -> None:
    values = np.random.default_rng(bits).integers(0, 2**bits, (6, 6, 3))
    values[0, 0] = 2**bits - 1
    (tmp_path / "a").write_bytes(written(values))
    expected = values[..., [0, 0, 0]] if is_grey else values
    found = decode(tmp_path / "a", ImageFormat(image_size=6, channels=3)).astype(int)
    assert np.abs(found - expected * 255 / (2**bits - 1)).max() <= 1.0


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.0, 1.0], [0, 255]),
        ([0.0, 0.6], [0, 153]),
        ([0.0, 255.0], [0, 255]),
        ([-5.0, 5.0], [0, 255]),
        ([np.nan, 1.0], [0, 255]),
        ([0.0, 0.001], [0, 131]),
        ([-3.0, -3.0], [0, 0]),
    ],
)
def test_fractions(tmp_path: Path, values: list[float], expected: list[int]) -> None:
    path = save(Image.fromarray(np.array([values, values], np.float32)), tmp_path / "a.tif")
    assert decode(path, ImageFormat(image_size=2, channels=1))[0, :, 0].tolist() == expected


@pytest.mark.parametrize(
    ("highest", "white", "expected"),
    [
        (1000, None, 249),  # white is 1023
        (1000, 4095.0, 62),  # as in the set's other images
        (1000, 1023.0, 249),
        (5000, 4095.0, 156),  # brighter than the set's white: its own, 8191
        (200, 4095.0, 200),  # less than four bits would be left: its own, 255
    ],
)
def test_in_a_set_one_level_is_white_but_for_images_far_from_it(
    tmp_path: Path, highest: int, white: float | None, expected: int
) -> None:
    grey = save(Image.fromarray(np.full((4, 4), highest, np.uint16)), tmp_path / "grey.png")
    (tmp_path / "colour.png").write_bytes(png_of_16_bits(np.full((4, 4, 3), highest)))
    for path in (grey, tmp_path / "colour.png"):
        assert decode(path, ImageFormat(image_size=2, channels=3, white=white))[0, 0].tolist() == [expected] * 3
        assert probe(path).white == 2.0 ** highest.bit_length() - 1


def test_plain_pixels_know_no_white(tmp_path: Path) -> None:
    path = save(Image.new("L", (9, 9), 200), tmp_path / "a.png")
    assert probe(path).white == 0.0
    assert decode(path, ImageFormat(image_size=2, channels=1, white=4095.0))[0, 0, 0] == 200


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied(tmp_path: Path, orientation: int) -> None:
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    image = Image.fromarray(QUARTER)
    stored = image.transpose(undo[orientation]) if orientation in undo else image
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert corners(save(stored, tmp_path / "a.png", exif=exif)) == [[200], [0], [0], [0]]


def test_transparent_is_white_and_half_transparent_is_half_white(tmp_path: Path) -> None:
    pixels = np.zeros((1, 3, 4), np.uint8)  # black, with opacities
    pixels[0, :, 3] = [255, 0, 128]
    path = save(Image.fromarray(np.repeat(pixels, 3, axis=0)), tmp_path / "a.png")
    assert decode(path, ImageFormat(image_size=3, channels=3))[0].tolist() == [[0] * 3, [255] * 3, [127] * 3]


def test_an_alpha_channel_that_hides_everything_is_ignored(tmp_path: Path) -> None:
    path = save(Image.new("RGBA", (4, 4), (10, 20, 30, 0)), tmp_path / "a.png")
    assert decode(path, ImageFormat(image_size=2, channels=3))[0, 0].tolist() == [10, 20, 30]


@pytest.mark.parametrize(("ending", "options"), [("gif", {}), ("mpo.jpg", {"format": "MPO"}), ("tif", {})])
def test_first_frame(tmp_path: Path, ending: str, options: dict[str, str]) -> None:
    frames = [Image.new("L", (8, 8), level) for level in (250, 0, 90)]
    path = save(frames[0], tmp_path / f"a.{ending}", save_all=True, append_images=frames[1:], **options)
    assert decode(path, ImageFormat(image_size=1, channels=1))[0, 0, 0] == pytest.approx(250, abs=2)


def test_shrinking_averages_over_all_source_pixels(tmp_path: Path) -> None:
    stripes = np.tile(np.array([0, 255], np.uint8), (64, 32))
    pixels = decode(save(Image.fromarray(stripes), tmp_path / "a.png"), ImageFormat(image_size=4, channels=1))
    assert np.abs(pixels.astype(int) - 127).max() <= 8


def test_large_photographs_are_decoded_at_a_smaller_scale_without_a_visible_difference(tmp_path: Path) -> None:
    scene = Image.fromarray(np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)).resize((1600, 1200))
    path = save(scene, tmp_path / "a.jpg", quality=95)
    with Image.open(path) as image:
        whole = np.asarray(image.resize((32, 32), Image.Resampling.BILINEAR)).astype(int)
    assert np.abs(decode(path, ImageFormat(image_size=32, channels=3)) - whole).max() <= 2


def _noise_png(folder: Path) -> bytes:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    return save(Image.fromarray(noise), folder / "sound.png").read_bytes()


def _bomb() -> bytes:
    """A BMP header that declares 65535 x 65535 pixels."""
    return b"BM" + struct.pack("<IHHI", 54, 0, 0, 54) + struct.pack("<IiiHHIIiiII", 40, 65535, 65535, 1, 24, *[0] * 6)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (lambda folder: b"", "empty file"),
        (lambda folder: b"<html>404</html>", "not an image in a supported format"),
        (lambda folder: _noise_png(folder)[:3000], "truncated"),
        (lambda folder: _noise_png(folder)[:20], "."),
        (lambda folder: _bomb(), "absurd number of pixels"),
        (lambda folder: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image in a supported format"),
        (
            lambda folder: save(Image.fromarray(np.full((2, 2), np.nan, np.float32)), folder / "n.tif").read_bytes(),
            "finite",
        ),
    ],
    ids=["empty", "web page", "half", "header only", "bomb", "postscript", "not finite"],
)
def test_what_cannot_be_read_has_a_reason(tmp_path: Path, content, reason: str) -> None:
    path = tmp_path / "bad.png"
    path.write_bytes(content(tmp_path))
    for read in (lambda: decode(path, ImageFormat(image_size=8, channels=3)), lambda: probe(path)):
        with pytest.raises(UnreadableImage, match=reason) as caught:
            read()
        assert "\n" not in str(caught.value)


def test_a_missing_file_is_unreadable(tmp_path: Path) -> None:
    with pytest.raises(UnreadableImage, match="No such file"):
        decode(tmp_path / "gone.png", ImageFormat(image_size=8, channels=3))


def test_damaged_exif_is_no_reason_to_lose_an_image(tmp_path: Path) -> None:
    path = save(Image.fromarray(QUARTER), tmp_path / "a.png", exif=b"Exif\0\0II*\0\xff\xff\xff\x7f garbage")
    assert corners(path) == [[200], [0], [0], [0]]


def test_images_that_would_fill_the_memory_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(Image.new("L", (40, 40), 7), tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1600)
    decode(path, ImageFormat(image_size=8, channels=1))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1599)  # Pillow itself would only warn below twice as many
    with pytest.raises(UnreadableImage, match="absurd number of pixels"):
        decode(path, ImageFormat(image_size=8, channels=1))
    with (tmp_path / "sparse.png").open("wb") as file:
        file.truncate((1 << 30) + 1)
    with pytest.raises(UnreadableImage, match="larger than 1024 MB"):
        decode(tmp_path / "sparse.png", ImageFormat(image_size=8, channels=1))


def test_deep_pixels_are_scaled_alike_in_all_parts_of_an_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(0).integers(0, 4096, (9, 7), dtype=np.uint16)
    path = save(Image.fromarray(values), tmp_path / "a.png")
    whole = decode(path, ImageFormat(image_size=7, channels=1))
    monkeypatch.setattr(decoding, "_AT_ONCE", 5)
    np.testing.assert_array_equal(decode(path, ImageFormat(image_size=7, channels=1)), whole)


def test_a_name_may_lie_about_the_format(tmp_path: Path) -> None:
    assert corners(save(Image.fromarray(QUARTER), tmp_path / "a.jpg", format="PNG"))[0] == [200]


@pytest.mark.parametrize(
    ("image", "grey"),
    [
        (Image.new("RGB", (70, 80), (90, 90, 90)), True),
        (Image.new("RGB", (70, 80), (90, 91, 92)), True),
        (Image.new("RGB", (70, 80), (90, 90, 99)), False),
        (Image.new("L", (70, 80), 9), True),
        (Image.new("P", (70, 80), 9), True),
    ],
)
def test_probe(tmp_path: Path, image: Image.Image, grey: bool) -> None:
    assert probe(save(image, tmp_path / "a.png")) == Probe(70, 80, grey)


def test_probe_sees_colour_in_a_part_of_a_jpeg(tmp_path: Path) -> None:
    image = Image.new("RGB", (640, 480), (90, 90, 90))
    assert probe(save(image, tmp_path / "grey.jpg")) == Probe(640, 480, True)
    image.paste((200, 30, 30), (300, 200, 316, 216))
    assert probe(save(image, tmp_path / "spot.jpg")) == Probe(640, 480, False)


def test_warnings_of_the_reader_stay_inside_whatever_the_threads_do(tmp_path: Path) -> None:
    path = save(Image.new("L", (40, 40), 7), tmp_path / "a.png", exif=b"Exif\0\0II*\0\xff\xff\xff\x7f garbage")
    with pytest.warns(UserWarning, match="Corrupt EXIF"), Image.open(path) as image:
        ImageOps.exif_transpose(image)
    before = list(warnings.filters)
    levels: list[int] = []

    def read() -> None:
        levels.append(int(decode(path, ImageFormat(image_size=1, channels=1))[0, 0, 0]))

    threads = [threading.Thread(target=read) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert levels == [7] * 8
    assert warnings.filters == before
