"""What an inspection finds of what was planted in a folder, and that it finds nothing in a clean one."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from search.errors import DataError
from search.events import SilentListener
from search.inspection import class_findings, folder_check
from search.inspection.findings import KINDS, Finding, Severity
from search.inspection.folder_check import CheckRequest, inspect
from tests.search.data.test_duplicates import encoded, scene

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Thirty pictures of each of two classes, all different: to be copied."""
    folder = tmp_path_factory.mktemp("clean")
    for place, name in enumerate(("bolt", "nut")):
        (folder / name).mkdir()
        for number in range(30):
            scene(100 * place + number).save(folder / name / f"{number}.png")
    return folder


@pytest.fixture
def folder(clean: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of pictures for one test to change."""
    monkeypatch.setenv("STEADYNET_CACHE", str(tmp_path / "cache"))
    return shutil.copytree(clean, tmp_path / "images")


def found(folder: Path, **changes: object) -> dict[str, list[Finding]]:
    """Findings by kind. They are the same without the baselines, which take nine tenths of the time."""
    by_kind: dict[str, list[Finding]] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(folder_check, "baselines", lambda *arguments: {"constant": 0.5})
        inspection = inspect(CheckRequest(data=folder, **changes), SilentListener())
    for one in inspection.findings:
        assert one.kind in KINDS
        by_kind.setdefault(one.kind, []).append(one)
    return by_kind


def test_a_clean_folder_has_no_findings(folder: Path) -> None:
    result = inspect(CheckRequest(data=folder), SilentListener())
    assert result.findings == ()
    assert (result.images, result.units, result.folds, result.chance) == (60, 60, 10, 0.5)
    assert result.classes == {"bolt": 30, "nut": 30}
    assert set(result.baselines) == {"constant", "knn", "logistic"}
    assert 0.05 < result.half < 0.15


def test_a_table_of_labels_that_fits_only_in_part(folder: Path, tmp_path: Path) -> None:
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.png"))
    rows = "".join(f"{file},{file.partition('/')[0]}\n" for file in files[:-2])
    (tmp_path / "labels.csv").write_text(f"file,label\n{rows}bolt/99.png,bolt\n")
    few, gone = found(folder, labels=tmp_path / "labels.csv")["odd-file"]
    assert few.detail == "2 files are not in the label file, and left out. Add rows to use them."
    assert few.files == tuple(files[-2:])
    assert gone.detail == "The label file names 1 file that is not in the folder: bolt/99.png"


def test_a_class_of_which_nothing_can_be_read(folder: Path) -> None:
    for path in (folder / "nut").iterdir():
        path.write_bytes(b"nothing")
    result = inspect(CheckRequest(data=folder), SilentListener())
    assert (result.images, result.folds, result.chance, result.half, result.baselines) == (30, 0, 0.5, None, {})


def copied(folder: Path) -> None:
    shutil.copy(folder / "bolt" / "3.png", folder / "bolt" / "again.png")


def nearly(folder: Path) -> None:
    encoded(scene(3), 50).save(folder / "bolt" / "again.jpg")


def in_both(folder: Path) -> None:
    encoded(scene(3), 50).save(folder / "nut" / "again.jpg")


def cut(folder: Path) -> None:
    content = (folder / "bolt" / "3.png").read_bytes()
    (folder / "bolt" / "again.png").write_bytes(content[: len(content) // 2])


def empty(folder: Path) -> None:
    (folder / "bolt" / "again.png").touch()


def blank(folder: Path) -> None:
    Image.new("L", (64, 64), 128).save(folder / "bolt" / "again.png")


def dark(folder: Path) -> None:
    Image.eval(scene(55), lambda value: value // 12).save(folder / "bolt" / "again.png")


def blurred(folder: Path) -> None:
    scene(55).resize((6, 5)).resize((200, 160), Image.Resampling.BICUBIC).save(folder / "bolt" / "again.png")


def wide(folder: Path) -> None:
    scene(55).resize((900, 60)).save(folder / "bolt" / "again.png")


def misnamed(folder: Path) -> None:
    scene(55).save(folder / "bolt" / "again.png", format="JPEG")


def moving(folder: Path) -> None:
    scene(55).save(folder / "bolt" / "again.gif", save_all=True, append_images=[scene(56)])


def deep(folder: Path) -> None:
    Image.fromarray(np.asarray(scene(55), np.uint16) * 200).save(folder / "bolt" / "again.png")


@pytest.mark.parametrize(
    ("plant", "kind", "severity", "files"),
    [
        (copied, "duplicate", Severity.WARNING, {"bolt/3.png", "bolt/again.png"}),
        (nearly, "near-duplicate", Severity.WARNING, {"bolt/3.png", "bolt/again.jpg"}),
        (in_both, "label-conflict", Severity.ERROR, {"bolt/3.png", "nut/again.jpg"}),
        (cut, "corrupt", Severity.WARNING, {"bolt/again.png"}),
        (empty, "corrupt", Severity.WARNING, {"bolt/again.png"}),
        (blank, "blank", Severity.WARNING, {"bolt/again.png"}),
        (dark, "dark", Severity.NOTE, {"bolt/again.png"}),
        (blurred, "blurry", Severity.NOTE, {"bolt/again.png"}),
        (wide, "odd-size", Severity.NOTE, {"bolt/again.png"}),
        (misnamed, "odd-file", Severity.NOTE, {"bolt/again.png"}),
        (moving, "odd-file", Severity.WARNING, {"bolt/again.gif"}),
        (deep, "odd-file", Severity.NOTE, {"bolt/again.png"}),
    ],
)
def test_what_is_planted_is_found(
    plant: Callable[[Path], None], kind: str, severity: Severity, files: set[str], folder: Path
) -> None:
    plant(folder)
    told = found(folder)
    assert kind in told, told
    (one,) = [one for one in told[kind] if set(one.files) == files]
    assert one.severity is severity
    assert one.detail
    assert set(told) <= {kind, "odd-size", "blurry"}, "and nothing else"


def test_test_images_that_are_among_the_training_images(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("bolt", "nut"):
        (tmp_path / "test" / name).mkdir(parents=True)
    scene(700).save(tmp_path / "test" / "bolt" / "new.png")
    encoded(scene(7), 60).save(tmp_path / "test" / "bolt" / "known.jpg")
    shutil.copy(folder / "nut" / "4.png", tmp_path / "test" / "nut" / "known.png")
    (one,) = found(folder, test=tmp_path / "test")["leak"]
    assert one.severity is Severity.ERROR
    assert set(one.sets) == {("test/bolt/known.jpg", "bolt/7.png"), ("test/nut/known.png", "nut/4.png")}
    monkeypatch.chdir(tmp_path / "test")  # a folder without a name
    (one,) = found(folder, test=Path())["leak"]
    assert ("test/bolt/known.jpg", "bolt/7.png") in one.sets


def framed(folder: Path) -> None:
    for path in (folder / "bolt").iterdir():
        Image.open(path).resize((220, 200)).save(path)


def as_bmp(folder: Path) -> None:
    for path in list((folder / "bolt").iterdir()):
        Image.open(path).save(path.with_suffix(".bmp"))
        path.unlink()


def tinted(folder: Path) -> None:
    for path in (folder / "bolt").iterdir():
        grey = Image.open(path)
        Image.merge("RGB", (grey, Image.eval(grey, lambda value: value // 2), grey)).save(path)


@pytest.mark.parametrize(("plant", "what"), [(framed, "image size"), (as_bmp, "file format"), (tinted, "mean colour")])
def test_a_class_that_can_be_told_without_looking(plant: Callable[[Path], None], what: str, folder: Path) -> None:
    plant(folder)
    assert any(
        one.detail.startswith(f"From the {what} alone, the class can be predicted") for one in found(folder)["shortcut"]
    )


def test_one_class_of_many_that_can_be_told_without_looking(folder: Path) -> None:
    for place, name in enumerate(("screw", "washer")):
        (folder / name).mkdir()
        for number in range(30):
            scene(1000 + 100 * place + number).save(folder / name / f"{number}.png")
    framed(folder)
    (one,) = found(folder)["shortcut"]
    assert one.detail.startswith("From the image size alone, whether an image is 'bolt' can be predicted")


def test_amounts() -> None:
    labels = np.repeat([0, 1, 2], [100, 12, 3])
    told = list(class_findings.class_findings({"a": 100, "b": 12, "c": 3}, labels, None))
    assert [(one.kind, one.severity) for one in told] == [
        ("too-few", Severity.WARNING),
        ("too-few", Severity.WARNING),
        ("imbalance", Severity.WARNING),
    ]
    assert "'c' has 3" in told[0].detail
    assert "--folds 3" in told[0].detail
    assert class_findings.possible_folds(labels, None, 3) == 3
    assert class_findings.possible_folds(np.repeat([0, 1], 40), np.arange(80) // 10, 2) == 4
    assert class_findings.possible_folds(np.repeat([0, 1], 40), None, 3) == 0
    assert class_findings.half_width(np.repeat([0, 1], 100), None, 2) == pytest.approx(
        1.96 * 0.4330127 / 200**0.5, rel=1e-3
    )
    assert list(class_findings.class_findings({"a": 50, "b": 50}, np.repeat([0, 1], 50), None)) == []


def test_nothing_that_can_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STEADYNET_CACHE", str(tmp_path / "cache"))
    for name in ("a", "b"):
        (tmp_path / "images" / name).mkdir(parents=True)
        (tmp_path / "images" / name / "1.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"none of the images in .* can be read"):
        inspect(CheckRequest(data=tmp_path / "images"), SilentListener())
