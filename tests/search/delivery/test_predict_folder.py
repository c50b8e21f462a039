"""From a folder of any layout to a table with a row for each readable image."""

import csv
import logging
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from search.data.decode import RECIPE
from search.data.scan import LEADS_OUT
from search.delivery import predict_folder
from search.delivery.card import Card
from search.delivery.outlier_detector import fit_detector
from search.delivery.predict_folder import PredictRequest, predict, without_offset
from search.delivery.worker_tasks import PredictImages
from search.errors import DamagedError, DataError, MismatchError, UserError
from search.events import SilentListener
from search.selection.offset import offset_probabilities
from search.workers.errors import WorkerError
from spaces.image_format import ImageFormat
from tests.search.delivery.stand_in import StandIn, write_keras, write_model

CARD = Card(classes=("dark", "light"), images=ImageFormat(image_size=8, channels=1), recipe=RECIPE, offset=(0.0, 0.0))
OFFSET = Card(
    classes=("dark", "light"), images=ImageFormat(image_size=8, channels=1), recipe=RECIPE, offset=(1.0, -1.0)
)


def write_image(path: Path, level: int, side: int = 8) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (side, side), level).save(path)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Images at all depths, and other things."""
    data = tmp_path / "data"
    for name, level in (("b.png", 51), ("a/2.PNG", 255), ("a/10.png", 0), ("a/deep/er/x.jpg", 204)):
        write_image(data / name, level, side=20)
    write_image(data / ".hidden.png", 0)
    write_image(data / ".thumbs" / "t.png", 0)
    (data / "notes.txt").write_text("no image")
    return data


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def ask(
    tmp_path: Path,
    data: Path,
    card: Card = CARD,
    likeness: bytes | None = None,
    pool: StandIn | None = None,
    **options: bool,
):
    model = write_model(tmp_path / "model.keras", card, likeness)
    request = PredictRequest(model=model, data=data, csv=tmp_path / "out.csv", **options)
    return predict(request, SilentListener(), pool or StandIn())


def test_a_row_for_each_image_however_deep(tmp_path, folder) -> None:
    predicted = ask(tmp_path, folder)
    table = rows(predicted.csv)
    assert list(table[0]) == ["file", "class", "p_dark", "p_light", "unlike"]
    assert [row["file"] for row in table] == ["a/10.png", "a/2.PNG", "a/deep/er/x.jpg", "b.png"]
    assert [row["class"] for row in table] == ["dark", "light", "light", "dark"]
    assert [float(row["p_light"]) for row in table] == pytest.approx([0, 1, 0.8, 0.2])
    assert {row["unlike"] for row in table} == {""}
    assert (predicted.images, predicted.classes, predicted.unlike) == (4, {"dark": 2, "light": 2}, None)
    assert predicted.right is None
    assert "column unlike is empty" in predicted.notes[0]


def test_with_an_offset_the_probabilities_without_it_stand_beside(tmp_path, folder) -> None:
    predicted = ask(tmp_path, folder, OFFSET)
    table = rows(predicted.csv)
    assert list(table[0]) == ["file", "class", "p_dark", "p_light", "unlike", "raw_dark", "raw_light"]
    shown = [[float(row["p_dark"]), float(row["p_light"])] for row in table]
    raw = np.array([[float(row["raw_dark"]), float(row["raw_light"])] for row in table], np.float32)
    np.testing.assert_allclose(offset_probabilities(raw, OFFSET.offset), shown, atol=1e-4)


@given(st.lists(st.floats(0.01, 1), min_size=2, max_size=6), st.integers(0, 99))
def test_taking_the_offset_out_undoes_adding_it(shares, seed) -> None:
    raw = (np.array(shares) / sum(shares)).astype(np.float32)[None]
    offset = tuple(np.random.default_rng(seed).uniform(-4, 4, len(shares)))
    found = without_offset(offset_probabilities(raw, offset), np.array(offset))
    np.testing.assert_allclose(found, raw, atol=1e-4)


def test_a_single_image_of_any_ending(tmp_path, folder) -> None:
    shutil.copy(folder / "b.png", tmp_path / "photo.dat")
    table = rows(ask(tmp_path, tmp_path / "photo.dat").csv)
    assert [(row["file"], row["class"]) for row in table] == [("photo.dat", "dark")]


def test_unreadable_files_are_told_and_left_out(tmp_path, folder, caplog) -> None:
    (folder / "broken.png").write_bytes(b"nothing")
    (folder / "a" / "empty.jpg").touch()
    (folder / "dangling.png").symlink_to(tmp_path / "nowhere.png")
    with caplog.at_level(logging.WARNING, "search"):
        predicted = ask(tmp_path, folder)
    assert len(rows(predicted.csv)) == 4
    assert set(predicted.unreadable) == {"broken.png", "a/empty.jpg", "dangling.png"}
    assert predicted.unreadable["a/empty.jpg"] == "empty file"
    assert sum("Left out" in record.getMessage() for record in caplog.records) == 3


def test_pictures_of_other_formats_are_told_too(tmp_path, folder) -> None:
    for name in ("phone.heic", "a/slice.dcm", "notes.txt"):
        (folder / name).write_bytes(b"something")
    predicted = ask(tmp_path, folder)
    assert predicted.images == 4
    assert set(predicted.unreadable) == {"phone.heic", "a/slice.dcm"}


def test_images_come_in_batches_and_in_order(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(predict_folder, "_BATCH", 4)
    for number in range(11):
        write_image(tmp_path / "data" / f"{number:02d}.png", 20 * number)
    pool = StandIn()
    table = rows(ask(tmp_path, tmp_path / "data", pool=pool).csv)
    assert [len(task.pixels) for task in pool.tasks if isinstance(task, PredictImages)] == [4, 4, 3]
    assert [row["file"] for row in table] == [f"{number:02d}.png" for number in range(11)]
    assert [float(row["p_light"]) for row in table] == pytest.approx([20 * n / 255 for n in range(11)], abs=1e-5)
    assert pool.closed


def test_images_unlike_the_training_images_are_flagged(tmp_path) -> None:
    rng = np.random.default_rng(0)
    training = rng.integers(90, 140, (60, 8, 8, 1)).astype(np.uint8)
    known = fit_detector(training)
    for number in range(20):
        write_image(tmp_path / "data" / f"other{number}.png", 255)
        pixels = rng.integers(90, 140, (8, 8)).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / "data" / f"same{number}.png")
    predicted = ask(tmp_path, tmp_path / "data", likeness=known.to_bytes())
    flags = {row["file"]: row["unlike"] for row in rows(predicted.csv)}
    assert {flags[name] for name in flags if name.startswith("other")} == {"1"}
    assert sum(flags[name] == "1" for name in flags if name.startswith("same")) <= 2
    assert predicted.unlike == sum(flag == "1" for flag in flags.values())
    assert predicted.notes == ()


def test_folders_named_as_the_classes_tell_how_many_are_right(tmp_path) -> None:
    for name, level in (("dark/1.png", 0), ("dark/2.png", 250), ("light/sub/3.png", 250)):
        write_image(tmp_path / "data" / name, level)
    assert ask(tmp_path, tmp_path / "data").right == (2, 3)


@pytest.mark.parametrize("name", ['quo"te.png', "com,ma.png", "=cmd().png", "new\nline.png", "ünï.png", " blank.png"])
def test_odd_names_come_back_from_the_table(tmp_path, name) -> None:
    write_image(tmp_path / "data" / name, 0)
    expected = f"'{name}" if name[0] == "=" else name  # no spreadsheet is to run it
    assert [row["file"] for row in rows(ask(tmp_path, tmp_path / "data").csv)] == [expected]


def test_names_that_are_no_unicode_are_written_as_escapes(tmp_path) -> None:
    write_image(tmp_path / "data" / "x\udcff.png", 0)
    assert [row["file"] for row in rows(ask(tmp_path, tmp_path / "data").csv)] == ["x\\udcff.png"]


def test_a_model_saved_anew_needs_the_card_beside(tmp_path, folder) -> None:
    model = write_keras(tmp_path / "model.keras")
    request = PredictRequest(model=model, data=folder, csv=tmp_path / "out.csv")
    with pytest.raises(UserError, match="has no card with its classes"):
        predict(request, SilentListener(), StandIn())
    (tmp_path / "model.json").write_text(CARD.text())
    assert predict(request, SilentListener(), StandIn()).unlike is None


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"data": Path("nowhere")}, DataError, r"nowhere does not exist\. Pass a folder of images, or one image"),
        ({"csv": Path("out.xlsx")}, UserError, r"--csv out\.xlsx: expected a name that ends in \.csv"),
        (
            {"csv": Path("nowhere/out.csv")},
            UserError,
            r"--csv nowhere/out\.csv: there is no folder nowhere\. Create it",
        ),
        ({"model": Path("no.keras")}, UserError, r"no such model: no\.keras"),
    ],
)
def test_what_can_not_be_done_is_refused(tmp_path, folder, change, error, message) -> None:
    model = write_model(tmp_path / "model.keras", CARD)
    request = PredictRequest(**{"model": model, "data": folder, "csv": tmp_path / "out.csv", **change})
    with pytest.raises(error, match=message):
        predict(request, SilentListener(), StandIn())
    assert not (tmp_path / "out.csv").exists()


def test_a_folder_without_a_readable_image_leaves_an_earlier_table(tmp_path) -> None:
    (tmp_path / "out.csv").write_text("earlier")
    (tmp_path / "data").mkdir()
    with pytest.raises(DataError, match=r"has no images\. Expected files ending in \.png"):
        ask(tmp_path, tmp_path / "data")
    (tmp_path / "data" / "x.png").write_bytes(b"broken")
    with pytest.raises(DataError, match=r"none of the images in .* can be read\. The first: x\.png: not an image"):
        ask(tmp_path, tmp_path / "data")
    assert (tmp_path / "out.csv").read_text() == "earlier"


def test_links_that_lead_out_are_only_followed_when_asked(tmp_path, folder) -> None:
    Image.new("L", (8, 8), 200).save(tmp_path / "secret.png")
    (folder / "link.png").symlink_to(tmp_path / "secret.png")
    told = ask(tmp_path, folder)
    assert dict(told.unreadable) == {"link.png": LEADS_OUT}
    assert ask(tmp_path, folder, follow_links=True).images == told.images + 1
    assert ask(tmp_path, folder / "link.png").images == 1


def test_a_model_that_does_not_fit_its_card_is_refused(tmp_path, folder) -> None:
    with pytest.raises(
        MismatchError, match=r"has inputs \(9, 9, 1\) and outputs \(2,\), but its card says \(8, 8, 1\)"
    ):
        ask(tmp_path, folder, pool=StandIn(shape=(9, 9, 1)))
    other = Card(classes=("dark", "light"), images=ImageFormat(image_size=8, channels=1), recipe=99, offset=(0.0, 0.0))
    with pytest.raises(
        MismatchError, match=rf"with version 99 of the image decoding; this version uses {RECIPE}\. Use"
    ):
        ask(tmp_path, folder, other)


def test_damage_is_told(tmp_path, folder) -> None:
    with pytest.raises(DamagedError, match="the outlier detector in the model can't be read"):
        ask(tmp_path, folder, likeness=b"nonsense")


def test_a_model_that_keras_can_not_load_is_told_in_one_line(tmp_path, folder) -> None:
    class Broken(StandIn):
        def run_task(self, task):
            raise WorkerError("Traceback (most recent call last):\n  ...\nValueError: unknown layer")

    pool = Broken()
    with pytest.raises(UserError, match=r"model\.keras can't be loaded by Keras: ValueError: unknown layer"):
        ask(tmp_path, folder, pool=pool)
    assert pool.closed
