"""Disks that are full or can't be written: a clear line, what is finished kept, and the same command goes on."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from search.storage.load import open_study
from tests.factories import make_images

pytestmark = [pytest.mark.study, pytest.mark.slow, pytest.mark.usefixtures("known_migrations")]

ROOT = Path(__file__).parents[2]
WHOLE = """
import sys
from tests.faults import coordinator
from search.session import preparation, worker_count
from search.workers import client
import commands.search
client.main = coordinator.worker
preparation.baselines = lambda *given: {"constant": 0.5}
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


def search(folder: Path, out: Path, trials: int = 40) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WHOLE, "--data", str(folder / "images"), "--out", str(out), "--image-size", "8"]
    command += ["--trials", str(trials), "--folds", "3", "--epochs", "30", "--workers", "1", "--quiet"]
    environment = {**os.environ, "STEADYNET_CACHE": str(folder / "cache"), "STEADYNET_FIT_SECONDS": "0.01"}
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def judged(out: Path) -> int:
    return len(open_study(out).trials)


def test_a_disk_that_runs_full_and_has_room_again(small_disk: Path, tmp_path: Path) -> None:
    make_images(tmp_path / "images", 12)
    process = search(tmp_path, small_disk / "run")
    end = time.monotonic() + 120
    while not (small_disk / "run" / "study.db").exists() and time.monotonic() < end and process.poll() is None:
        time.sleep(0.1)
    time.sleep(3.0)
    filler = small_disk / "filler"
    with filler.open("wb", buffering=0) as file:
        with contextlib.suppress(OSError):
            while True:
                file.write(b"x" * 4096)
    _, told = process.communicate(timeout=120)
    assert process.returncode == 2, told
    assert "Traceback" not in told
    last = told.strip().splitlines()[-1]
    assert last.startswith("error: ")
    assert "full" in last
    assert "same command" in last
    filler.unlink()
    before = judged(small_disk / "run")
    again = search(tmp_path, small_disk / "run", trials=before + 3)
    _, told = again.communicate(timeout=180)
    assert again.returncode in (0, 3), told
    assert judged(small_disk / "run") == before + 3


def test_a_disk_that_can_only_be_read(small_disk: Path, tmp_path: Path) -> None:
    make_images(tmp_path / "images", 12)
    first = search(tmp_path, small_disk / "run", trials=4)
    _, told = first.communicate(timeout=180)
    assert first.returncode in (0, 3), told
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    second = search(tmp_path, small_disk / "run", trials=8)
    _, told = second.communicate(timeout=120)
    assert second.returncode == 2, told
    assert "Traceback" not in told
    assert told.strip().splitlines()[-1].startswith("error: ")
    subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)
    third = search(tmp_path, small_disk / "run", trials=8)
    _, told = third.communicate(timeout=180)
    assert third.returncode in (0, 3), told
    assert judged(small_disk / "run") == 8
