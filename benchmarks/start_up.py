"""From the command to the first training, with images that are in the cache: what a user waits each time.

    python -m benchmarks.start_up --data DIR [--times 5]

Told are the seconds from the command to the moment when the first network is handed to a worker that has TensorFlow up,
to be timed; and to the first check of the first trial, which comes after the timing and the baselines. The first of the
starts fills the cache and is left out.
"""

from __future__ import annotations

import argparse
import json
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from benchmarks.machine import machine

_HERE: Final = Path(__file__).parents[1]
_TRAINS: Final = "Timing the first epochs"
_LONGEST: Final = 300.0


def started(data: Path, out: Path) -> tuple[float, float]:
    """Seconds to the first network, and to the first check."""
    began, first = time.monotonic(), None
    command = [sys.executable, "run_search.py", "--data", str(data), "--out", str(out), "--quiet", "--timeout", "1h"]
    with subprocess.Popen(command, cwd=_HERE, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as search:
        try:
            while time.monotonic() - began < _LONGEST:
                time.sleep(0.05)
                log, status = out / "run.log", out / "status.json"
                if first is None and log.exists() and _TRAINS in log.read_text():
                    first = time.monotonic() - began
                running = json.loads(status.read_text())["running"] if status.exists() else []
                if first is not None and any(one["epoch"] for one in running):
                    return first, time.monotonic() - began
            raise RuntimeError("no training has begun")
        finally:
            search.send_signal(signal.SIGKILL)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--times", type=int, default=5)
    options = parser.parse_args()
    print(machine("tensorflow", "keras", "optuna"), flush=True)
    found = []
    for number in range(options.times + 1):
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as place:
            found.append(started(options.data.resolve(), Path(place) / "out"))
        print(f"{number}: " + ", ".join(f"{seconds:.1f} s" for seconds in found[-1]), flush=True)
        time.sleep(6)  # workers of a killed coordinator end within five seconds
    for name, column in zip(("first network", "first check"), zip(*found[1:], strict=True), strict=True):
        print(f"{name}: median {statistics.median(column):.1f} s, {min(column):.1f} to {max(column):.1f}")


if __name__ == "__main__":
    main()
