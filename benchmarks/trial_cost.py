"""What a trial costs in the engine, watch included: against `compile` + `fit` per fold, and against its arithmetic.

    python -m benchmarks.trial_cost [--rounds 3] [--only 160x32] [--engine-only | --fit-only]

Both train the same network (three convolutions, a dense layer) on the same random images, in turn, in one process, five
folds. What users write today is a fresh model with `fit(validation_data=...)` and `predict` for each fold: ten epochs.
A bare loop over as many warm steps of the engine shows what of its time is arithmetic: thirty epochs, as short searches
have, tracing included. Ratios are what counts.
"""

from __future__ import annotations

import argparse
import gc
import os
import statistics
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf

from benchmarks.fold_job import fold_job
from benchmarks.machine import machine
from search.collapse.rules import FitContext
from search.collapse.watch import Watch
from search.data.folds import make_folds
from search.selection import metrics
from search.settings import TrainingProtocol
from search.training import device
from search.training.engine import Engine
from search.training.fit import run_fit
from search.training.lr_schedule import Schedule
from search.training.network import build_network
from search.training.sampling import balance
from spaces.config import Configuration
from spaces.image_format import ImageFormat

EPOCHS = {"fit": 10, "bare": 30}
FOLDS = 5
CASES = {"160x32": (160, 32), "400x64": (400, 64), "160x128": (160, 128), "80x224": (80, 224)}
CONFIGURATION = Configuration(
    depth=4,
    dense_ratio=0.25,
    initializer="he_normal",
    dropout=0.2,
    class_weighting="none",
    oversampling="none",
    batch_size=16,
    learning_rate=1e-3,
    head="average",
)


def with_engine(pixels, labels, folds, epochs) -> None:
    protocol = TrainingProtocol(epochs=epochs, images=ImageFormat(image_size=pixels.shape[1], channels=3), classes=2)
    steps = len(folds[0].train) // CONFIGURATION.batch_size
    device.adapt(pixels.shape[1])
    engine = Engine(
        CONFIGURATION, protocol, device.images_on_device(pixels), tf.constant(labels, tf.int32), epochs * steps
    )
    context = FitContext(
        epochs=epochs, updates_per_epoch=steps, imbalance=1.0, batchnorm=False, prior_entropy=np.log(2)
    )
    for number, fold in enumerate(folds):
        job = fold_job(CONFIGURATION, protocol, context, fold, number)
        outcome = run_fit(engine, job, labels, Watch(context), metrics.MetricScorer())
        assert outcome.epochs == epochs, "a fit ended early: the comparison would not be fair"


def with_fit(pixels, labels, folds, epochs) -> None:
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": False})  # as without us
    for number, fold in enumerate(folds):
        keras.backend.clear_session()
        gc.collect()
        keras.utils.set_random_seed(number)
        network = build_network(CONFIGURATION, pixels.shape[1], 3, 2, 1)
        model = keras.Sequential([keras.layers.Rescaling(1 / 255), network])
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.Adam(CONFIGURATION.learning_rate), loss, metrics=["accuracy"])
        held_out = (pixels[fold.val], labels[fold.val])
        model.fit(
            pixels[fold.train],
            labels[fold.train],
            batch_size=CONFIGURATION.batch_size,
            epochs=epochs,
            validation_data=held_out,
            verbose=0,
        )
        model.predict(held_out[0], verbose=0)


def bare_steps(pixels, labels, folds, epochs) -> float:
    """Seconds of the same number of warm training epochs and nothing else."""
    protocol = TrainingProtocol(epochs=epochs, images=ImageFormat(image_size=pixels.shape[1], channels=3), classes=2)
    train, batch = folds[0].train, CONFIGURATION.batch_size
    steps = len(train) // batch
    device.adapt(pixels.shape[1])
    engine = Engine(
        CONFIGURATION, protocol, device.images_on_device(pixels), tf.constant(labels, tf.int32), epochs * steps
    )
    engine.begin(0, train, balance([1, 1]))
    rows = train[: steps * batch].reshape(steps, batch).astype(np.int32)
    rates = Schedule.planned(epochs, steps).rates(0)
    engine.train_epoch(rows, rates, 0)
    started = time.perf_counter()
    for epoch in range(epochs * FOLDS):
        engine.train_epoch(rows, rates, epoch)
    return time.perf_counter() - started


def seconds(run, *arguments) -> float:
    started = time.perf_counter()
    run(*arguments)
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=CASES)
    parser.add_argument("--engine-only", action="store_true", help="without `fit`")
    parser.add_argument("--fit-only", action="store_true", help="without the bare loop")
    options = parser.parse_args()
    device.set_up(None, 0)
    print(machine("tensorflow", "keras"))
    print(f"{FOLDS} folds, {options.rounds} rounds, in turn; seconds: median (all)")
    pixels, labels, folds = noise(40, 8)
    for run in (with_engine, with_fit):  # once for nothing: what a process does but once is no trial's
        run(pixels, labels, folds, 1)
    for case, (images, side) in CASES.items():
        if options.only not in (None, case):
            continue
        given = noise(images, side)
        if not options.engine_only:
            compare(case, "compile + fit", options.rounds, given, EPOCHS["fit"], lambda *all_: seconds(with_fit, *all_))
        if not options.fit_only:
            compare(case, "bare warm steps", options.rounds, given, EPOCHS["bare"], bare_steps)


def noise(images, side):
    """Pixels, labels and folds; from noise nothing is learned, so nothing ends a fit early."""
    labels = np.arange(images) % 2
    pixels = np.random.default_rng(0).integers(0, 256, (images, side, side, 3), dtype=np.uint8)
    return pixels, labels, make_folds(labels, folds=FOLDS, seed=0)


def compare(case, name, rounds, given, epochs, other) -> None:
    ours, theirs = [], []
    for _ in range(rounds):
        ours.append(seconds(with_engine, *given, epochs))
        theirs.append(other(*given, epochs))
    ratios = [b / a for a, b in zip(ours, theirs, strict=True)]
    for label, values in ((f"engine, {epochs} epochs", ours), (name, theirs)):
        print(f"{case:>8} {label:<18} {statistics.median(values):7.2f}  ({', '.join(f'{v:.2f}' for v in values)})")
    if name == "compile + fit":
        print(
            f"{case:>8} fit / engine       {statistics.median(ratios):7.2f}  ({', '.join(f'{r:.2f}' for r in ratios)})",
            flush=True,
        )
    else:
        print(f"{case:>8} engine / bare      {1 / statistics.median(ratios):7.2f}", flush=True)


if __name__ == "__main__":
    main()
