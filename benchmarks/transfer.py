"""Pretrained networks: what running a frozen one once saves, and what its batch normalization does to another domain.

    python -m benchmarks.transfer trials --data DIR [--weights DIR] [--trials 60] [--workers 2]
    python -m benchmarks.transfer once --data DIR [--weights DIR] [--rounds 3]
    python -m benchmarks.transfer question --data DIR[:GROUPS.csv] [--weights DIR]

`trials`: random configurations on frozen backbones with kept statistics, five folds each, whole fits with their watch,
by the product's own workers; trials a minute, embeddings made before. `once`: one such fit on cached embeddings against
the same fit with the backbone run in each step, in turn. `question`: training and validation skill of one network on a
backbone whose statistics are kept, re-estimated or adapted, frozen and not, and what the watch says; five folds.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import optuna
import sqlalchemy as sa

from benchmarks.fold_job import fold_job
from benchmarks.full_runs import terms_of
from benchmarks.machine import machine
from search import seeds
from search.collapse.protection import Protection
from search.data.format_choice import FormatChoice
from search.data.images import ImageSet, load_images
from search.data.scanned_folder import scan_folder
from search.data.weight_files import find_weights
from search.events import SilentListener
from search.fits.runner import FitRunner
from search.records import SEARCH, Fit
from search.request import weight_digests, weight_files
from search.schedule.plan import auto_epochs
from search.storage.ledger import Ledger
from search.training.job import FitSpec
from search.workers.interfaces import WorkerPool
from search.workers.pool import WorkerProcessPool
from search.workers.protocol import TrainingData, WorkerResources
from spaces.backbones import IMAGENET
from spaces.config import Configuration
from spaces.definitions import Fixed
from spaces.presets import KNOWN_TRANSFER, TRANSFER, with_weights

FOLDS: Final = 5

ARMS: Final = {
    "frozen, kept": {},
    "frozen, re-estimated": {"statistics": "re_estimated"},
    "frozen, adapted": {"statistics": "adapted"},
    "last block, kept": {"trainable": "last_block"},
    "last block, adapted": {"trainable": "last_block", "statistics": "adapted"},
    "all, kept": {"trainable": "all"},
    "all, adapted": {"trainable": "all", "statistics": "adapted"},
}


class Setting:
    """Images, weights, and what fits share."""

    def __init__(self, data: str, weights: str, side: int, epochs: int | None) -> None:
        folder, _, groups = data.partition(":")
        self.images: ImageSet = load_images(
            scan_folder(Path(folder), SilentListener(), groups=Path(groups) if groups else None),
            FormatChoice(image_size=side, size_cap=side),
            SilentListener(),
            folds=FOLDS,
        )
        self.weights = find_weights(weights, TRANSFER.backbones)
        summary = self.images.summary
        epochs = epochs or auto_epochs(summary.images)
        terms = terms_of(self.images)
        self.terms = replace(
            terms,
            protocol=replace(terms.protocol, epochs=epochs, weights=weight_digests(self.weights)),
            plan=replace(terms.plan, epochs=epochs, fit_seconds=None),
        )
        self._place = tempfile.TemporaryDirectory()
        engine = sa.create_engine(f"sqlite:///{self._place.name}/ledger.db")
        self.fitter = FitRunner(self.terms, Ledger(engine, "transfer"))
        print(f"{folder}: {summary.images} images at {side} pixels, {epochs} epochs; {', '.join(self.weights)}")

    @contextmanager
    def pool(self, workers: int) -> Iterator[WorkerPool]:
        """So many worker processes, a thread each where there are several."""
        with tempfile.TemporaryDirectory() as place:
            threads = 1 if workers > 1 else None
            pool = WorkerProcessPool(
                [WorkerResources(threads=threads, gpu=None, log=Path(place) / "log")] * workers, lambda: False
            )
            pool.set_data(TrainingData.of(self.images, "balanced_accuracy", weight_files(self.weights)))
            try:
                yield pool
            finally:
                pool.close()

    def trial(self, pool: WorkerPool, number: int, configuration: Configuration) -> list[Fit]:
        """All folds, one after the other, by one worker."""
        with pool.worker() as worker:
            return [
                self.fitter.train(
                    worker,
                    FitSpec(
                        trial=number,
                        stage=SEARCH,
                        configuration=configuration,
                        train=fold.train,
                        val=fold.val,
                        fold=place,
                        attempt=number,
                    ),
                    Protection(calibrating=False),
                )
                for place, fold in enumerate(self.terms.folds)
            ]


def trials(setting: Setting, count: int, workers: int) -> None:
    """Print trials a minute."""
    space = with_weights(TRANSFER, tuple(setting.weights)).changed(
        {"trainable": Fixed("frozen"), "statistics": Fixed("kept")}
    )
    space = space.bound_to(min(len(fold.train) for fold in setting.terms.folds), setting.terms.protocol.epochs)
    drawn = []
    for number in range(count):
        sampler = optuna.samplers.RandomSampler(seed=seeds.child(0, "transfer", number))
        drawn.append(space.sample(optuna.create_study(sampler=sampler).ask()))
    flips = {"horizontal_flip": True, "vertical_flip": True, "head": "average"}
    with setting.pool(workers) as pool, ThreadPoolExecutor(workers) as threads:
        started = time.perf_counter()
        for name in setting.weights:  # all views, before the clock starts; each worker loads TensorFlow here
            whole = replace(KNOWN_TRANSFER[0], backbone=name, **flips)
            list(threads.map(lambda number, one=whole: setting.trial(pool, -1 - number, one), range(workers)))
        print(f"embeddings of {len(setting.weights)} backbone(s), four views: {time.perf_counter() - started:.1f} s")
        started = time.perf_counter()
        found = list(threads.map(lambda pair: setting.trial(pool, *pair), enumerate(drawn)))
        seconds = time.perf_counter() - started
    verdicts = Counter(fit.verdict.value for fits in found for fit in fits)
    best = max(np.mean([fit.score or 0.0 for fit in fits]) for fits in found)
    print(
        f"{count} trials of {FOLDS} folds in {seconds:.1f} s: {60 * count / seconds:.0f} a minute with {workers} "
        f"workers; {dict(verdicts)}; best {best:.3f}"
    )


def once(setting: Setting, rounds: int) -> None:
    """Print the ratio of the two."""
    from search.training import device

    device.set_up(None, None)
    from search.collapse.rules import FitContext
    from search.collapse.watch import Watch
    from search.selection.metrics import MetricScorer
    from search.training.backbones import first_weights
    from search.training.embeddings import FrozenBackbone
    from search.training.engine import Engine
    from search.training.fit import run_fit
    from search.training.heads.trainer import HeadTrainer

    name, known = next(iter(setting.weights.items()))
    terms, protocol = setting.terms, setting.terms.protocol
    pixels = device.load_pixels(setting.images.path, None)
    device.adapt(pixels.shape[1])
    labels = device.tensor(terms.labels.astype(np.int32))
    weights = first_weights(name, protocol.images.channels, known.path)
    configuration = replace(KNOWN_TRANSFER[0], backbone=name)
    fold = terms.folds[0]
    updates = len(fold.train) // configuration.batch_size
    steps = protocol.epochs * updates
    context = FitContext(
        epochs=protocol.epochs, updates_per_epoch=updates, imbalance=1.0, batchnorm=False, prior_entropy=np.log(2)
    )

    def fit(make: Callable[[], Any]) -> float:
        started = time.perf_counter()
        trainer = make()
        job = fold_job(configuration, protocol, context, fold, 0)
        run_fit(trainer, job, terms.labels, Watch(context, audited=True), MetricScorer("balanced_accuracy"))
        return time.perf_counter() - started

    started = time.perf_counter()
    backbone = FrozenBackbone(name, protocol.images, weights, known.digest, setting.images.path, pixels)
    backbone.view(across=False, down=False)
    made = time.perf_counter() - started
    ours, theirs = [], []
    for _ in range(rounds):
        ours.append(fit(lambda: HeadTrainer(configuration, protocol, backbone, terms.labels, steps)))
        theirs.append(fit(lambda: Engine(configuration, protocol, pixels, labels, steps, pretrained=weights)))
    ratio = statistics.median(b / a for a, b in zip(ours, theirs, strict=True))
    print(
        f"{name}, one fit of {protocol.epochs} epochs, tracing included: {statistics.median(ours):.2f} s on embeddings "
        f"(made once in {made:.1f} s or found in the cache), {statistics.median(theirs):.2f} s with the backbone in "
        f"each step: {ratio:.1f} times"
    )


def question(setting: Setting) -> None:
    """Print a row an arm."""
    name = "mobilenet_v2" if "mobilenet_v2" in setting.weights else next(iter(setting.weights))
    print(f"{name}; means of {FOLDS} folds\n{'':22}train skill  val skill  balanced accuracy  the watch")
    with setting.pool(1) as pool:
        for number, (what, changes) in enumerate(ARMS.items()):
            configuration = replace(KNOWN_TRANSFER[0], backbone=name, learning_rate=1e-3, **changes)
            fits = setting.trial(pool, number, configuration)
            last = [fit.checks[-1] for fit in fits if fit.checks]
            train, val = (np.mean([getattr(check, kind) for check in last]) for kind in ("train_skill", "val_skill"))
            score = np.mean([check.score for check in last])
            said = Counter(fit.reason or fit.symptom or fit.verdict.value for fit in fits)
            told = ", ".join(f"{reason} x {count}" for reason, count in said.items())
            print(f"{what:22}{train:11.2f}{val:11.2f}{score:19.3f}  {told}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("trials", "once", "question"):
        one = commands.add_parser(name)
        one.add_argument("--data", required=True, metavar="DIR[:GROUPS.csv]")
        one.add_argument("--weights", default=IMAGENET)
        one.add_argument("--image-size", type=int, default=64)
        one.add_argument("--epochs", type=int)
        one.add_argument("--trials", type=int, default=60)
        one.add_argument("--workers", type=int, default=2)
        one.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    print(machine("tensorflow", "keras", "optuna", "numpy"), flush=True)
    setting = Setting(options.data, options.weights, options.image_size, options.epochs)
    match options.command:
        case "trials":
            trials(setting, options.trials, options.workers)
        case "once":
            once(setting, options.rounds)
        case _:
            question(setting)


if __name__ == "__main__":
    main()
