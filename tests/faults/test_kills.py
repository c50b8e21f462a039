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
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from search.records import Fit, StudyRecord, Trial, TrialState, Verdict
from search.storage.database import open_storage
from search.storage.ledger import Ledger
from search.storage.load import open_study
from tests.factories import make_images
from tests.keras_tests.runs import write_images

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
        """With stand-ins for trainings."""
        return self._start(out, sys.executable, "-m", "tests.faults.coordinator", "--trials", str(trials), *further)

    def start_search(self, out: str, *further: str) -> subprocess.Popen[str]:
        """The product itself, on one core."""
        if not (self.folder / "bands").exists():
            write_images(self.folder / "bands")
        command = (sys.executable, "run_search.py", "--quiet", "--space", "core", *further)
        return self._start(out, "taskset", "-c", str(min(os.sched_getaffinity(0))), *command, images="bands")

    def _start(self, out: str, *command: str, images: str = "images") -> subprocess.Popen[str]:
        folders = ("--data", str(self.folder / images), "--out", str(self.folder / out))
        log = (self.folder / f"{out}.log").open("a")
        process = subprocess.Popen(
            [*command, *folders],
            cwd=ROOT,
            env=self.environment,
            stdout=log,
            stderr=log,
            text=True,
            start_new_session=True,
        )
        log.close()
        self.begun.append(process)
        return process

    def log_tail(self, out: str) -> str:
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


def all_of(study: StudyRecord) -> list[tuple[Any, ...]]:
    """All of a study but its times."""

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


@dataclass(frozen=True)
class Killing:
    """Kills of a search at random moments, each followed by another start.

    Args:
        coordinators: for their folder.
        start: begins the search of a run folder, or goes on with it.
        check: told of the run folder of each search that came to its end.
        longest: seconds from the start of its workers to a kill.
    """

    coordinators: Coordinators
    start: Callable[[str], subprocess.Popen[str]]
    check: Callable[[str], None]
    longest: float = 1.5

    def run(self, kills: int) -> None:
        """Of one search, and of further ones if that ends before. Raises AssertionError where something is wrong."""
        draw, left, number = random.Random(kills), kills, 0
        while left:
            number += 1
            left = self._one(f"killed{number}", left, draw)
            self.check(f"killed{number}")

    def _one(self, out: str, kills: int, draw: random.Random) -> int:
        """One search to its end, disturbed at most so often. How many of the kills are left."""
        known = set[str]()
        while True:
            process = self.start(out)
            workers = wait_for_a_worker(process)
            if kills:
                time.sleep(draw.uniform(0.0, self.longest))
            if not kills or process.poll() is not None:
                assert process.wait(timeout=1200) == 0, self.coordinators.log_tail(out)
                assert known <= set(keys(self.coordinators.folder / out)), "an acknowledged fit was lost"
                return kills
            self._strike(process, draw)
            kills -= 1
            end = time.monotonic() + 5.0
            while any(map(is_alive, workers)) and time.monotonic() < end:
                time.sleep(0.05)
            assert not any(map(is_alive, workers)), "a worker outlived its coordinator"
            if (self.coordinators.folder / out / "study.db").exists():
                acknowledged = keys(self.coordinators.folder / out)
                assert len(acknowledged) == len(set(acknowledged))
                assert known <= set(acknowledged), "an acknowledged fit was lost"
                known = set(acknowledged)

    def _strike(self, process: subprocess.Popen[str], draw: random.Random) -> None:
        victim, workers = draw.choice(["coordinator", "group", "worker"]), workers_of(process.pid)
        if victim == "worker" and workers:
            os.kill(draw.choice(workers), signal.SIGKILL)
            time.sleep(self.longest)  # its fit is done again: killed twice, it would be the configuration's fault
            victim = draw.choice(["coordinator", "group"])
        (os.killpg if victim == "group" else os.kill)(process.pid, signal.SIGKILL)
        process.wait()


def check_fits(trials: Sequence[Trial]) -> None:
    """Networks learn; no fit of a trial is there twice, and a trial that is complete has all its folds."""
    assert any(trial.state is TrialState.COMPLETE for trial in trials), "no trial ran to its end: are workers broken?"
    for trial in trials:
        places = [(fit.fold, fit.attempt) for fit in trial.fits]
        assert len(places) == len(set(places))
        if trial.state is TrialState.COMPLETE:
            assert {fold for fold, _ in places} == {0, 1, 2}


def failing_in(study: StudyRecord) -> set[str]:
    """Configurations that failed: their fits are tried again, each time."""
    fits = [*(fit for trial in study.trials for fit in trial.fits), *study.further]
    return {fit.configuration for fit in fits if fit.verdict is Verdict.FAILED}


def done_again(begun: Path, failing: Collection[str]) -> int:
    """How often a fit was begun that had been begun before, by what the workers wrote; of failing ones none counts."""
    counts = Counter(begun.read_text().splitlines())
    return sum(count - 1 for key, count in counts.items() if key.split()[0] not in failing)


def check_against(coordinators: Coordinators, undisturbed: subprocess.Popen[str]) -> Callable[[str], None]:
    """Compares with what a search in the folder `undisturbed` leaves, which may still be at work."""

    def check(out: str) -> None:
        assert undisturbed.wait(timeout=1800) == 0, coordinators.log_tail("undisturbed")
        expected = open_study(coordinators.folder / "undisturbed")
        check_fits(expected.trials)
        assert all_of(open_study(coordinators.folder / out)) == all_of(expected)

    return check


def test_a_search_killed_at_random_moments_ends_as_an_undisturbed_one(coordinators: Coordinators) -> None:
    """With one worker the ledger is the same to the last fit."""
    check = check_against(coordinators, coordinators.start("undisturbed"))
    Killing(coordinators, coordinators.start, check).run(KILLS)


def test_with_several_workers_nothing_is_lost_or_done_twice(coordinators: Coordinators) -> None:
    workers, trials = 3, 2 * TRIALS
    coordinators.environment["STEADYNET_BEGUN"] = str(coordinators.folder / "begun")
    failing: set[str] = set()

    def check(out: str) -> None:
        study = open_study(coordinators.folder / out)
        assert [trial.number for trial in study.trials] == list(range(trials))
        check_fits(study.trials)
        failing.update(failing_in(study))

    def start(out: str) -> subprocess.Popen[str]:
        return coordinators.start(out, "--workers", str(workers), "--seed", out.removeprefix("killed"), trials=trials)

    Killing(coordinators, start, check).run(KILLS)
    again = done_again(coordinators.folder / "begun", failing)
    assert again <= KILLS * (workers + 1), "more than the fits in flight were done again"


@pytest.mark.skipif(KILLS < 20, reason="TensorFlow starts a hundred times: `make faults`")
def test_with_tensorflow_too_a_killed_search_ends_as_an_undisturbed_one(coordinators: Coordinators) -> None:
    """On one core, where sums are made in one order; fits that were cut off go on from their last epoch."""

    def start(out: str) -> subprocess.Popen[str]:
        return coordinators.start_search(out, "--trials", "60", "--folds", "3", "--epochs", "100", "--image-size", "12")

    check = check_against(coordinators, start("undisturbed"))
    Killing(coordinators, start, check, longest=20.0).run(KILLS)
