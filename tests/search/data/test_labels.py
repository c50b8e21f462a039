"""Classes from a table instead of from sub-folders."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from search.data.format_choice import FormatChoice
from search.data.images import load_images
from search.data.scan import scan
from search.data.scanned_folder import scan_folder
from search.errors import DataError
from search.events import SilentListener
from tests.factories import make_images
from tests.search.data.test_scan import put, quiet

FILES = ("x1.png", "x2.png", "deep/x3.jpg", "deep/er/x4.PNG", "x5.png")


@pytest.fixture
def here(tmp_path: Path) -> Path:
    put(tmp_path / "images", *FILES, ".hidden/x6.png")
    return tmp_path


def table(here: Path, text: str, place: str = "labels.csv") -> Path:
    path = here / place
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    "text",
    [
        "file,label\nx1.png,cat\nx2.png,dog\ndeep/x3.jpg,cat\ndeep/er/x4.PNG,dog\n",
        "file,label\nimages/x1.png,cat\nimages/x2.png,dog\nimages/deep/x3.jpg,cat\nimages/deep/er/x4.PNG,dog\n",
        "image_id;age;class\nx1;3;cat\nx2;4;dog\ndeep/x3;5;cat\ndeep\\er\\x4.PNG;6;dog\nx5;7;\n",
        "ID,Category\nx1,cat\nx2,dog\ndeep/x3,cat\ndeep/er/x4.PNG,dog\n../../etc/passwd,cow\n.hidden/x6,cow\n",
    ],
    ids=["by image folder", "by own folder", "names without endings", "other files"],
)
def test_what_a_table_names_is_found_and_the_rest_left_out(
    here: Path, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    labels = table(here, text)
    with caplog.at_level(logging.WARNING):
        found = scan(here / "images", labels=labels, on_progress=quiet)
    assert found.classes == ("cat", "dog")
    assert {file: found.classes[label] for file, label in zip(found.files, found.labels, strict=True)} == {
        "x1.png": "cat",
        "x2.png": "dog",
        "deep/x3.jpg": "cat",
        "deep/er/x4.PNG": "dog",
    }
    assert caplog.messages == [f"Left out 1 of 5 images in {here / 'images'} that are not in {labels}."]


def test_what_is_in_one_of_them_only_is_kept(here: Path) -> None:
    labels = table(here, "file,label\nx1.png,cat\nx2.png,dog\ngone.png,dog\nx5.png,\n")
    found = scan(here / "images", labels=labels, on_progress=quiet)
    assert set(found.unlabelled) == {"deep/x3.jpg", "deep/er/x4.PNG", "x5.png"}
    assert found.missing_files == ("gone.png",)


@pytest.mark.parametrize("file", ["ISIC_1.JPG", "ISIC_1.Jpeg", "scan.2.PNG"])
def test_a_name_without_its_ending_finds_the_image_however_that_is_written(tmp_path: Path, file: str) -> None:
    put(tmp_path / "images", file, "other.png")
    labels = table(tmp_path, f"id,label\n{file.rpartition('.')[0]},cat\nother,dog\n")
    assert set(scan(tmp_path / "images", labels=labels, on_progress=quiet).files) == {file, "other.png"}


def test_an_accent_may_be_written_otherwise_in_the_table(tmp_path: Path) -> None:
    put(tmp_path / "images", "cafe\u0301.png", "tea.png")
    labels = table(tmp_path, "file,label\ncaf\u00e9.png,cat\ntea.png,dog\n")
    assert len(scan(tmp_path / "images", labels=labels, on_progress=quiet).files) == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,label\nx1.png,cat\nx2.png,cat\n", r"labels\.csv has only one class \('cat'\).*at least two labels"),
        ("file,label\ny.png,cat\n", r"names none of the images in .*images"),
        ("file,label\nx1.png,cat\nx1.png,dog\n", r"has x1\.png in two classes, 'cat' and 'dog'"),
        ("file,sort\nx1.png,cat\n", r"lacks the column 'label'.*found file, sort"),
        ("", "lacks the column 'file'"),
    ],
    ids=["one class", "no match", "two labels", "no label", "empty"],
)
def test_unusable_labels(here: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        scan(here / "images", labels=table(here, text), on_progress=quiet)
    with pytest.raises(DataError, match="there is no folder"):
        scan(here / "none", labels=table(here, text), on_progress=quiet)
    with pytest.raises(DataError, match="there is no label file"):
        scan(here / "images", labels=here / "none.csv", on_progress=quiet)


def test_test_images_are_in_the_table_or_in_sub_folders(here: Path) -> None:
    labels = table(here, "file,label\nx1.png,cat\nx2.png,dog\ntest/x7.png,dog\n")
    put(here / "test", "x7.png", "x8.png")
    by_table = scan(here / "test", classes=("cat", "dog"), labels=labels, on_progress=quiet)
    assert (by_table.files, by_table.labels.tolist()) == (("x7.png",), [1])
    put(here / "apart", "cat/x9.png")
    by_folder = scan(here / "apart", classes=("cat", "dog"), labels=labels, on_progress=quiet)
    assert (by_folder.files, by_folder.labels.tolist()) == (("cat/x9.png",), [0])
    with pytest.raises(DataError, match="a class 'dog' that the training images don't have"):
        scan(here / "test", classes=("cat", "cow"), labels=labels, on_progress=quiet)


SPLIT = ("train/x1.png", "train/x2.png", "val/x3.png", "test/x4.png", "test/x5.png", "more/x6.png")


@pytest.mark.parametrize("place", ["labels.csv", "images/labels.csv"])
def test_the_part_of_a_split_that_is_for_a_test_is_kept_apart(tmp_path: Path, place: str) -> None:
    put(tmp_path / "images", *SPLIT)
    rows = "".join(f"{file},{'cat' if number % 2 else 'dog'}\n" for number, file in enumerate(SPLIT))
    labels = table(tmp_path, "file,label\n" + rows, place)
    found = scan(tmp_path / "images", labels=labels, on_progress=quiet)
    assert set(found.files) == {"train/x1.png", "train/x2.png", "val/x3.png", "more/x6.png"}
    assert found.test == tmp_path / "images" / "test"
    kept = scan(found.test, classes=found.classes, labels=labels, on_progress=quiet)
    assert {file: kept.classes[label] for file, label in zip(kept.files, kept.labels, strict=True)} == {
        "x4.png": "cat",
        "x5.png": "dog",
    }


def test_a_split_without_a_part_to_train_on_or_with_two_for_a_test(tmp_path: Path) -> None:
    put(tmp_path / "images", "test/x1.png", "other/x2.png")
    labels = table(tmp_path, "file,label\ntest/x1.png,cat\nother/x2.png,dog\n")
    found = scan(tmp_path / "images", labels=labels, on_progress=quiet)
    assert (len(found.files), found.test) == (2, None)
    put(tmp_path / "images", "train/x3.png", "Testing/x4.png")
    with pytest.raises(DataError, match=r"has several test sets \(Testing, test\)"):
        scan(tmp_path / "images", labels=labels, on_progress=quiet)


def test_a_test_of_which_no_image_is_labelled_is_no_test(tmp_path: Path) -> None:
    put(tmp_path / "images", "train/x1.png", "train/x2.png", "test/x3.png")
    labels = table(tmp_path, "file,label\ntrain/x1.png,cat\ntrain/x2.png,dog\n")
    assert scan(tmp_path / "images", labels=labels, on_progress=quiet).test is None


def test_the_same_images_are_the_same_however_they_are_labelled(tmp_path: Path) -> None:
    folders = make_images(tmp_path / "folders", 6)
    flat = tmp_path / "flat"
    flat.mkdir()
    rows = ["file,label"]
    for number, file in enumerate(sorted(folders.rglob("*.png"))):
        (flat / f"{number}.png").write_bytes(file.read_bytes())
        rows.append(f"{number},{file.parent.name}")
    table(tmp_path, "\n".join(rows))
    by_folder, by_table = (
        load_images(
            scan_folder(folder, SilentListener(), labels=labels),
            FormatChoice(image_size=16, size_cap=64),
            SilentListener(),
            folds=2,
        )
        for folder, labels in ((folders, None), (flat, tmp_path / "labels.csv"))
    )
    assert by_table.summary.fingerprint == by_folder.summary.fingerprint
    assert by_table.labels.tolist() == by_folder.labels.tolist()
