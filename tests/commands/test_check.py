"""The command `check`: what it writes, says and returns."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import run_search
from tests.factories import make_images

pytestmark = pytest.mark.slow


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("STEADYNET_CACHE", str(tmp_path / "cache"))
    make_images(tmp_path / "images", 30)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_it_writes_a_page_and_json_and_says_what_it_found(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = sorted((here / "images" / "bolt").iterdir())[0]
    shutil.copy(first, first.with_name("again.png"))
    assert run_search.main(["check", "--data", "images", "--quiet"]) == 0
    told = capsys.readouterr()
    assert "Identical files" in told.out
    assert told.err == ""
    found = json.loads((here / "runs" / "images-check" / "check.json").read_text())
    assert "duplicate" in [one["kind"] for one in found["findings"]]
    assert (here / "runs" / "images-check" / "check.html").stat().st_size > 5_000


def test_strict_is_for_programs(here: Path) -> None:
    assert run_search.main(["check", "--data", "images", "--quiet", "--strict", "--out", "out"]) == 0
    (here / "images" / "bolt" / "empty.png").touch()
    assert run_search.main(["check", "--data", "images", "--quiet", "--out", "out"]) == 0
    assert run_search.main(["check", "--data", "images", "--quiet", "--strict", "--out", "out"]) == 2


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--data", "nowhere"], "there is no folder nowhere"),
        (["--data", "images", "--groups", "none.csv"], "there is no group file none.csv"),
        (["--data", "images", "--test", "nowhere"], "there is no folder nowhere"),
        ([], "--data"),
    ],
)
def test_what_can_not_work_is_one_line(
    arguments: list[str], says: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_search.main(["check", *arguments, "--quiet"]) == 2
    *_, line = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert says in line
