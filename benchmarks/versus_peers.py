"""Ours and the peers on the same images with the same seconds, one after the other, set by set and seed by seed.

    python -m venv peers && peers/bin/pip install -r benchmarks/peers/requirements.txt
    python -m benchmarks.versus_peers run --data TRAIN:TEST[:GROUPS.csv] ... [--digits] --peers-python peers/bin/python
        --seeds 3 --seconds 300 --kept results.jsonl
    python -m benchmarks.versus_peers table --kept results.jsonl

Every arm gets the training folder and the seconds, and delivers a configuration; it is retrained three times with fresh
seeds and scored by balanced accuracy on images that nobody saw. Each retrains as it is used: ours on all images with
its decision offset, AutoKeras on all by its own final training, the others on 85 % with the rest for early stopping.
Our seconds count from the command and hold the start of Python and the report; theirs count from when all is loaded.
Ours alone is told of groups, and starts from the first configurations put in order without the set at hand. Which arm
begins changes from run to run. An arm that fails delivers nothing: that counts as guessing. It can be stopped and gone
on with at any time: results are kept one by one.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Final

import optuna

from benchmarks.digits import write_digits
from benchmarks.machine import machine
from benchmarks.promise import loaded, retrained
from benchmarks.versus_results import OURS, PEERS, Result, keep, read, table
from search import resources
from search.selection.analyse import analyse
from search.selection.results import Results
from search.storage.database import open_storage
from search.storage.load import open_study
from search.workers.pool import WorkerProcessPool, worker_resources
from search.workers.protocol import TrainingData

RETRAININGS: Final = 3
MACHINE: Final = machine()
_HERE: Final = Path(__file__).parents[1]


@dataclass(frozen=True, kw_only=True, slots=True)
class Folders:
    """A data set."""

    name: str
    train: Path
    test: Path
    groups: Path | None


def ours(data: Folders, seed: int, seconds: float, side: int) -> Result:
    """A search as a user starts it, then retrainings of what it recommends."""
    with tempfile.TemporaryDirectory() as place:
        out = Path(place) / "out"
        command = [sys.executable, "-m", "benchmarks.leave_one_out", data.name]
        command += ["--data", str(data.train), "--out", str(out), "--quiet"]
        command += ["--image-size", str(side), "--timeout", f"{seconds:g}s", "--seed", str(seed)]
        command += ["--groups", str(data.groups)] if data.groups else []
        started, clock = time.time(), time.monotonic()
        done = subprocess.run(command, cwd=_HERE, capture_output=True, text=True, check=False)
        spent = time.monotonic() - clock
        if done.returncode not in (0, 3):
            raise RuntimeError(done.stderr[-2000:])
        results = analyse(open_study(out))
        classes = len(results.study.data.classes)
        scores, constant, promise = [1 / classes] * RETRAININGS, RETRAININGS, None
        if results.recommended is not None:
            scores, constant = _retrained(results, data, side)
            promise = results.recommended.promise.value
        return Result(
            arm=OURS,
            data=data.name,
            seed=seed,
            classes=classes,
            seconds=spent,
            limit=seconds,
            promise=promise,
            tests=tuple(scores),
            constant=constant,
            curve=_curve(out, started, results),
            versions={name: metadata.version(name) for name in ("tensorflow", "keras", "optuna")},
            machine=MACHINE,
        )


def _retrained(results: Results, data: Folders, side: int) -> tuple[list[float], int]:
    best = results.recommended
    assert best is not None
    images = loaded(data.train, data.groups, side, None)
    test = loaded(data.test, None, side, images)
    with tempfile.TemporaryDirectory() as place:
        pool = WorkerProcessPool(worker_resources(Path(place), resources.cores(), ()), lambda: False)
        pool.set_data(TrainingData.of(images, "balanced_accuracy"))
        try:
            scores, lost, _ = retrained(results, best.ranked, best.offset, images, test, pool, RETRAININGS)
        finally:
            pool.close()
    return scores, lost


def _curve(out: Path, started: float, results: Results) -> tuple[tuple[float, float], ...]:
    """Best pooled cross-validation score after each trial that has one."""
    study = optuna.load_study(study_name="steadynet", storage=open_storage(out, create=False))
    ended = {trial.number: trial.datetime_complete for trial in study.get_trials(deepcopy=False)}
    pooled = {one.trial.number: one.pooled for one in results.ranking}
    points, best = [], 0.0
    for number, moment in sorted(ended.items(), key=lambda pair: str(pair[1])):
        if moment is not None and pooled.get(number, 0.0) > best:
            best = pooled[number]
            points.append((moment.timestamp() - started, best))
    return tuple(points)


def peer(name: str, python: str, data: Folders, seed: int, seconds: float, side: int) -> Result:
    """A peer's runner, in its own virtual environment."""
    with tempfile.TemporaryDirectory() as place:
        out = Path(place) / "out.json"
        script = _HERE / "benchmarks" / "peers" / PEERS[name]
        command = [python, str(script), str(data.train), str(data.test), str(side), f"{seconds:g}", str(seed), str(out)]
        done = subprocess.run(command, cwd=place, capture_output=True, text=True, check=False)
        if done.returncode or not out.exists():
            raise RuntimeError(f"{name}: {done.stderr[-2000:]}")
        told = json.loads(out.read_text())
    return Result(
        arm=name,
        data=data.name,
        seed=seed,
        classes=sum(path.is_dir() for path in data.train.iterdir()),
        seconds=told["seconds"],
        limit=seconds,
        promise=told["promise"],
        tests=tuple(one["bal_acc"] for one in told["tests"]),
        constant=sum(one["distinct_predictions"] == 1 for one in told["tests"]),
        versions=told["versions"],
        machine=MACHINE,
    )


def nothing(arm: str, data: Folders, seed: int, seconds: float, failure: str) -> Result:
    """Of an arm that failed."""
    classes = sum(path.is_dir() for path in data.train.iterdir())
    return Result(
        arm=arm,
        data=data.name,
        seed=seed,
        classes=classes,
        seconds=seconds,
        limit=seconds,
        promise=None,
        tests=(1 / classes,) * RETRAININGS,
        constant=RETRAININGS,
        versions={},
        machine=MACHINE,
        failure=failure,
    )


@contextmanager
def folders(data: Sequence[str], *, digits: bool) -> Iterator[list[Folders]]:
    """Those of the command line; and a quarter of scikit-learn's digits to train on, half of them to test."""
    found = []
    for text in data:
        train, test, *groups = (Path(part).resolve() for part in text.split(":"))
        found.append(Folders(name=train.parent.name, train=train, test=test, groups=groups[0] if groups else None))
    with tempfile.TemporaryDirectory() as place:
        if digits:
            train, test = Path(place) / "digits" / "train", Path(place) / "digits" / "test"
            write_digits(train)
            for folder in sorted(train.iterdir()):
                (test / folder.name).mkdir(parents=True)
                for path in sorted(folder.iterdir())[::2]:
                    shutil.move(path, test / folder.name / path.name)
            found.append(Folders(name="digits", train=train, test=test, groups=None))
        yield found


def run(options: argparse.Namespace) -> None:
    arms = [OURS, *PEERS] if not options.arm else options.arm
    with folders(options.data, digits=options.digits) as sets:
        turn = 0
        for seed in range(options.seeds):
            for data in sets:
                turn += 1
                for arm in [*arms[turn % len(arms) :], *arms[: turn % len(arms)]]:
                    done = {(one.arm, one.data, one.seed) for one in read(options.kept)}
                    if (arm, data.name, seed) in done:
                        continue
                    try:
                        if arm == OURS:
                            result = ours(data, seed, options.seconds, options.side)
                        else:
                            result = peer(arm, options.peers_python, data, seed, options.seconds, options.side)
                    except RuntimeError as error:
                        result = nothing(arm, data, seed, options.seconds, str(error)[-500:])
                        print(f"{data.name} {seed} {arm} failed: {error}", flush=True)
                    keep(options.kept, result)
                    print(
                        f"{data.name} {seed} {arm}: {result.mean:.3f} (worst {min(result.tests):.3f}), says "
                        f"{result.promise}, {result.seconds:.0f} s",
                        flush=True,
                    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    running, showing = commands.add_parser("run"), commands.add_parser("table")
    running.add_argument("--data", action="append", default=[], metavar="TRAIN:TEST[:GROUPS.csv]")
    running.add_argument("--digits", action="store_true", help="scikit-learn's too")
    running.add_argument("--peers-python", metavar="PYTHON", help="of the peers' virtual environment")
    running.add_argument("--arm", action="append", choices=[OURS, *PEERS], help="all without")
    running.add_argument("--seeds", type=int, default=3)
    running.add_argument("--seconds", type=float, default=300.0)
    running.add_argument("--side", type=int, default=32)
    for one in (running, showing):
        one.add_argument("--kept", type=Path, required=True)
    options = parser.parse_args()
    print(MACHINE, flush=True)
    if options.command == "run":
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        run(options)
    results: Any = read(options.kept)
    for one in {(one.arm, one.machine, *sorted(one.versions.items())) for one in results}:
        print(*one)
    print(*table(results), sep="\n")


if __name__ == "__main__":
    main()
