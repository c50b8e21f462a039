"""The coordinator against real processes that misbehave; none of them loads TensorFlow."""

from __future__ import annotations

import multiprocessing as mp
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from search.diagnosis.client import run
from search.diagnosis.server import DiagnosisJob
from search.errors import UserCodeError
from tests.search.diagnosis.children import obedient, wait_until_gone

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]

MakeJob = Callable[..., DiagnosisJob]


@pytest.fixture
def job(tmp_path: Path) -> MakeJob:
    def make(deed: str, budget: float = 600.0) -> DiagnosisJob:
        return DiagnosisJob(
            model=deed,
            folder=tmp_path,
            pixels=tmp_path / "pixels.npy",
            labels=np.array([0, 1]),
            classes=("a", "b"),
            budget=budget,
            seed=0,
            log=tmp_path / "diagnose.log",
        )

    return make


@pytest.fixture
def at_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """Children come from a server that has imported what they need: alone each of them, but there at once."""
    server = mp.get_context("forkserver")
    server.set_forkserver_preload(["tests.search.diagnosis.children"])
    monkeypatch.setattr(mp, "get_context", lambda method: server)


class Notes:
    def __init__(self) -> None:
        self.told: list[tuple[str, int, int]] = []

    def __call__(self, stage: str, done: int, of: int) -> None:
        self.told.append((stage, done, of))


def test_a_diagnosis_comes_back_and_prints_stay_in_the_log(job, capfd) -> None:
    notes = Notes()
    made = job("works")
    found = run(made, notes, target=obedient)
    assert (found.model, found.folder) == ("works", made.folder)
    assert notes.told[0] == ("Training", 0, 3)
    assert notes.told[-1] == ("Training", 3, 3)
    assert sorted(made.log.read_text().splitlines()) == ["printed by the user's code", "written by a library"]
    assert capfd.readouterr() == ("", "")


@pytest.mark.usefixtures("at_hand")
@pytest.mark.parametrize(
    ("deed", "message", "lines"),
    [
        ("theirs", "build raised ValueError: no", ("line 1", "line 2")),
        ("user", "too few images", ()),
        ("exits", r"exits ended the process with sys.exit\('done early'\)", ()),
        ("vanishes", "ran vanishes ended unexpectedly .exit code 7; at: Starting.", ("last words",)),
        ("killed", "killed, most often because memory ran out", ()),
        ("crashes", "a segmentation fault", ()),
    ],
)
def test_what_is_the_users(job, deed: str, message: str, lines: tuple[str, ...]) -> None:
    with pytest.raises(UserCodeError, match=message) as caught:
        run(job(deed), Notes(), target=obedient)
    assert caught.value.lines == lines


@pytest.mark.usefixtures("at_hand")
def test_what_is_ours_ends_with_its_traceback(job) -> None:
    with pytest.raises(RuntimeError, match=r"(?s)Traceback.*_raises_ours.*ZeroDivisionError: our bug"):
        run(job("ours"), Notes(), target=obedient)


@pytest.mark.usefixtures("at_hand")
def test_the_end_is_seen_even_when_something_holds_the_pipe_open(job) -> None:
    notes = Notes()
    with pytest.raises(UserCodeError, match="exit code 3"):
        run(job("leaves"), notes, target=obedient)
    assert wait_until_gone(int(notes.told[0][0]))


@pytest.mark.usefixtures("at_hand")
def test_silence_beyond_the_budget_is_the_end_of_it_and_of_what_it_started(job) -> None:
    notes = Notes()
    with pytest.raises(UserCodeError, match=r"hangs sent nothing for 1 s \(at: Hanging .*raise --budget"):
        run(job("hangs", budget=0.5), notes, target=obedient, grace=0.5)
    assert all(wait_until_gone(int(pid)) for pid in notes.told[-1][0].split()[1:])


COORDINATOR = """
import sys
from pathlib import Path
import numpy as np
from search.diagnosis.server import DiagnosisJob
from search.diagnosis.client import run
from tests.search.diagnosis.children import obedient

if __name__ == "__main__":
    here = Path(sys.argv[1])
    job = DiagnosisJob(model="hangs", folder=here, pixels=here, labels=np.array([0]), classes=("a",), budget=600.0,
                         seed=0, log=here / "log")
    try:
        run(job, lambda stage, done, of: print(stage, flush=True), target=obedient)
    except KeyboardInterrupt:
        sys.exit(130)
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)])
def test_nothing_outlives_the_coordinator(tmp_path: Path, number: signal.Signals, code: int) -> None:
    (tmp_path / "coordinator.py").write_text(COORDINATOR)
    coordinator = subprocess.Popen(
        [sys.executable, tmp_path / "coordinator.py", tmp_path],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background job ignores it
    )
    with coordinator:
        assert coordinator.stdout is not None
        try:
            assert coordinator.stdout.readline() == "Loading TensorFlow\n"
            pids = [int(pid) for pid in coordinator.stdout.readline().split()[1:]]
            coordinator.send_signal(number)
            assert coordinator.wait(20) == code
        finally:
            coordinator.kill()  # or the test would wait for it for ever
    assert len(pids) == 2
    assert all(wait_until_gone(pid) for pid in pids)
