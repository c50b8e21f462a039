from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from search.diagnosis.examination import DiagnosisRequest, examine
from search.diagnosis.server import DiagnosisJob
from search.errors import DataError, UserError
from search.events import SilentListener
from tests.reports import fake_diagnosis as fake


class Notes(SilentListener):
    def __init__(self) -> None:
        self.stages: list[str] = []
        self.steps: list[tuple[str, int, int]] = []

    def stage(self, text: str) -> None:
        self.stages.append(text)

    def progress(self, what: str, done: int, total: int) -> None:
        if what == "steps":
            self.steps.append((what, done, total))


class Runner:
    """Stands in for the process: keeps the order."""

    def __init__(self) -> None:
        self.order: DiagnosisJob | None = None

    def __call__(self, order: DiagnosisJob, on_progress: Callable[[str, int, int], None]) -> fake.Diagnosis:
        self.order = order
        for stage, done in (("Loading TensorFlow", 0), ("Training", 0), ("Training", 1), ("Training", 2)):
            on_progress(stage, done, 2 if stage == "Training" else 0)
        return fake.diagnosis()


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("STEADYNET_CACHE", str(tmp_path / "cache"))
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    Path("net.py").write_text("never run by these tests: not even Python")
    return work


def make_images(width: int, height: int, *, colour: bool = False, count: int = 2) -> None:
    rng = np.random.default_rng(0)
    for name in ("bolt", "nut"):
        Path("images", name).mkdir(parents=True)
        for number in range(count):
            pixels = rng.integers(0, 256, (height, width, 3) if colour else (height, width), dtype=np.uint8)
            Image.fromarray(pixels).save(f"images/{name}/{number}.png")


def look(model: str = "net.py:build", **changes: Any) -> DiagnosisJob:
    runner = Runner()
    request = DiagnosisRequest(data=Path("images"), model=model, out=Path("out"), **changes)
    examine(request, SilentListener(), run=runner)
    assert runner.order is not None
    return runner.order


@pytest.mark.parametrize(
    ("width", "height", "colour", "shape"),
    [
        (3, 3, False, (3, 3, 1)),
        (8, 8, True, (8, 8, 3)),
        (100, 100, False, (100, 100, 1)),
        (20, 12, False, (20, 20, 1)),
        (300, 300, False, (64, 64, 1)),
    ],
)
def test_images_keep_their_size_and_channels(
    width: int, height: int, colour: bool, shape: tuple[int, int, int]
) -> None:
    make_images(width, height, colour=colour)
    order = look()
    assert np.load(order.pixels).shape == (4, *shape)
    assert order.labels.tolist() == [0, 0, 1, 1]
    assert order.classes == ("bolt", "nut")


def test_a_saved_model_says_what_it_takes() -> None:
    make_images(20, 20)
    layer = {"class_name": "InputLayer", "config": {"batch_shape": [None, 5, 5, 3]}}
    with zipfile.ZipFile("net.keras", "w") as archive:
        archive.writestr("config.json", json.dumps({"config": {"layers": [layer]}}))
    order = look("net.keras")
    assert np.load(order.pixels).shape == (4, 5, 5, 3)
    assert order.model == "net.keras"


@pytest.mark.parametrize(
    ("given", "full"), [("net.py", "net.py:build"), ("net.py:make", "net.py:make"), ("net.py:", "net.py:build")]
)
def test_build_is_the_name_that_goes_without_saying(given: str, full: str) -> None:
    make_images(8, 8)
    assert look(given).model == full


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("none.py:build", "there is no file none.py"),
        ("net", "expected net.py:build or model.keras, got 'net'"),
        ("net.txt:build", "or model.keras, got 'net.txt:build'"),
        ("images", "or model.keras, got 'images'"),
    ],
)
def test_what_is_no_model_is_refused_before_anything_is_read(model: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        look(model)
    assert not Path("out").exists()


def test_an_empty_folder_is_refused_and_nothing_is_written() -> None:
    Path("images").mkdir()
    with pytest.raises(DataError, match="images has no sub-folders"):
        look()
    assert not Path("out").exists()


def test_a_folder_inside_the_images_is_refused() -> None:
    make_images(8, 8)
    request = DiagnosisRequest(data=Path("images"), model="net.py", out=Path("images/out"))
    with pytest.raises(UserError, match="--out images/out lies in the image folder images"):
        examine(request, SilentListener(), run=Runner())


def test_a_folder_that_can_not_be_written_is_refused() -> None:
    make_images(8, 8)
    request = DiagnosisRequest(data=Path("images"), model="net.py", out=Path("net.py/out"))
    with pytest.raises(UserError, match=r"can't write to the folder net\.py/out"):
        examine(request, SilentListener(), run=Runner())


def test_the_log_begins_anew_and_stages_are_told_once() -> None:
    make_images(8, 8)
    Path("out").mkdir()
    Path("out/diagnose.log").write_text("of an earlier run")
    notes = Notes()
    examine(DiagnosisRequest(data=Path("images"), model="net.py", out=Path("out")), notes, run=Runner())
    assert Path("out/diagnose.log").read_text() == ""
    assert notes.stages[-2:] == ["Loading TensorFlow", "Training"]
    assert notes.steps == [("steps", 0, 2), ("steps", 1, 2)]
