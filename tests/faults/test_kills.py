"""Processes killed at random moments: nothing acknowledged is lost, nothing is done twice, nobody is left behind.

A few kills in the normal run; `make faults` kills a hundred times (`STEADYNET_FAULTS`).
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from search.records import Fit
from search.study.ledger import Ledger
from search.study.reading import open_study
from search.study.storage import open_storage
from tests.factories import make_images

pytestmark = [pytest.mark.study, pytest.mark.usefixtures("known_migrations")]

ROOT = Path(__file__).parents[2]
KILLS = int(os.environ.get("STEADYNET_FAULTS", "3"))
TRIALS = 12 if KILLS < 20 else 60


class Coordinators:
    """Starts coordinators, finds their workers, kills them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        make_images(folder / "images", 12)
        self.begun: list[subprocess.Popen[str]] = []
        self.environment = {**os.environ, "STEADYNET_CACHE": str(folder / "cache"), "STEADYNET_FIT_SECONDS": "0.15"}

    def start(self, out: str, *further: str, trials: int = TRIALS) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "tests.faults.coordinator", "--data", str(self.folder / "images")]
        command += ["--out", str(self.folder / out), "--trials", str(trials), *further]
        log = (self.folder / f"{out}.log").open("a")
        process = subprocess.Popen(
            command, cwd=ROOT, env=self.environment, stdout=log, stderr=log, text=True, start_new_session=True
        )
        log.close()
        self.begun.append(process)
        return process

    def told(self, out: str) -> str:
        return (self.folder / f"{out}.log").read_text()[-3000:]

    def close(self) -> None:
        for process in self.begun:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@pytest.fixture
def coordinators(tmp_path: Path):
    made = Coordinators(tmp_path)
    yield made
    made.close()


def workers_of(pid: int) -> list[int]:
    """Processes of multiprocessing that it started, and that are alive."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and _parent(entry) == pid and "spawn_main" in _command(entry):
            found.append(int(entry.name))
    return found


def is_alive(pid: int) -> bool:
    try:
        return " Z " not in (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2]
    except OSError:
        return False


def _parent(entry: Path) -> int | None:
    try:
        return int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    except (OSError, IndexError):
        return None


def _command(entry: Path) -> str:
    try:
        return (entry / "cmdline").read_text()
    except OSError:
        return ""


def wait_for_a_worker(process: subprocess.Popen[str], seconds: float = 60.0) -> list[int]:
    end = time.monotonic() + seconds
    while time.monotonic() < end and process.poll() is None:
        if found := workers_of(process.pid):
            return found
        time.sleep(0.05)
    return []


def all_of(folder: Path) -> list[tuple[Any, ...]]:
    """All of a study but its times."""
    study = open_study(folder)

    def fit(one: Fit) -> tuple[Any, ...]:
        return one.key, one.trial, one.stage, one.repeat, one.fold, one.attempt, one.seed, one.verdict, one.score

    trials = [(t.number, t.state, t.configuration.hash, t.reason, [fit(f) for f in t.fits]) for t in study.trials]
    return [*trials, *map(fit, study.further)]


def keys(folder: Path) -> list[str]:
    """Of all fits that the ledger acknowledges."""
    storage = open_storage(folder)
    try:
        return [fit.key for fit in Ledger(storage.engine, "steadynet").fits()]
    finally:
        storage.engine.dispose()


def test_a_search_killed_at_random_moments_ends_as_an_undisturbed_one(coordinators: Coordinators) -> None:
    """With one worker the ledger is the same to the last fit."""
    undisturbed = coordinators.start("undisturbed")
    assert undisturbed.wait(timeout=300) == 0, coordinators.told("undisturbed")
    draw, kills, known, left_alive = random.Random(KILLS), 0, set(), []
    while True:
        process = coordinators.start("killed")
        workers = wait_for_a_worker(process)
        time.sleep(draw.uniform(0.0, 1.5))
        if kills == KILLS or process.poll() is not None:
            assert process.wait(timeout=300) == 0, coordinators.told("killed")
            if kills == KILLS:
                break
            pytest.fail(f"the search ended after {kills} kills: give it more trials")
        victim = draw.choice(["coordinator", "group", "worker"])
        if victim == "worker" and workers:
            os.kill(workers[0], signal.SIGKILL)
            time.sleep(1.5)  # its fit is done again: killed twice, it would be the configuration's fault
            victim = draw.choice(["coordinator", "group"])
            workers = workers_of(process.pid)
        (os.killpg if victim == "group" else os.kill)(process.pid, signal.SIGKILL)
        process.wait()
        kills += 1
        end = time.monotonic() + 5.0
        while any(map(is_alive, workers)) and time.monotonic() < end:
            time.sleep(0.05)
        left_alive += [pid for pid in workers if is_alive(pid)]
        if (coordinators.folder / "killed" / "study.db").exists():
            acknowledged = keys(coordinators.folder / "killed")
            assert len(acknowledged) == len(set(acknowledged))
            assert known <= set(acknowledged), "an acknowledged fit was lost"
            known = set(acknowledged)
    assert not left_alive
    assert all_of(coordinators.folder / "killed") == all_of(coordinators.folder / "undisturbed")
