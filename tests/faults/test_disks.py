"""Disks that are full or can't be written: a clear line, what is finished kept, and the same command goes on."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from commands.terminal import DONE, NOTHING_HEALTHY, USER_ERROR
from search.storage.load import open_study
from tests.factories import make_images
from tests.faults.test_kills import check_fits
from tests.keras_tests.runs import SearchProcess

pytestmark = [pytest.mark.study, pytest.mark.slow, pytest.mark.usefixtures("known_migrations")]

ROOT = Path(__file__).parents[2]
WHOLE = """
import sys
from tests.faults import coordinator
from search.session import planning, worker_count
from search.workers import client
import commands.search
client.main = coordinator.worker
planning.baselines = lambda *given: {"constant": 0.5}
worker_count.candidates = lambda *given: (1,)
import run_search
sys.exit(run_search.main(sys.argv[1:]))
"""


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Of twelve megabytes."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", str(place)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("no small disk can be mounted here (not root): a full disk was not tried")
    yield place
    subprocess.run(["mount", "-o", "remount,rw", str(place)], check=False)
    subprocess.run(["umount", "-l", str(place)], check=True)


def search(folder: Path, out: Path, trials: int = 40) -> SearchProcess:
    command = [sys.executable, "-c", WHOLE, "--data", str(folder / "images"), "--out", str(out), "--image-size", "8"]
    command += ["--trials", str(trials), "--folds", "3", "--epochs", "30", "--workers", "1", "--quiet"]
    command += ["--weights", "none"]
    environment = {**os.environ, "STEADYNET_CACHE": str(folder / "cache"), "STEADYNET_FIT_SECONDS": "0.01"}
    process = subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    return SearchProcess(out, process)


def check_done(run: SearchProcess, trials: int) -> None:
    """It ends by itself, and has judged so many trials, whether or not one of them is to be recommended."""
    assert run.wait() in (DONE, NOTHING_HEALTHY), run.stderr
    study = open_study(run.out)
    assert len(study.trials) == trials
    check_fits(study.trials)


def check_refused(run: SearchProcess) -> str:
    """It ends with one line for the user: the line."""
    assert run.wait() == USER_ERROR, run.stderr
    assert "Traceback" not in run.stderr
    last = run.stderr.strip().splitlines()[-1]
    assert last.startswith("error: ")
    return last


def test_a_disk_that_runs_full_and_has_room_again(small_disk: Path, tmp_path: Path) -> None:
    make_images(tmp_path / "images", 12)
    run = search(tmp_path, small_disk / "run")
    run.until(lambda: run.fits() > 0)
    filler = small_disk / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"x" * 4096)
    line = check_refused(run)
    assert "full" in line
    assert "same command" in line
    filler.unlink()
    trials = len(open_study(run.out).trials) + 3
    check_done(search(tmp_path, run.out, trials), trials)


def test_a_disk_that_can_only_be_read(small_disk: Path, tmp_path: Path) -> None:
    make_images(tmp_path / "images", 12)
    out = small_disk / "run"
    check_done(search(tmp_path, out, trials=4), trials=4)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    check_refused(search(tmp_path, out, trials=8))
    subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)
    check_done(search(tmp_path, out, trials=8), trials=8)
