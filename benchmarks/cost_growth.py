"""How does a trial's cost grow with images, pixels, folds and workers? Measured one at a time, and drawn.

    python -m benchmarks.cost_growth run --kept growth.json [--rounds 3]
    python -m benchmarks.cost_growth draw --kept growth.json --out docs/cost_growth.svg       (needs matplotlib)

Random images, one network (three convolutions, a dense layer, batches of 32). Seconds of `epochs` whole epochs with
their checks, tracing apart. `slope` is that of seconds over size, both in logarithms, through the upper half of the
sizes: 1 is linear. With more workers, each has one thread, and the seconds are those of all their fits together.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.machine import machine

IMAGES = (100, 300, 1000, 3000, 10_000, 20_000)
SIDES = (16, 32, 64, 96, 128, 160, 224)
FOLDS = (2, 3, 5, 10)
EPOCHS = 3


def _made(count: int, side: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (count, side, side, 3), dtype=np.uint8), np.arange(count) % 2


def trial(count: int, side: int, folds: int) -> tuple[float, float]:
    """Seconds of a trial's epochs and checks, and of its trace."""
    import tensorflow as tf

    from search.collapse.rules import FitContext
    from search.collapse.watch import Watch
    from search.data.folds import make_folds
    from search.records import SEARCH
    from search.selection import metrics
    from search.settings import TrainingProtocol
    from search.training import device
    from search.training.engine import Engine
    from search.training.fit import run_fit
    from search.training.job import FitJob
    from spaces.image_format import ImageFormat

    pixels, labels = _made(count, side)
    given = make_folds(labels, folds=folds, seed=0)
    steps = max(1, len(given[0].train) // 32)
    protocol = TrainingProtocol(epochs=EPOCHS, images=ImageFormat(image_size=side, channels=3), classes=2)
    device.adapt(side)
    engine = Engine(
        _configuration(), protocol, device.images_on_device(pixels), tf.constant(labels, tf.int32), EPOCHS * steps
    )
    context = FitContext(
        epochs=EPOCHS, updates_per_epoch=steps, imbalance=1.0, batchnorm=False, prior_entropy=np.log(2)
    )

    def fit(number: int, train: np.ndarray[Any, Any], val: np.ndarray[Any, Any]) -> float:
        job = FitJob(
            trial=0,
            stage=SEARCH,
            configuration=_configuration(),
            protocol=protocol,
            context=context,
            train=train,
            val=val,
            seed=number,
        )
        started = time.perf_counter()
        outcome = run_fit(engine, job, labels, Watch(context), metrics.MetricScorer())
        assert outcome.epochs == EPOCHS, f"a fit ended early ({outcome.verdict}): the comparison would not be fair"
        return time.perf_counter() - started

    first = fit(0, given[0].train, given[0].val)
    seconds = [fit(number, fold.train, fold.val) for number, fold in enumerate(given)]
    return sum(seconds), max(0.0, first - seconds[0])


def workers(count: int) -> tuple[float, float]:
    """Seconds of eight fits on so many workers with a thread each, and of a fit on one of them."""
    from concurrent.futures import ThreadPoolExecutor

    import sqlalchemy as sa
    from PIL import Image

    from search.collapse.protection import Protection
    from search.data.folds import make_folds
    from search.data.images import load_images
    from search.data.scanned_folder import scan_folder
    from search.events import SilentListener
    from search.fits.runner import FitRunner, StudySetup
    from search.records import SEARCH
    from search.settings import Plan, TrainingProtocol
    from search.storage.ledger import Ledger
    from search.training.job import FitSpec
    from search.workers.pool import WorkerProcessPool
    from search.workers.protocol import TrainingData, WorkerResources
    from spaces.image_format import ImageFormat

    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        pixels, labels = _made(400, 64)
        for number, (image, label) in enumerate(zip(pixels, labels, strict=True)):
            file = place / "images" / str(label) / f"{number}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(file)
        images = load_images(
            scan_folder(place / "images", SilentListener()),
            ImageFormat(image_size=64, channels=3),
            SilentListener(),
            folds=5,
        )
        folds = make_folds(images.labels, folds=5, seed=0)
        terms = StudySetup(
            labels=images.labels,
            folds=folds,
            fingerprint=images.summary.fingerprint,
            protocol=TrainingProtocol(epochs=12, images=images.format, classes=2),
            plan=Plan(epochs=12, folds=5, search_seconds=None, final_seconds=0.0, fit_seconds=None),
            metric="balanced_accuracy",
            chance=0.5,
            seed=0,
        )
        fitter = FitRunner(terms, Ledger(sa.create_engine(f"sqlite:///{place}/ledger.db"), "growth"))
        resources = [WorkerResources(threads=1, gpu=None, log=place / "log", memory=4 * 2**30) for _ in range(count)]
        pool = WorkerProcessPool(resources, lambda: False)
        pool.set_data(TrainingData.of(images, "balanced_accuracy"))

        def fit(number: int) -> float:
            fold = folds[number % 5]
            spec = FitSpec(
                trial=0,
                stage=SEARCH,
                configuration=_configuration(),
                train=fold.train,
                val=fold.val,
                attempt=number,
            )
            with pool.worker() as worker:
                started = time.perf_counter()
                fitter.train(worker, spec, Protection(calibrating=True))
                return time.perf_counter() - started

        try:
            with ThreadPoolExecutor(count) as threads:
                list(threads.map(fit, range(100, 100 + count)))  # loads TensorFlow, traces
                started = time.perf_counter()
                each = list(threads.map(fit, range(8)))
                return time.perf_counter() - started, statistics.mean(each)
        finally:
            pool.close()


def _configuration() -> Any:
    from spaces.config import Configuration

    return Configuration(
        **{"depth": 4, "dense_ratio": 0.25, "initializer": "he_normal", "dropout": 0.0, "class_weighting": "none"},
        **{"oversampling": "none", "batch_size": 32, "learning_rate": 1e-4, "head": "average"},
    )


SERIES: dict[str, tuple[tuple[int, ...], Callable[[int], tuple[float, float]]]] = {
    "images at 64 x 64": (IMAGES, lambda count: trial(count, 64, 2)),
    "pixels of 200 images": (tuple(side * side for side in SIDES), lambda n: trial(200, round(n**0.5), 2)),
    "folds of 400 images at 32 x 32": (FOLDS, lambda folds: trial(400, 32, folds)),
    "workers, 8 fits of 400 images at 64 x 64": ((1, 2), workers),
}


def run(kept: Path, rounds: int) -> dict[str, Any]:
    """All series, going on where a file of them ends."""
    from search.training import device

    device.set_up(None, 0)
    found: dict[str, Any] = json.loads(kept.read_text()) if kept.exists() else {}
    for name, (sizes, measure) in SERIES.items():
        for number in range(rounds):
            for size in sizes:
                told = found.setdefault(name, {}).setdefault(str(size), [])
                if len(told) <= number:
                    told.append(measure(size))
                    kept.write_text(json.dumps(found))
                    print(f"{name}: {size}: {told[-1][0]:.2f} s (+ {told[-1][1]:.2f})", flush=True)
    return found


def slope(points: list[tuple[float, float]]) -> float:
    """Of log seconds over log size, through the upper half of the sizes."""
    upper = np.log(points[len(points) // 2 - (len(points) < 4) :])
    return float(np.polyfit(upper[:, 0], upper[:, 1], 1)[0])


def medians(found: dict[str, Any]) -> dict[str, list[tuple[float, float]]]:
    return {
        name: [(float(size), statistics.median(one[0] for one in told)) for size, told in series.items()]
        for name, series in found.items()
    }


def draw(found: dict[str, Any], out: Path) -> None:
    """A panel a series, both axes logarithmic, with a dashed line of linear growth through the largest size."""
    from matplotlib import pyplot as plt

    figure, panels = plt.subplots(1, len(found), figsize=(3.6 * len(found), 3.2), layout="constrained")
    for panel, (name, points) in zip(np.atleast_1d(panels), medians(found).items(), strict=True):
        sizes, seconds = zip(*points, strict=True)
        panel.loglog(sizes, seconds, "o-", color="#0072B2")
        if "workers" not in name:
            panel.loglog(sizes, [seconds[-1] * size / sizes[-1] for size in sizes], "--", color="#888888")
        panel.set_xlabel(name, fontsize=9)
        panel.set_ylabel("seconds")
        panel.set_xticks(sizes, [f"{size:,.0f}" for size in sizes], rotation=60, fontsize=7)
        panel.minorticks_off()
        ends = (min(seconds), max(seconds))
        panel.set_yticks(ends, [f"{value:.2g}" for value in ends], fontsize=7)
    figure.savefig(out, metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("run", "draw"))
    parser.add_argument("--kept", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("docs/cost_growth.svg"))
    options = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if options.command == "draw":
        return draw(json.loads(options.kept.read_text()), options.out)
    print(machine("tensorflow", "keras", "numpy"), flush=True)
    for name, points in medians(run(options.kept, options.rounds)).items():
        each = ", ".join(f"{size:,.0f}: {seconds:.2f}" for size, seconds in points)
        print(f"{name}: {each}; slope {slope(points):.2f}")
    return None


if __name__ == "__main__":
    main()
