"""Are pixels decoded once, and do folders larger than memory stream? Two questions, each in processes of its own.

    python -m benchmarks.data_path start [--images 2600] [--rounds 3]
    python -m benchmarks.data_path stream [--images 60000] [--side 128] [--cap 1.0] [--rounds 2] [--batches 1500]

`start` makes so many JPEGs of about 500 x 700 pixels and times the way from the folder to the folds, first with an
empty cache, then with a full one, beside what a user's own loop with Pillow takes each time.

`stream` makes an array of so many images as the cache stores them, far larger than the cap, and times epochs over
images drawn at random from all of it: from memory, and from the disk by a worker that may use `cap` GiB more than it
used before its first epoch, page cache included. The cap is a memory control group (version 1 or 2; it has to be
writable, so usually root's); the file's pages are dropped from the cache before each round. Ratios are what counts.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.machine import machine

_CLASSES = ("a", "b")
_GIB = 2**30


def make_jpegs(folder: Path, count: int) -> None:
    """Smooth pictures with some grain, of sizes around 500 x 700."""
    rng = np.random.default_rng(0)
    for number in range(count):
        place = folder / _CLASSES[number % 2] / f"{number:05}.jpg"
        place.parent.mkdir(parents=True, exist_ok=True)
        width, height = int(rng.integers(460, 540)), int(rng.integers(650, 750))
        coarse = Image.fromarray(rng.integers(0, 256, (9, 7, 3), dtype=np.uint8)).resize((width, height), 3)
        grain = rng.normal(0, 8, (height, width, 1))
        Image.fromarray((np.asarray(coarse) + grain).clip(0, 255).astype(np.uint8)).save(place, quality=90)


def data_path(folder: Path) -> dict[str, float]:
    """Seconds from the folder to the folds, and of that what each part took."""
    from search.data.folds import make_folds
    from search.data.format_choice import FormatChoice
    from search.data.images import load_images
    from search.data.scanned_folder import scan_folder
    from search.events import SilentListener

    started = time.perf_counter()
    images = load_images(scan_folder(folder, SilentListener()), FormatChoice(size_cap=64), SilentListener(), folds=5)
    loaded = time.perf_counter()
    make_folds(images.labels, folds=5, seed=0, cached=True)
    return {"images": loaded - started, "folds": time.perf_counter() - loaded}


def by_hand(folder: Path) -> dict[str, float]:
    """What a user would write: open, convert, resize, stack; at each start."""
    started = time.perf_counter()
    arrays = [np.asarray(Image.open(file).convert("RGB").resize((64, 64))) for file in sorted(folder.rglob("*.jpg"))]
    np.stack(arrays)
    return {"images": time.perf_counter() - started}


def start(options: argparse.Namespace) -> None:
    """Print both."""
    place = Path(tempfile.mkdtemp(prefix="data-path-"))
    try:
        make_jpegs(place / "images", options.images)
        size = sum(file.stat().st_size for file in (place / "images").rglob("*.jpg"))
        print(f"{options.images} JPEGs of about 500 x 700, {size / 1e6:.0f} MB")
        for kind in ("first", *("again", "by hand") * options.rounds):
            print(_child(kind, place), flush=True)
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _child(kind: str, place: Path) -> str:
    """The same in a new process, with a cache of its own."""
    variables = {**os.environ, "STEADYNET_CACHE": str(place / "cache")}
    call = [sys.executable, "-m", "benchmarks.data_path", "one", "--kind", kind, "--place", str(place)]
    told = json.loads(subprocess.run(call, env=variables, stdout=subprocess.PIPE, check=True).stdout)
    parts = ", ".join(f"{name} {value:.2f}" for name, value in told.items())
    return f"{kind:>8}: {sum(told.values()):6.2f} s ({parts})"


def make_array(path: Path, count: int, side: int) -> None:
    """As the cache stores decoded images: one `.npy` of uint8. Noise, which nothing can compress or foresee."""
    stored = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=(count, side, side, 3))
    rng = np.random.default_rng(0)
    for first in range(0, count, 500):
        part = stored[first : first + 500]
        part[:] = rng.integers(0, 256, part.shape, dtype=np.uint8)
    stored.flush()


_OLD, _NEW = Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")
_IS_OLD = (_OLD / "memory.limit_in_bytes").exists()
_GROUP = (_OLD if _IS_OLD else _NEW) / "steadynet-data-path"


class Cap:
    """A memory control group for this process, if the system lets it make one."""

    def __init__(self) -> None:
        try:
            _GROUP.mkdir(exist_ok=True)
            (_GROUP / "cgroup.procs").write_text(str(os.getpid()))
        except OSError as error:
            sys.exit(f"no memory control group can be made in {_GROUP.parent} ({error}): nothing was measured.")

    def used(self) -> int:
        """Bytes now, pages of files included."""
        return int((_GROUP / ("memory.usage_in_bytes" if _IS_OLD else "memory.current")).read_text())

    def most(self) -> int:
        """Bytes at most so far."""
        return int((_GROUP / ("memory.max_usage_in_bytes" if _IS_OLD else "memory.peak")).read_text())

    def limit(self, size: int) -> None:
        """More than this the process does not get."""
        (_GROUP / ("memory.limit_in_bytes" if _IS_OLD else "memory.max")).write_text(str(size))


def drop(path: Path) -> None:
    """None of the file's pages stays in memory."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def epochs(path: Path, cap: float | None, batches: int) -> dict[str, float]:
    """Images a second of an epoch, from memory or under the cap: of what a fit does with its images.

    They are measured, trained on in so many batches at random, and a quarter as many are validated.
    """
    group = None if cap is None else Cap()
    import tensorflow as tf

    from search.settings import TrainingProtocol
    from search.training import device
    from search.training.engine import Engine
    from search.training.prefetch import prefetcher_for
    from search.training.sampling import balance
    from spaces.config import Configuration
    from spaces.image_format import ImageFormat

    device.set_up(None, None)
    stored = np.load(path, mmap_mode="r")
    count, side = stored.shape[:2]
    pixels = device.load_pixels(path, None) if group else tf.constant(np.array(stored))
    configuration = Configuration(
        **{"depth": 3, "dense_ratio": 0.34, "initializer": "he_normal", "dropout": 0.0, "class_weighting": "none"},
        **{"oversampling": "none", "batch_size": 32, "learning_rate": 1e-3, "width": 8, "head": "average"},
        input_scaling="standardized",
    )
    protocol = TrainingProtocol(epochs=2, images=ImageFormat(image_size=side, channels=3), classes=2)
    labels = np.arange(count) % 2
    engine = Engine(
        configuration,
        protocol,
        pixels,
        tf.constant(labels, tf.int32),
        2 * batches,
        prefetcher=prefetcher_for(path) if group else None,
    )
    rng = np.random.default_rng(0)
    warm, rows = (rng.integers(0, count, (steps, 32)).astype(np.int32) for steps in (5, batches))
    validated = np.sort(rng.choice(count, rows.size // 4, replace=False))
    engine.begin(0, warm[0].astype(np.int64), balance(np.ones(2)))
    engine.train_epoch(warm, np.full(len(warm), 1e-3, np.float32), 0)
    engine.logits(warm[0].astype(np.int64))
    if group is not None:
        drop(path)
        idle = group.used()
        group.limit(idle + round((cap or 0) * _GIB))
    started = time.perf_counter()
    engine.begin(0, np.arange(count), balance(np.ones(2)))
    engine.train_epoch(rows, np.full(len(rows), 1e-3, np.float32), 1)
    engine.logits(validated)
    seconds = time.perf_counter() - started
    told = {"rate": (rows.size + len(validated)) / seconds, "seconds": seconds}
    return told if group is None else {**told, "idle": idle / _GIB, "most": group.most() / _GIB}


def stream(options: argparse.Namespace) -> None:
    """Print both, in turn."""
    place = Path(tempfile.mkdtemp(prefix="data-path-"))
    path = place / "pixels.npy"
    try:
        make_array(path, options.images, options.side)
        print(f"{options.images} images of {options.side} x {options.side}: {path.stat().st_size / _GIB:.2f} GiB")
        ratios = []
        for _ in range(options.rounds):
            told: list[Any] = []
            for cap in (None, options.cap):
                drop(path)
                call = [sys.executable, "-m", "benchmarks.data_path", "one", "--kind", "epochs", "--place", str(path)]
                call += ["--batches", str(options.batches), *(() if cap is None else ("--cap", str(cap)))]
                told.append(json.loads(subprocess.run(call, stdout=subprocess.PIPE, check=True).stdout))
                if _GROUP.exists():
                    _GROUP.rmdir()  # its pages and its maximum with it
            memory, disk = told
            ratios.append(disk["rate"] / memory["rate"])
            print(
                f"from memory {memory['rate']:.0f} images a second; streamed {disk['rate']:.0f}, with "
                f"{disk['idle']:.2f} GiB before and {disk['most']:.2f} GiB at most: {ratios[-1]:.2f} of the speed",
                flush=True,
            )
        print(f"median of {len(ratios)}: {statistics.median(ratios):.2f}")
    finally:
        shutil.rmtree(place, ignore_errors=True)
        if _GROUP.exists():
            _GROUP.rmdir()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    starting, streaming, one = (commands.add_parser(name) for name in ("start", "stream", "one"))
    starting.add_argument("--images", type=int, default=2600)
    starting.add_argument("--rounds", type=int, default=3)
    streaming.add_argument("--images", type=int, default=60_000)
    streaming.add_argument("--side", type=int, default=128)
    streaming.add_argument("--cap", type=float, default=1.0)
    streaming.add_argument("--rounds", type=int, default=2)
    streaming.add_argument("--batches", type=int, default=1500)
    one.add_argument("--kind", required=True)
    one.add_argument("--place", type=Path, required=True)
    one.add_argument("--cap", type=float)
    one.add_argument("--batches", type=int, default=0)
    options = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if options.command == "one":
        match options.kind:
            case "epochs":
                told = epochs(options.place, options.cap, options.batches)
            case "by hand":
                told = by_hand(options.place / "images")
            case _:
                told = data_path(options.place / "images")
        print(json.dumps(told))
        return
    print(machine("tensorflow", "pillow", "numpy"), flush=True)
    start(options) if options.command == "start" else stream(options)


if __name__ == "__main__":
    main()
