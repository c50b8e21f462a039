import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from search.data.scan import LEADS_OUT, scan
from search.errors import DataError


def quiet(what: str, done: int, total: int) -> None: ...


def put(folder: Path, *files: str) -> Path:
    for file in files:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_text(file)
    return folder


def test_finds_images_of_any_ending_at_any_depth_and_nothing_hidden(tmp_path: Path) -> None:
    wanted = ["a/1.png", "a/2.JPG", "a/deep/er/3.jpeg", "a/4.Bmp", "b/5.gif", "b/6.tif", "b/7.TIFF", "b/8.webp"]
    put(tmp_path, *wanted, "a/.9.png", "a/.hidden/10.png", ".c/11.png", "a/12.txt", "13.png", "b/14.psd")
    found = scan(tmp_path, on_progress=quiet)
    assert sorted(found.files) == sorted(wanted)
    assert found.classes == ("a", "b")
    assert found.labels.tolist() == [0] * 4 + [1] * 4
    assert found.labels.dtype == np.int64


@pytest.mark.parametrize("ending", ["png", "jpg", "bmp", "gif", "tif", "webp"])
def test_pictures_that_are_not_named_as_ones_are_told(tmp_path: Path, ending: str) -> None:
    put(tmp_path, "a/1.png", "a/notes", "a/labels.txt", "a/BMI.csv", "b/2.png")
    Image.new("RGB", (4, 4), "red").save(tmp_path / f"{ending}.{ending}")
    for name in ("IMG_0001", "scan.png.bak", "x.jpe"):
        shutil.copy(tmp_path / f"{ending}.{ending}", tmp_path / "a" / name)
    found = scan(tmp_path, on_progress=quiet)
    assert sorted(found.files) == ["a/1.png", "b/2.png"]
    why = f"is an image without the ending of one: rename it to end in .{ending}"
    assert dict(found.unopened) == dict.fromkeys(("a/IMG_0001", "a/scan.png.bak", "a/x.jpe"), why)


def test_rows_are_sorted_by_class_then_content_so_names_change_nothing(tmp_path: Path) -> None:
    before = scan(put(tmp_path / "x", *(f"{c}/{n}.png" for c in "ab" for n in range(9))), on_progress=quiet)
    shutil.copytree(tmp_path / "x", tmp_path / "y")
    for number, file in enumerate(sorted((tmp_path / "y").rglob("*.png"), reverse=True)):
        file.rename(file.with_name(f"{number:03}.jpg"))
    after = scan(tmp_path / "y", on_progress=quiet)
    assert after.digests == before.digests
    assert after.labels.tolist() == before.labels.tolist()
    assert list(before.digests[:9]) == sorted(before.digests[:9])
    contents = [(tmp_path / "x" / file).read_text() for file in before.files]
    assert [(tmp_path / "y" / file).read_text() for file in after.files] == contents


def test_links_to_files_are_followed_and_broken_ones_named(tmp_path: Path) -> None:
    put(tmp_path, "data/a/1.png", "data/b/2.png", "data/.hidden/3.png")
    (tmp_path / "data/a/link.png").symlink_to(tmp_path / "data/.hidden/3.png")
    (tmp_path / "data/b/broken.png").symlink_to(tmp_path / "data" / "gone.png")
    (tmp_path / "data/b/loop").symlink_to(tmp_path / "data")
    found = scan(tmp_path / "data", on_progress=quiet)
    assert sorted(found.files) == ["a/1.png", "a/link.png", "b/2.png"]
    assert dict(found.unopened) == {
        "b/broken.png": "No such file or directory",
        "b/loop": "links to folders are only followed if they are a class: replace the link by the folder itself",
    }


def test_links_that_lead_out_of_the_folder_are_followed_only_when_asked(tmp_path: Path) -> None:
    put(tmp_path, "data/a/1.png", "data/b/2.png", "elsewhere/3.png", "data-2/4.png")
    (tmp_path / "data/a/secret.png").symlink_to(tmp_path / "elsewhere/3.png")
    (tmp_path / "data/a/beside.png").symlink_to(tmp_path / "data-2/4.png")
    (tmp_path / "data/c").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DataError, match=r"class 'c' has no images: .*only links to places outside .*--follow-links"):
        scan(tmp_path / "data", on_progress=quiet)
    followed = scan(tmp_path / "data", follow_links=True, on_progress=quiet)
    assert sorted(followed.files) == ["a/1.png", "a/beside.png", "a/secret.png", "b/2.png", "c/3.png"]
    (tmp_path / "data/c").unlink()
    found = scan(tmp_path / "data", on_progress=quiet)
    assert sorted(found.files) == ["a/1.png", "b/2.png"]
    assert dict(found.unopened) == {"a/secret.png": LEADS_OUT, "a/beside.png": LEADS_OUT}


def test_progress_reaches_the_end(tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    scan(put(tmp_path, "a/1.png", "b/2.png", "b/3.png"), on_progress=lambda *news: told.append(news))
    assert told == [("hashing", 1, 3), ("hashing", 2, 3), ("hashing", 3, 3)]


@pytest.mark.parametrize(
    ("files", "folder", "message"),
    [
        (["a/1.png"], "nowhere", r"there is no folder .*nowhere\. Expected one sub-folder for each class"),
        (["a/1.png"], "a/1.png", r"1\.png is a file\. Expected a folder"),
        (["1.png"], ".", r"has no sub-folders"),
        (["a/1.png", ".b/2.png"], ".", r"only one class \('a'\)"),
        (["a/1.png", "b/2.psd"], ".", r"class 'b' has no images: .*b holds no file ending in \.png"),
        (["test/a/1.png", "test/b/2.png"], ".", r"only the test set 'test'.*--data .*test"),
        (
            ["train/a/1.png", "test/2.png", "spare/3.png"],
            ".",
            r"split folders \(test, train\) with 'spare'.*--data .*train",
        ),
        (
            ["train/a/1.png", "train/b/2.png", "val/a/3.png", "more/a/4.png"],
            ".",
            r"mixes split folders \(train, val\) with 'more'",
        ),
    ],
    ids=["missing", "file", "flat", "one class", "empty class", "test only", "flat test and more", "split and more"],
)
def test_unusable_folders(tmp_path: Path, files: list[str], folder: str, message: str) -> None:
    put(tmp_path, *files)
    with pytest.raises(DataError, match=message):
        scan(tmp_path / folder, on_progress=quiet)


def test_a_test_folder_takes_the_training_labels(tmp_path: Path) -> None:
    found = scan(put(tmp_path, "c/1.png", "empty/x.txt"), classes=["a", "c", "empty"], on_progress=quiet)
    assert found.classes == ("a", "c", "empty")
    assert found.labels.tolist() == [1]


def test_a_test_folder_may_not_have_a_new_class(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"class 'd' that the training images don't have\. Known classes: a, c"):
        scan(put(tmp_path, "c/1.png", "d/2.png"), classes=["a", "c"], on_progress=quiet)


def test_of_a_split_that_was_made_the_test_is_kept_apart(tmp_path: Path) -> None:
    put(tmp_path, "train/a/1.png", "train/b/2.png", "Val/b/deep/3.png", "Val/c/4.png", "test/a/5.png", "readme.txt")
    found = scan(tmp_path, on_progress=quiet)
    assert sorted(found.files) == ["Val/b/deep/3.png", "Val/c/4.png", "train/a/1.png", "train/b/2.png"]
    assert found.classes == ("a", "b", "c")
    labels = {file: found.classes[label] for file, label in zip(found.files, found.labels, strict=True)}
    assert labels == {"train/a/1.png": "a", "train/b/2.png": "b", "Val/b/deep/3.png": "b", "Val/c/4.png": "c"}
    assert found.test == tmp_path / "test"
    test = scan(found.test, classes=found.classes, on_progress=quiet)
    assert (test.files, test.test) == (("a/5.png",), None)


@pytest.mark.parametrize(
    ("train", "test"), [("training_set", "test_set"), ("seg_train", "seg_test"), ("Train Images", "Test-Images")]
)
def test_a_split_is_known_by_words_in_its_names_and_by_its_classes(tmp_path: Path, train: str, test: str) -> None:
    put(tmp_path, *(f"{part}/{name}/{part[:2]}.png" for part in (train, test) for name in ("cats", "dogs")))
    found = scan(tmp_path, on_progress=quiet)
    assert found.classes == ("cats", "dogs")
    assert {file.partition("/")[0] for file in found.files} == {train}
    assert found.test == tmp_path / test


@pytest.mark.parametrize(
    "files",
    [
        ["test_tube/red/1.png", "train_station/old/2.png"],
        ["test tube/a/1.png", "test tube/b/2.png", "flask/a/3.png", "flask/b/4.png"],
        ["test_a/x/1.png", "test_a/y/2.png", "test_b/x/3.png", "test_b/y/4.png"],
    ],
)
def test_words_of_a_split_alone_make_none(tmp_path: Path, files: list[str]) -> None:
    found = scan(put(tmp_path, *files), on_progress=quiet)
    assert set(found.classes) == {file.split("/")[0] for file in files}
    assert found.test is None


def test_what_macs_and_disks_leave_is_no_class_and_no_image(tmp_path: Path) -> None:
    put(tmp_path, "a/1.png", "b/2.png", "__MACOSX/a/._1.png", "__MACOSX/x.png", "a/@eaDir/1.png/THUMB.jpg")
    found = scan(tmp_path, on_progress=quiet)
    assert (found.classes, sorted(found.files)) == (("a", "b"), ["a/1.png", "b/2.png"])


def test_a_class_is_one_however_its_accents_are_written(tmp_path: Path) -> None:
    put(tmp_path, "train/caf\u00e9/1.png", "train/tea/2.png", "val/cafe\u0301/3.png")
    found = scan(tmp_path, on_progress=quiet)
    assert found.classes == ("caf\u00e9", "tea")
    assert found.labels.tolist().count(0) == 2


def test_parts_without_classes_are_left_alone_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    put(tmp_path, "train/a/1.png", "train/b/2.png", "test/3.png")
    found = scan(tmp_path, on_progress=quiet)
    assert found.classes == ("a", "b")
    assert sorted(found.files) == ["train/a/1.png", "train/b/2.png"]
    assert found.test is None
    assert "test has no sub-folders for classes and is ignored." in caplog.text


def test_images_in_formats_that_are_not_read_are_named(tmp_path: Path) -> None:
    found = scan(put(tmp_path, "a/1.png", "a/2.HEIC", "a/notes.txt", "b/3.jfif", "b/deep/4.ppm"), on_progress=quiet)
    assert sorted(found.files) == ["a/1.png", "b/3.jfif"]
    assert dict(found.unopened) == {
        "a/2.HEIC": ".heic images are not supported: convert them to png or jpg",
        "b/deep/4.ppm": ".ppm images are not supported: convert them to png or jpg",
    }


def test_a_linked_part_of_a_split_is_not_followed_either(tmp_path: Path) -> None:
    put(tmp_path / "elsewhere", "a/1.png", "b/2.png")
    put(tmp_path / "data", "val/a/3.png", "val/b/4.png")
    (tmp_path / "data/train").symlink_to(tmp_path / "elsewhere")
    found = scan(tmp_path / "data", on_progress=quiet)
    assert sorted(found.files) == ["val/a/3.png", "val/b/4.png"]
    assert set(found.unopened.values()) == {LEADS_OUT}
    assert len(scan(tmp_path / "data", follow_links=True, on_progress=quiet).files) == 4


def test_a_linked_test_is_not_followed_either(tmp_path: Path) -> None:
    put(tmp_path / "elsewhere", "a/1.png", "b/2.png")
    put(tmp_path / "data", "train/a/3.png", "train/b/4.png")
    (tmp_path / "data/test").symlink_to(tmp_path / "elsewhere")
    found = scan(tmp_path / "data", on_progress=quiet)
    assert (found.test, dict(found.unopened)) == (None, {"test": LEADS_OUT})
    assert scan(tmp_path / "data", follow_links=True, on_progress=quiet).test == tmp_path / "data" / "test"


@pytest.mark.parametrize("files", [["train/1.png", "test/2.png"], ["train/a/1.png", "other/2.png"]])
def test_classes_may_be_called_like_a_split(files: list[str], tmp_path: Path) -> None:
    found = scan(put(tmp_path, *files), on_progress=quiet)
    assert set(found.classes) == {file.split("/")[0] for file in files}
    assert found.test is None
