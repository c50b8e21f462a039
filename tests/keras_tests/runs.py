"""Searches in processes of their own, as a user starts them, and looks at them from outside."""

import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
_LAUNCH = """
import sys, run_search
code = run_search.main(sys.argv[1:])
print("loaded:", *sorted({"tensorflow", "keras"} & set(sys.modules)))
sys.exit(code)
"""
_PATIENCE = 240.0  # seconds until a test gives up on something that never comes


def write_images(folder: Path, classes: int = 3, count: int = 20, seed: int = 0) -> Path:
    """Noise of 12 x 12 pixels with a brighter band whose place is the class: to be learned, but not at once."""
    rng = np.random.default_rng(seed)
    for k in range(classes):
        (folder / f"class {k}").mkdir(parents=True)
        for number in range(count):
            pixels = rng.integers(0, 180, (12, 12, 3))
            pixels[4 * k : 4 * k + 4] += 40
            Image.fromarray(pixels.astype(np.uint8)).save(folder / f"class {k}" / f"{number}.png")
    return folder


@dataclass
class SearchProcess:
    """A search that was started."""

    out: Path
    process: "subprocess.Popen[str]"
    stdout: str = ""
    stderr: str = ""

    def wait(self) -> int:
        """Its exit code, when it has ended by itself."""
        self.stdout, self.stderr = self.process.communicate(timeout=_PATIENCE)
        return self.process.returncode

    def fits(self) -> int:
        """Recorded so far, by all starts."""
        return self._count() if self.is_open() else 0

    def _count(self) -> int:
        with closing(sqlite3.connect(f"file:{self.out / 'study.db'}?mode=ro", uri=True, timeout=30)) as connection:
            return int(connection.execute("SELECT COUNT(*) FROM fits").fetchone()[0])

    def is_open(self) -> bool:
        """Whether the study and the ledger's tables are there."""
        try:
            self._count()
        except sqlite3.OperationalError:
            return False
        return True

    def until(self, condition: Callable[[], bool]) -> None:
        """Wait for the condition while the search runs."""
        ends = time.monotonic() + _PATIENCE
        while not condition():
            assert self.process.poll() is None, self.process.communicate()
            assert time.monotonic() < ends, "it never came"
            time.sleep(0.02)

    def workers(self) -> list[int]:
        """Process ids of its descendants."""
        parents = {}
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                pid, rest = stat.read_text().split(" (", 1)
            except (FileNotFoundError, ProcessLookupError):
                continue
            parents[int(pid)] = int(rest.rsplit(") ", 1)[1].split()[1])
        found, looked = [], [self.process.pid]
        while looked:
            parent = looked.pop()
            children = [pid for pid, its in parents.items() if its == parent]
            found += children
            looked += children
        return found


@dataclass
class SearchLauncher:
    """Starts searches; ends those that are left over."""

    folder: Path
    started: list[SearchProcess] = field(default_factory=list)
    closed: bool = False

    def start(self, out: str, *arguments: str) -> SearchProcess:
        """A search of its own in a session of its own, so that a signal can reach all of it and nothing else."""
        assert not self.closed, "the tests are over"
        command: Sequence[str] = (sys.executable, "-c", _LAUNCH, *arguments, "--out", str(self.folder / out))
        process = subprocess.Popen(
            command,
            cwd=self.folder,
            env=_environment(self.folder),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        run = SearchProcess(self.folder / out, process)
        self.started.append(run)
        return run

    def close(self) -> None:
        """Kill what still runs, and start nothing more."""
        self.closed = True
        for run in self.started:
            run.process.kill()


def _environment(folder: Path) -> dict[str, str]:
    return {**os.environ, "STEADYNET_CACHE": str(folder / "cache"), "PYTHONPATH": str(ROOT)}


def run_command(folder: Path, *arguments: str) -> str:
    """What a command says that is run to its end; that it did well and never loaded TensorFlow itself is checked."""
    run = subprocess.run(
        [sys.executable, "-c", _LAUNCH, *arguments],
        cwd=folder,
        env=_environment(folder),
        capture_output=True,
        text=True,
        timeout=400,
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines()[-1].strip() == "loaded:"
    return run.stdout


def plain_keras(folder: Path, script: str) -> None:
    """Run Python that knows nothing of our packages."""
    command = [sys.executable, "-I", "-c", script]
    run = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=240)
    assert run.returncode == 0, run.stderr


def all_dead(pids: Sequence[int], within: float) -> bool:
    """Whether all processes are gone within so many seconds. A zombie is gone: it only waits to be counted."""
    ends = time.monotonic() + within
    while time.monotonic() < ends:
        if not any(_runs(pid) for pid in pids):
            return True
        time.sleep(0.05)
    return False


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1][0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False
