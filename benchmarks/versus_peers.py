"""Ours and the peers on the same images with the same seconds, one after the other, set by set and seed by seed.

    python -m benchmarks.versus_peers run --data TRAIN:TEST[:GROUPS.csv] ... --seeds 2 --kept results.jsonl
    python -m venv peers && peers/bin/pip install -r benchmarks/peers/requirements.txt
    python -m benchmarks.versus_peers run --data TRAIN:TEST[:GROUPS.csv] ... [--digits] --side 32
        --peers-python peers/bin/python --seeds 3 --kept other_results.jsonl
    python -m benchmarks.versus_peers table --kept results.jsonl

Every arm gets the training folder and the seconds, and is scored by balanced accuracy on images that nobody saw. Our
seconds count from the command and hold the start of Python and the report; each search of ours begins with an empty
cache. Ours alone is told of groups, and starts from the first configurations put in order without the set at hand.
Which arm begins changes from run to run. An arm that fails delivers nothing: that counts as guessing. It can be stopped
and gone on with at any time: results are kept one by one.

Without `--side` each arm sees the images at its own size, and may use pretrained networks: ours by default, ours
without weights, a linear probe on features, and Keras' guide to transfer learning (`benchmarks/peers`), all with the
same file of weights. Of ours, what it recommends is retrained three times with fresh seeds; the others deliver one
network for each seed.

With `--side` all learn from scratch on small images. Each delivers a configuration, which is retrained three times with
fresh seeds as it is used: ours on all images with its decision offset, AutoKeras on all by its own final training, the
others on 85 % with the rest for early stopping. The seconds of the peers count from when all is loaded.
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
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Final

import numpy as np
import optuna

from benchmarks.digits import write_digits
from benchmarks.machine import machine
from benchmarks.promise import of_study, retrained, workers
from benchmarks.versus_results import (
    OURS,
    OURS_SCRATCH,
    PEERS,
    PRETRAINED,
    Result,
    keep,
    pretrained_table,
    read,
    table,
)
from search import resources
from search.data.images import ImageSet
from search.selection.analyse import analyse
from search.selection.results import Results
from search.storage.database import open_storage
from search.storage.load import open_study
from spaces.backbones import NO_BACKBONE, NO_WEIGHTS, embeds
from spaces.config import Configuration

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


def ours(arm: str, data: Folders, seed: int, seconds: float, side: int | None) -> Result:
    """A search as a user starts it, then retrainings of what it recommends."""
    with tempfile.TemporaryDirectory() as place:
        out = Path(place) / "out"
        command = [sys.executable, "-m", "benchmarks.leave_one_out", data.name]
        command += ["--data", str(data.train), "--out", str(out), "--quiet"]
        command += ["--timeout", f"{seconds:g}s", "--seed", str(seed)]
        command += ["--image-size", str(side)] if side else []
        command += ["--weights", NO_WEIGHTS] if side or arm == OURS_SCRATCH else []
        command += ["--groups", str(data.groups)] if data.groups else []
        cache = {"STEADYNET_CACHE": str(Path(place) / "cache")}
        started, clock = time.time(), time.monotonic()
        done = subprocess.run(command, cwd=_HERE, env=os.environ | cache, capture_output=True, text=True, check=False)
        spent = time.monotonic() - clock
        if done.returncode not in (0, 3):
            raise RuntimeError(done.stderr[-2000:])
        results = analyse(open_study(out))
        classes = len(results.study.data.classes)
        scores, constant, (counts, guess) = [1 / classes] * RETRAININGS, RETRAININGS, guesses(data)
        right = [guess] * RETRAININGS
        best = results.recommended
        if best is not None:
            one = best.ranked.trial.configuration
            count = 1 if embeds(one.backbone, one.trainable, one.statistics) else resources.cores()
            with _environment(cache):  # where the search's embeddings are; each worker embeds the test images
                images, test = of_study(results, data.train, data.test, [best.ranked])
                with workers(results, images, count) as pool:
                    scores, constant, said = retrained(
                        results, best.ranked, best.offset, images, test, pool, RETRAININGS
                    )
            right = [*(_right(test, one) for one in said), *[guess] * (RETRAININGS - len(said))]
        return Result(
            arm=arm,
            data=data.name,
            seed=seed,
            classes=classes,
            seconds=spent,
            limit=seconds,
            promise=None if best is None else best.promise.value,
            tests=tuple(scores),
            constant=constant,
            curve=_curve(out, started, results),
            versions={name: metadata.version(name) for name in ("tensorflow", "keras", "optuna")},
            machine=MACHINE,
            side=side,
            chosen="" if best is None else _in_words(best.ranked.trial.configuration),
            commit=commit(),
            counts=counts,
            right=tuple(right),
        )


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(values)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _right(test: ImageSet, probabilities: np.ndarray) -> str:
    """Which test images are predicted rightly, in the order of their classes and names, as the peers read them."""
    order = sorted(range(len(test.files)), key=lambda row: (test.labels[row], Path(test.files[row])))
    return "".join("1" if one else "0" for one in (probabilities.argmax(axis=1) == test.labels)[order])


def _in_words(configuration: Configuration) -> str:
    if configuration.backbone == NO_BACKBONE:
        return f"from scratch, depth {configuration.depth}, {configuration.head}"
    top = configuration.classifier if configuration.is_closed_form else f"layers, {configuration.trainable}"
    return f"{configuration.backbone} at {configuration.resolution}, {configuration.head}, {top}"


def guesses(data: Folders) -> tuple[tuple[int, ...], str]:
    """Test images of each class, and `Result.right` of always saying the first class."""
    folders = sorted(path for path in data.test.iterdir() if path.is_dir())
    counts = tuple(sum(path.is_file() for path in folder.rglob("*")) for folder in folders)
    return counts, "1" * counts[0] + "0" * sum(counts[1:])


def commit() -> str:
    """The code's commit, with a + if files differ from it."""

    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], cwd=_HERE, capture_output=True, text=True, check=True).stdout.strip()

    return git("rev-parse", "--short=12", "HEAD") + ("+" if git("status", "--porcelain") else "")


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


def peer(name: str, python: str, data: Folders, seed: int, seconds: float, side: int | None) -> Result:
    """A peer's runner, in its own virtual environment, or in ours with our file of weights."""
    with tempfile.TemporaryDirectory() as place:
        out = Path(place) / "out.json"
        script, own_side = PRETRAINED[name] if name in PRETRAINED else (PEERS[name], side)
        command = [sys.executable if name in PRETRAINED else python, str(_HERE / "benchmarks" / "peers" / script)]
        command += [str(data.train), str(data.test), str(own_side), f"{seconds:g}", str(seed), str(out)]
        env = os.environ | ({"PYTHONPATH": str(_HERE)} if name in PRETRAINED else {})
        done = subprocess.run(command, cwd=place, env=env, capture_output=True, text=True, check=False)
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
        side=side,
        commit=commit(),
        counts=tuple(told["counts"]),
        right=tuple(one["right"] for one in told["tests"]),
    )


def nothing(arm: str, data: Folders, seed: int, seconds: float, side: int | None, failure: str) -> Result:
    """Of an arm that failed."""
    counts, guess = guesses(data)
    classes = len(counts)
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
        side=side,
        commit=commit(),
        counts=counts,
        right=(guess,) * RETRAININGS,
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
    if any(one.side != options.side for one in read(options.kept)):
        raise SystemExit(f"{options.kept} holds results with another --side: name another file.")
    possible = [OURS, *PEERS] if options.side else [OURS, *PRETRAINED, OURS_SCRATCH]
    arms = options.arm or possible
    if wrong := set(arms) - set(possible):
        raise SystemExit(f"With this --side there are the arms {', '.join(possible)}, not {', '.join(wrong)}.")
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
                        if arm in (OURS, OURS_SCRATCH):
                            result = ours(arm, data, seed, options.seconds, options.side)
                        else:
                            result = peer(arm, options.peers_python, data, seed, options.seconds, options.side)
                    except RuntimeError as error:
                        why = (str(error).strip().splitlines() or [""])[-1]
                        result = nothing(arm, data, seed, options.seconds, options.side, why[-500:])
                        print(f"{data.name} {seed} {arm} failed: {error}", flush=True)
                    keep(options.kept, result)
                    print(
                        f"{data.name} {seed} {arm}: {result.mean:.3f} (worst {min(result.tests):.3f}), says "
                        f"{result.promise}, {result.seconds:.0f} s {result.chosen}",
                        flush=True,
                    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    running, showing = commands.add_parser("run"), commands.add_parser("table")
    running.add_argument("--data", action="append", default=[], metavar="TRAIN:TEST[:GROUPS.csv]")
    running.add_argument("--digits", action="store_true", help="scikit-learn's too")
    running.add_argument("--peers-python", metavar="PYTHON", help="of the peers' virtual environment")
    running.add_argument(
        "--arm", action="append", choices=[OURS, *PRETRAINED, OURS_SCRATCH, *PEERS], help="all without"
    )
    running.add_argument("--seeds", type=int, default=3)
    running.add_argument("--seconds", type=float, default=300.0)
    running.add_argument("--side", type=int, help="pixels of all images, for networks from scratch")
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
    print(*(table if any(one.side for one in results) else pretrained_table)(results), sep="\n")


if __name__ == "__main__":
    main()
