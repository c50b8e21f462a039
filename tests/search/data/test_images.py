import json
import logging
import os
import pickle
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from search.data import decoded_cache
from search.data.decode import decode
from search.data.format_choice import FormatChoice
from search.data.images import ImageSet, load_images
from search.data.scanned_folder import scan_folder
from search.errors import DataError
from search.events import Listener, SilentListener
from spaces.image_format import ImageFormat


class Notes(SilentListener):
    """Writes down what it is told."""

    def __init__(self) -> None:
        self.stages: list[str] = []
        self.ends: list[tuple[str, int]] = []

    def stage(self, text: str) -> None:
        self.stages.append(text)

    def progress(self, what: str, done: int, total: int) -> None:
        if done == total:
            self.ends.append((what, total))


def load(
    folder: Path,
    *,
    classes: Sequence[str] | None = None,
    groups: Path | None = None,
    listener: Listener | None = None,
    folds: int = 2,
    copies_in: int = 0,
    images: ImageFormat | None = None,
    **choice: Any,
) -> ImageSet:
    listener = listener or SilentListener()
    scanned = scan_folder(folder, listener, classes=classes, groups=groups)
    wanted = images or FormatChoice(**{"size_cap": 64, **choice})
    return load_images(scanned, wanted, listener, folds=folds, copies_in=copies_in)


def spoil(folder: Path, *files: str) -> None:
    for file in files:
        (folder / file).write_bytes(b"not an image: " + file.encode())


def test_what_a_folder_becomes(make_folder) -> None:
    folder = make_folder(cat=4, dog=3, side=20)
    notes = Notes()
    images = load(folder, listener=notes)
    assert images.labels.tolist() == [0] * 4 + [1] * 3
    assert images.labels.dtype == np.int64
    assert images.groups is None
    assert images.pixels().shape == (7, 16, 16, 1)
    assert not images.pixels().flags.writeable
    for row, file in enumerate(images.files):
        np.testing.assert_array_equal(
            images.pixels()[row], decode(folder / file, ImageFormat(image_size=16, channels=1))
        )
    summary = images.summary
    assert list(summary.classes.items()) == [("cat", 4), ("dog", 3)]
    assert (summary.folder, summary.images, summary.image_size, summary.channels) == (str(folder), 7, 16, 1)
    assert summary.quarantined == {}
    assert summary.size_reason.startswith("the median of the images' shorter sides is 20 pixels")
    assert notes.stages == [f"Scanning {folder}", "Measuring 7 images", "Reading 7 images at 16 x 16 pixels"]
    assert notes.ends == [("hashing", 7), ("measuring", 7), ("decoding", 7)]


def test_the_summary_tells_sizes_colours_and_files_that_are_there_twice(make_folder) -> None:
    folder = make_folder(cat=4, dog=3, side=20)
    shutil.copy(next((folder / "cat").iterdir()), folder / "dog" / "again.png")
    summary = load(folder).summary
    assert summary.sizes == {"20 x 20": 8}
    assert (summary.grey, summary.duplicates) == (8, 1)
    unmeasured = load(folder, images=ImageFormat(image_size=16, channels=1)).summary
    assert (unmeasured.sizes, unmeasured.grey, unmeasured.duplicates) == ({}, None, 1)


def test_it_can_be_sent_to_a_worker(make_folder) -> None:
    images = load(make_folder(a=2, b=2))
    copy = pickle.loads(pickle.dumps(images))
    np.testing.assert_array_equal(copy.pixels(), images.pixels())


def test_a_second_run_decodes_nothing(make_folder, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_folder(a=2, b=2)
    spoil(folder, "a/bad.png")
    first = load(folder)
    monkeypatch.delattr(decoded_cache, "decode")
    monkeypatch.delattr(decoded_cache, "probe")
    second = load(folder)
    assert second.summary == first.summary
    assert second.path == first.path


def test_colour_and_a_given_size(make_folder) -> None:
    images = load(make_folder(a=2, b=2, colour=True), image_size=11)
    assert images.pixels().shape == (4, 11, 11, 3)
    assert images.summary.size_reason == "set by --image-size."


def test_unreadable_files_are_set_aside_and_named(make_folder, caplog: pytest.LogCaptureFixture) -> None:
    folder = make_folder(a=3, b=2)
    spoil(folder, "a/bad.png", "b/worse.jpg")
    (folder / "a" / "gone.png").symlink_to(folder / "nowhere.png")
    with caplog.at_level(logging.WARNING):
        images = load(folder)
    assert list(images.summary.quarantined) == ["a/bad.png", "a/gone.png", "b/worse.jpg"]
    assert images.summary.quarantined["a/gone.png"] == "No such file or directory"
    assert images.summary.quarantined["a/bad.png"].startswith("not an image in a supported format")
    assert images.summary.classes == {"a": 3, "b": 2}
    assert len(images.files) == len(images.labels) == len(images.pixels()) == 5
    assert [record.getMessage().split(":")[0] for record in caplog.records] == [
        "Left out a/bad.png",
        "Left out a/gone.png",
        "Left out b/worse.jpg",
    ]


def test_a_class_below_the_folds_is_an_error(make_folder) -> None:
    folder = make_folder(a=5, b=4)
    spoil(folder, "b/0.png")
    message = r"class 'b' has 3 readable image\(s\) in .*b \(1 unreadable\), but 5 folds need .* or pass --folds 3\."
    with pytest.raises(DataError, match=message):
        load(folder, folds=5)
    assert load(folder, folds=3).summary.classes == {"a": 5, "b": 3}


@pytest.mark.parametrize("folds", [0, 1])
def test_nothing_readable_is_an_error(make_folder, folds: int) -> None:
    folder = make_folder(a=1, b=1)
    spoil(folder, "a/0.png", "b/0.png")
    with pytest.raises(
        DataError, match=r"none of the images in .* can be read \(2 files tried\)\. The first: a/0\.png: not an image"
    ):
        load(folder, folds=folds)


def test_a_class_without_readable_images_is_an_error(make_folder) -> None:
    folder = make_folder(a=1, b=1)
    spoil(folder, "b/0.png")
    with pytest.raises(DataError, match=r"class 'b' has no readable image in .*b \(1 unreadable\)"):
        load(folder, folds=1)


def test_a_test_folder_gets_the_training_labels_and_is_not_measured(make_folder) -> None:
    make_folder("train", a=2, b=2, c=2)
    notes = Notes()
    images = load(
        make_folder("test", c=1, a=2),
        images=ImageFormat(image_size=16, channels=3),
        folds=0,
        classes=["a", "b", "c"],
        listener=notes,
    )
    assert images.labels.tolist() == [0, 0, 2]
    assert list(images.summary.classes.items()) == [("a", 2), ("b", 0), ("c", 1)]
    assert images.pixels().shape == (3, 16, 16, 3)
    assert [what for what, _ in notes.ends] == ["hashing", "decoding"]


def test_groups(make_folder, tmp_path: Path) -> None:
    folder = make_folder(a=2, b=2)
    spoil(folder, "a/bad.png")  # needs no group: it is left out
    table = tmp_path / "groups.csv"
    table.write_text("file,group\nimages/a/0.png,x\nimages/a/1.png,y\nimages/b/0.png,x\nimages/b/1.png,z\n")
    images = load(folder, groups=table)
    assert images.groups is not None
    by_file = dict(zip(images.files, images.groups.tolist(), strict=True))
    assert by_file["a/0.png"] == by_file["b/0.png"]
    assert sorted(set(by_file.values())) == [0, 1, 2]
    assert images.summary.groups == 3
    table.write_text("file,group\nimages/a/0.png,x\n")
    with pytest.raises(DataError, match="3 of 4 images have no group"):
        load(folder, groups=table)


def test_the_fingerprint_is_of_contents_classes_and_format(make_folder) -> None:
    folder = make_folder(a=3, b=3)
    first = load(folder).summary.fingerprint

    renamed = shutil.copytree(folder, folder.with_name("renamed"))
    for file in list(renamed.rglob("*.png")):
        file.rename(file.with_name(f"x{file.stem}.tiff"))
    spoil(renamed, "a/unreadable.png")
    assert load(renamed).summary.fingerprint == first

    others = [load(folder, image_size=24).summary.fingerprint, load(folder, channels=3).summary.fingerprint]
    (renamed / "b").rename(renamed / "c")
    others.append(load(renamed).summary.fingerprint)
    (renamed / "a" / "x0.tiff").rename(renamed / "c" / "y.tiff")
    others.append(load(renamed).summary.fingerprint)
    (renamed / "c" / "y.tiff").unlink()
    others.append(load(renamed).summary.fingerprint)
    assert len({first, *others}) == 6


def test_three_by_three_pixels_stay_so_when_a_common_size_is_kept(make_folder) -> None:
    folder = make_folder(cat=2, dog=2, side=3)
    images = load(folder, folds=1, common_cap=224)
    assert images.pixels().shape == (4, 3, 3, 1)
    assert images.summary.size_reason == "all images have 3 x 3 pixels."
    np.testing.assert_array_equal(
        images.pixels()[0], decode(folder / images.files[0], ImageFormat(image_size=3, channels=1))
    )


def test_a_known_format_may_be_small(make_folder) -> None:
    folder = make_folder(cat=2, dog=2, side=20)
    assert load(folder, images=ImageFormat(image_size=1, channels=1)).summary.image_size == 1


def of_sizes(folder: Path, sizes: list[tuple[int, int]]) -> Path:
    """Two classes with such images each, every one with a level of its own."""
    level = 0
    for name in ("cat", "dog"):
        (folder / name).mkdir(parents=True)
        for number, size in enumerate(sizes):
            level += 7
            Image.new("L", size, level).save(folder / name / f"{number}.png")
    return folder


def test_images_keep_their_sizes(tmp_path: Path) -> None:
    folder = of_sizes(tmp_path / "images", [(40, 20), (20, 40), (30, 30), (400, 200)])
    images = load(folder, native=True, image_size=40, folds=0)
    assert set(images.format.shapes) == {(20, 40), (40, 20), (30, 30)}
    assert images.pixels().shape == (8, 40, 40, 1)
    assert images.shape_ids is not None
    for row, file in enumerate(images.files):
        height, width = images.format.shapes[images.shape_ids[row]]
        pixels = images.pixels()[row, ..., 0]
        with Image.open(folder / file) as original:
            assert (width / height) == pytest.approx(original.width / original.height)
            assert (pixels[:height, :width] == original.getpixel((0, 0))).all()
        assert not pixels[height:].any()
        assert not pixels[:, width:].any()
    assert images.summary.shapes == {"40 x 20": 4, "20 x 40": 2, "30 x 30": 2}
    assert "3 shapes from 40 x 20 to 30 x 30" in images.summary.size_reason
    assert images.summary.fingerprint != load(folder, image_size=40, folds=0).summary.fingerprint


def test_other_images_get_the_shapes_of_the_training_images(tmp_path: Path) -> None:
    of_sizes(tmp_path / "other", [(44, 22), (10, 12), (900, 100)])
    shapes = ((20, 40), (30, 30))
    images = load(tmp_path / "other", images=ImageFormat(image_size=40, channels=1, shapes=shapes), folds=0)
    again = load(tmp_path / "other", shapes=shapes, folds=0, image_size=40)
    assert again.summary == images.summary
    assert images.shape_ids is not None
    assert dict(zip(images.files, images.shape_ids.tolist(), strict=True)) == {
        f"{name}/{number}.png": place for name in ("cat", "dog") for number, place in ((0, 0), (1, 1), (2, 0))
    }


def test_unreadable_images_among_those_of_every_size(tmp_path: Path) -> None:
    folder = of_sizes(tmp_path / "images", [(40, 20), (20, 40), (30, 30)])
    spoil(folder, "cat/4.png")
    images = load(folder, native=True, image_size=40, folds=0)
    assert len(images.files) == 6 == len(images.shape_ids)
    assert list(images.summary.quarantined) == ["cat/4.png"]


def copied(folder: Path, pictures: dict[str, tuple[int, int]]) -> Path:
    """For each class so many pictures, each there so many times, in other qualities."""
    for place, (name, (count, times)) in enumerate(pictures.items()):
        (folder / name).mkdir(parents=True)
        for number in range(count):
            coarse = np.random.default_rng([place, number]).integers(0, 256, (9, 9), np.uint8)
            picture = Image.fromarray(coarse).resize((90, 90), Image.Resampling.BICUBIC)
            for time in range(times):
                picture.save(folder / name / f"{number}-{time}.jpg", quality=90 - 10 * time)
    return folder


def test_copies_of_a_picture_are_one_group(tmp_path: Path) -> None:
    found = load(copied(tmp_path / "images", {"a": (6, 2), "b": (7, 1)}), folds=5, copies_in=5)
    assert found.groups is not None
    assert len(found.groups) == 19
    assert len(np.unique(found.groups)) == 13
    assert found.summary.copies == 6
    for one in np.unique(found.groups):
        names = {found.files[row].partition("-")[0] for row in np.flatnonzero(found.groups == one)}
        assert len(names) == 1


def test_copies_are_joined_as_for_a_cross_validation_where_none_follows(tmp_path: Path) -> None:
    """A network of all images, and one for each fold, know the same groups as the search."""
    folder = copied(tmp_path / "images", {"few": (3, 3), "many": (8, 2)})
    searched, trained = (load(folder, folds=folds, copies_in=5) for folds in (5, 1))
    assert searched.groups is not None
    np.testing.assert_array_equal(trained.groups, searched.groups)


@pytest.mark.parametrize("planted", [[[[0, 99]]], [[[-1, 0]]], [[[0, 1]], [[1, 2]]], [[["a"]]], 7])
def test_copies_that_somebody_planted_in_the_cache_are_compared_anew(tmp_path: Path, planted: object) -> None:
    folder = copied(tmp_path / "images", {"a": (6, 2), "b": (7, 1)})
    found = load(folder, folds=5, copies_in=5)
    (entry,) = Path(os.environ["STEADYNET_CACHE"]).glob("*.clusters.json")
    entry.write_text(json.dumps(planted))
    np.testing.assert_array_equal(load(folder, folds=5, copies_in=5).groups, found.groups)


def test_where_a_class_has_too_few_pictures_only_its_copies_stay_apart(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    found = load(copied(tmp_path / "images", {"few": (3, 3), "many": (8, 2)}), folds=5, copies_in=5)
    assert found.groups is not None
    few = found.labels == 0
    assert len(np.unique(found.groups[few])) == few.sum() == 9
    assert len(np.unique(found.groups[~few])) == 8
    assert (found.summary.copies, found.summary.apart) == (8, ("few",))
    assert "Class 'few' has too few different pictures" in caplog.text
    assert "many" not in caplog.text


def test_small_images_are_grown_to_what_networks_take(make_folder) -> None:
    found = load(make_folder(a=6, b=6, side=20), folds=2, shortest_side=32)
    assert found.summary.image_size == 32
    assert "takes no smaller images" in found.summary.size_reason
    assert (
        load(make_folder("other", a=6, b=6, side=20), folds=2, image_size=24, shortest_side=32).summary.image_size == 24
    )


def deep(folder: Path, **highest: Sequence[int]) -> Path:
    """Grey pictures of 16 bits, each with this highest level."""
    for owner, levels in highest.items():
        (folder / owner).mkdir(parents=True)
        for number, level in enumerate(levels):
            pixels = np.random.default_rng(number).integers(0, level + 1, (20, 20)).astype(np.uint16)
            pixels[0, 0] = level
            Image.fromarray(pixels).save(folder / owner / f"{number}.png")
    return folder


def test_one_intensity_is_the_same_in_all_images_of_a_set(tmp_path: Path) -> None:
    folder = deep(tmp_path / "images", a=(4000, 2500, 4095, 3000), b=(1800, 1900, 2000, 1000))
    found = load(folder)
    assert found.summary.white == 4095.0
    highest = {file: int(pixels.max()) for file, pixels in zip(found.files, found.pixels(), strict=True)}
    assert highest["a/2.png"] > 200
    assert highest["b/0.png"] < 128, "half as bright, as it was taken"
    own = deep(tmp_path / "test", a=(1000,), b=(900,))
    tested = load(own, folds=0, images=ImageFormat(image_size=16, channels=1, white=4095.0))
    assert tested.pixels().max() < 64
    assert tested.summary.white == 4095.0


def test_images_of_eight_bits_have_no_white(make_folder) -> None:
    assert load(make_folder(a=3, b=3)).summary.white is None
