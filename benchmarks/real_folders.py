"""From scratch, at the images' own sizes, and pretrained: what each brings on the same folder in the same time.

    python -m benchmarks.real_folders run --data TRAIN:TEST[:GROUPS.csv] ... [--arm scratch] [--weights DIR]
        [--seconds 900] [--runs DIR] --kept results.jsonl
    python -m benchmarks.real_folders table --kept results.jsonl

Each arm is a search by the command line; what it recommends is trained three times by `train`, with a seed each, and
predicts the test folder by `predict`. `plain` is no search: three convolutions and a dense layer by `compile` and
`fit`, which corrects no imbalance. Told are balanced accuracy and the recall of the rarest class on the test images,
means of three, and what the search did. Results are kept one by one: it can be stopped and gone on with.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.machine import machine
from benchmarks.promise import loaded
from benchmarks.versus_peers import Folders, folders

ARMS: Final[Mapping[str, Sequence[str]]] = {
    "plain": (),
    "scratch": (),
    "native": ("--image-size", "native"),
    "pretrained": ("--space", "transfer"),
}
SEEDS: Final = (0, 1, 2)
_PLAIN_EPOCHS, _PLAIN_SIDE = 30, 64
_HERE: Final = Path(__file__).parents[1]


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """One arm on one folder."""

    data: str
    arm: str
    seconds: float  # of the search
    tests: list[float]  # balanced accuracy of each training
    rarest: list[float]  # recall of the class with the fewest training images
    told: dict[str, Any] = field(default_factory=dict)  # of `summary.json`


def searched(data: Folders, arm: str, options: argparse.Namespace) -> Result:
    """A search, three trainings of what it recommends, three predictions."""
    seconds, weights = options.seconds, options.weights
    with tempfile.TemporaryDirectory() as place:
        model = Path(place) / "model.keras"
        out = (options.runs or Path(place)).absolute() / f"{data.name}-{arm}"
        given = ["--weights", weights] if weights and arm == "pretrained" else []
        groups = ["--groups", str(data.groups)] if data.groups else []
        began = time.monotonic()
        held = _command(
            *("--data", str(data.train), "--test", str(data.test), "--out", str(out), "--timeout", f"{seconds:g}s"),
            *(*ARMS[arm], *given, *groups),
        )
        spent = time.monotonic() - began
        told = json.loads((out / "summary.json").read_text())
        kept = {name: told[name] for name in ("trials", "fits", "collapse_reasons", "epochs", "recommended", "data")}
        kept["megabytes"] = held
        tests, rarest = [], []
        for seed in SEEDS if told["recommended"] else ():
            _command(
                *("train", "--config", str(out / "best_config.yaml"), "--data", str(data.train)),
                *("--model", str(model), "--seed", str(seed), *given),
            )
            table = Path(place) / "predictions.csv"
            _command("predict", "--model", str(model), "--data", str(data.test), "--csv", str(table))
            recalls = _recalls(table)
            tests.append(float(np.mean(list(recalls.values()))))
            rarest.append(recalls[_rarest(data)])
        return Result(data=data.name, arm=arm, seconds=spent, tests=tests, rarest=rarest, told=kept)


def _command(*words: str) -> float:
    """Run it. Megabytes that the largest of its processes held at most."""
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(
            [sys.executable, "run_search.py", *words, "--quiet"], cwd=_HERE, stdout=said, stderr=said
        )
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode not in (0, 3):  # no healthy configuration is a result too
            said.seek(0)
            raise RuntimeError(said.read()[-2000:])
    return used.ru_maxrss / 1024


def _recalls(table: Path) -> dict[str, float]:
    """By class, the share of its images that lie where they were put."""
    with table.open(newline="", encoding="utf-8") as stream:
        rows = [(Path(row["file"]).parts[0], row["class"]) for row in csv.DictReader(stream)]
    return {
        name: float(np.mean([said == name for truth, said in rows if truth == name]))
        for name in {row[0] for row in rows}
    }


def _rarest(data: Folders) -> str:
    counts = {path.name: len(list(path.iterdir())) for path in data.train.iterdir() if path.is_dir()}
    return min(counts, key=lambda name: (counts[name], name))


def plain(data: Folders) -> Result:
    """What a user would write first."""
    import keras

    began = time.monotonic()
    train = loaded(data.train, None, _PLAIN_SIDE, None)
    test = loaded(data.test, None, _PLAIN_SIDE, train)
    classes, images, others = list(train.summary.classes), train.pixels(), test.pixels()
    tests, rarest = [], []
    for seed in SEEDS:
        keras.utils.set_random_seed(seed)
        layers: list[Any] = [keras.layers.Rescaling(1 / 255)]
        for width in (16, 32, 64):
            layers += [keras.layers.Conv2D(width, 3, padding="same", activation="relu"), keras.layers.MaxPooling2D()]
        layers += [keras.layers.Flatten(), keras.layers.Dense(64, activation="relu")]
        model = keras.Sequential([*layers, keras.layers.Dense(len(classes), activation="softmax")])
        model.compile("adam", "sparse_categorical_crossentropy")
        model.fit(images, train.labels, batch_size=32, epochs=_PLAIN_EPOCHS, verbose=0)
        said = model.predict(others, verbose=0).argmax(axis=1)
        recalls = [float(np.mean(said[test.labels == k] == k)) for k in range(len(classes))]
        tests.append(float(np.mean(recalls)))
        rarest.append(recalls[classes.index(_rarest(data))])
    return Result(data=data.name, arm="plain", seconds=time.monotonic() - began, tests=tests, rarest=rarest)


def read(kept: Path) -> list[Result]:
    """What is done."""
    return [Result(**json.loads(line)) for line in kept.read_text().splitlines()] if kept.exists() else []


def run(options: argparse.Namespace) -> None:
    with folders(options.data, digits=False) as sets:
        for data in sets:
            for arm in options.arm or ARMS:
                if (data.name, arm) in {(one.data, one.arm) for one in read(options.kept)}:
                    continue
                result = plain(data) if arm == "plain" else searched(data, arm, options)
                with options.kept.open("a") as stream:
                    stream.write(json.dumps(asdict(result)) + "\n")
                print(*table([result]), sep="\n", flush=True)


def table(results: Sequence[Result]) -> Iterator[str]:
    """A row for each."""
    for one in results:
        told, best = one.told, one.told.get("recommended")
        scores = f"{np.mean(one.tests):.3f} ({min(one.tests):.3f})   {np.mean(one.rarest):.2f}" if one.tests else "none"
        line = f"{one.data:22} {one.arm:11} {scores:22} {one.seconds:6.0f} s"
        if told:
            epochs, reasons = told["epochs"], sorted(told["collapse_reasons"].items())
            said = (
                f"{best['promise']:.3f} [{best['promise_low']:.3f}, {best['promise_high']:.3f}]" if best else "nothing"
            )
            line += f"  promised {said}; {told['trials']} trials, {epochs['run']:,} of {epochs['full']:,} epochs; "
            line += ", ".join(f"{name} {count}" for name, count in reasons) or "no collapse"
            line += f"; {told['megabytes']:.0f} MB"
        yield line


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    running, showing = commands.add_parser("run"), commands.add_parser("table")
    running.add_argument("--data", action="append", required=True, metavar="TRAIN:TEST[:GROUPS.csv]")
    running.add_argument("--arm", action="append", choices=list(ARMS), help="all without")
    running.add_argument("--weights", metavar="DIR", help="of pretrained networks")
    running.add_argument("--seconds", type=float, default=900.0)
    running.add_argument("--runs", type=Path, metavar="DIR", help="where the searches' pages stay")
    for one in (running, showing):
        one.add_argument("--kept", type=Path, required=True)
    options = parser.parse_args()
    print(machine("tensorflow", "keras", "optuna"), flush=True)
    if options.command == "run":
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        run(options)
    else:
        print(*table(read(options.kept)), sep="\n")


if __name__ == "__main__":
    main()
