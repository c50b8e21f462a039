"""`train` and `predict` on the command line: what is refused, what is said, what is left when they are interrupted."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import run_search
from commands import predict, train
from commands.terminal import DONE, INTERRUPTED, USER_ERROR
from search.delivery import predict_folder, train_model
from tests.factories import make_images
from tests.search.delivery.stand_in import StandIn, collapsing, write_config

pytestmark = pytest.mark.slow

Refused = Callable[..., str]
TRAIN = ("train", "--config", "best_config.yaml", "--data", "images", "--model", "model.keras")
PREDICT = ("predict", "--model", "model.keras", "--data", "images", "--csv", "out.csv")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """In a folder of its own, with images, a configuration and a worker that needs no TensorFlow."""
    monkeypatch.setenv("STEADYNET_CACHE", str(tmp_path / "cache"))
    work = tmp_path / "work"
    make_images(work / "images", 12)
    write_config(work / "best_config.yaml")
    monkeypatch.chdir(work)
    stand_in(monkeypatch, StandIn())
    return work


def stand_in(monkeypatch: pytest.MonkeyPatch, pool: StandIn) -> None:
    monkeypatch.setattr(train_model.train, "__defaults__", (pool,))
    monkeypatch.setattr(predict_folder.predict, "__defaults__", (pool,))


@pytest.fixture(autouse=True)
def _signals() -> object:
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def test_train_then_predict(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_search.main(TRAIN) == DONE
    told = capsys.readouterr()
    assert told.out.splitlines()[:2] == [
        "Model: model.keras  (one fit on 24 images, 1,234 weights)",
        "Model card: model.json  (class names, how to load an image, how the model was trained)",
    ]
    assert "Note: These are not exactly the images of the search" in told.out
    assert "Training on all 24 images, 5 epochs" in told.err

    assert run_search.main(PREDICT) == DONE
    told = capsys.readouterr()
    assert told.out.splitlines()[0] == "Table: out.csv  (24 images)"
    assert "In the folder of the predicted class: " in told.out
    assert "Predicting 24 images" in told.err
    with Path("out.csv").open(newline="") as stream:
        table = list(csv.reader(stream))
    assert table[0] == ["file", "class", "p_bolt", "p_nut", "unlike", "raw_bolt", "raw_nut"]
    assert len(table) == 25


def test_quiet_prints_the_result_only(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in (TRAIN, PREDICT):
        assert run_search.main([*command, "--quiet"]) == DONE
        told = capsys.readouterr()
        assert told.err == ""
        assert len(told.out.splitlines()) >= 2


def test_a_collapse_and_an_unreadable_file_are_said_aloud(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in(monkeypatch, StandIn(collapsing(1)))
    assert run_search.main([*TRAIN, "--ensemble"]) == DONE
    told = capsys.readouterr()
    assert "The final training collapsed (constant-output): trying a new seed" in " ".join(told.err.split())
    assert "(average of 3 fits on 24 images" in told.out
    assert "Held-out balanced accuracy" in told.out
    (here / "images" / "bolt" / "bad\x1b.png").write_bytes(b"nothing")
    assert run_search.main(PREDICT) == DONE
    told = capsys.readouterr()
    assert "Skipped: 1 file that can't be read: bolt/bad\\x1b.png (not an image" in told.out
    assert "Left out bolt/bad" in told.err
    assert "\x1b" not in told.out + told.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("train",), "the following arguments are required: --config, --data, --model. See run_search.py train --help"),
        (("predict",), "the following arguments are required: --model, --data, --csv. See run_search.py predict"),
        ((*TRAIN, "--seed", "-1"), "argument --seed: expected a whole number of at least 0, got '-1'"),
        ((*TRAIN, "--data", "images"), "argument --data: given twice"),
        ((*TRAIN, "--config", "none.yaml"), "none.yaml: no such file."),
        ((*TRAIN, "--model", "model.h5"), "--model model.h5: expected a name that ends in .keras"),
        ((*TRAIN, "--model", "best_config.yaml"), "expected a name that ends in .keras"),
        (("train", *TRAIN[1:3], "--data", "none", *TRAIN[5:]), "there is no folder none."),
        (PREDICT, "no such model: model.keras. Pass the .keras file that train wrote."),
        ((*PREDICT, "--model", "best_config.yaml"), "best_config.yaml is not a Keras model."),
    ],
)
def test_what_can_not_work_is_refused_in_one_line(
    here: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], message: str
) -> None:
    before = sorted(here.rglob("*"))
    assert run_search.main(arguments) == USER_ERROR
    told = capsys.readouterr()
    assert told.out == ""
    *_, line = told.err.splitlines()
    assert line.startswith("error: ")
    assert message in line
    assert sorted(here.rglob("*")) == before


def test_ctrl_c_leaves_what_was_there(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run_search.main([*TRAIN, "--quiet"]) == DONE
    assert run_search.main([*PREDICT, "--quiet"]) == DONE
    before = {path: path.read_bytes() for path in here.iterdir() if path.is_file()}
    capsys.readouterr()

    class Interrupted(StandIn):
        def run_task(self, task: object) -> object:
            os.kill(os.getpid(), signal.SIGTERM)
            return super().run_task(task)

    for command in (TRAIN, PREDICT):
        pool = Interrupted()
        stand_in(monkeypatch, pool)
        assert run_search.main([*command, "--quiet"]) == INTERRUPTED
        assert capsys.readouterr().err == "Interrupted; nothing was written.\n"
        assert pool.closed
        assert {path: path.read_bytes() for path in here.iterdir() if path.is_file()} == before


@pytest.mark.parametrize("name", ["train", "predict"])
def test_help_has_an_example_that_is_understood(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run_search.main([name, "--help"])
    text = capsys.readouterr().out
    examples = [line.split()[2:] for line in text.splitlines() if line.strip().startswith(f"run_search.py {name} ")]
    assert len(examples) == 2
    parser = {"train": train, "predict": predict}[name].parser()
    for example in examples:
        parser.parse_args(example)
    assert max(map(len, text.splitlines())) <= 120


def test_the_commands_start_light() -> None:
    code = (
        "import sys, run_search; run_search.main(['train']); run_search.main(['predict']);"
        "print([m for m in ('tensorflow', 'keras', 'sklearn', 'optuna', 'numpy', 'rich') if m in sys.modules])"
    )
    told = subprocess.run(
        [sys.executable, "-c", code], cwd=Path(run_search.__file__).parent, capture_output=True, text=True, check=True
    )
    assert told.stdout.strip() == "[]"
