"""What the layers' signals cost: a fit with them against one that only trains and validates, in turn, in one process.

    python -m benchmarks.signal_overhead [--rounds 3] [--epochs 60]

Both build and trace their network anew each round, so that the signals' part of the trace is counted. Processor time
is given beside the clock's, as it says more on a busy machine; ratios are what counts.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from dataclasses import replace
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf

from benchmarks.fold_job import fold_job
from benchmarks.machine import machine
from search.collapse.rules import FitContext
from search.collapse.watch import Watch
from search.data.folds import make_folds
from search.fit_checks import LAYER_SIGNALS
from search.selection import metrics
from search.settings import TrainingProtocol
from search.training import device
from search.training.engine import Engine
from search.training.epoch import EpochSums, LayerProbe
from search.training.fit import run_fit
from spaces.config import Configuration
from spaces.image_format import ImageFormat

CASES = {"160x32": (160, 32, "none"), "160x32, BatchNorm": (160, 32, "batch"), "400x64": (400, 64, "none")}


class Silent(Engine):
    """Trains and validates; its layers tell nothing. What it doesn't measure is not even traced."""

    def train_epoch(self, rows: Any, rates: Any, seed: int, probe: Any = None, *, gradients: bool = False) -> EpochSums:
        if not len(rows):
            return EpochSums(0.0, 0.0, 0.0, 0.0, True, self._nothing())
        sums = super().train_epoch(rows, rates, seed)
        return replace(sums, probe=self._nothing())

    def _nothing(self) -> LayerProbe:
        layers = np.zeros((len(self.chain.weighted), len(LAYER_SIGNALS)), np.float32)
        return LayerProbe(layers, np.zeros((32, self.protocol.classes), np.float32))

    def _probe(self, rows: Any) -> Any:
        return tf.zeros([len(self.chain.weighted), 3]), tf.zeros([0, self.protocol.classes])


def fit(kind: type[Engine], pixels: Any, labels: Any, epochs: int, normalization: str) -> tuple[float, float]:
    """Clock and processor seconds of five fits on one network, its building included."""
    configuration = Configuration(
        depth=4,
        dense_ratio=0.25,
        initializer="he_normal",
        dropout=0.2,
        class_weighting="none",
        oversampling="none",
        batch_size=16,
        learning_rate=1e-3,
        head="average",
        normalization=normalization,
    )
    folds = make_folds(labels, folds=5, seed=0)
    protocol = TrainingProtocol(epochs=epochs, images=ImageFormat(image_size=pixels.shape[1], channels=3), classes=2)
    steps = len(folds[0].train) // configuration.batch_size
    context = FitContext(
        epochs=epochs,
        updates_per_epoch=steps,
        imbalance=1.0,
        batchnorm=normalization == "batch",
        prior_entropy=np.log(2),
    )
    clock, processor = time.perf_counter(), time.process_time()
    device.adapt(pixels.shape[1])
    engine = kind(
        configuration, protocol, device.images_on_device(pixels), tf.constant(labels, tf.int32), epochs * steps
    )
    for fold in folds:
        job = fold_job(configuration, protocol, context, fold, 0)
        assert run_fit(engine, job, labels, Watch(context), metrics.MetricScorer()).epochs == epochs, (
            "a fit ended early"
        )
    return time.perf_counter() - clock, time.process_time() - processor


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=60)
    options = parser.parse_args()
    device.set_up(None, 0)
    print(machine("tensorflow", "keras"))
    for case, (images, side, normalization) in CASES.items():
        rng = np.random.default_rng(0)
        labels = np.arange(images) % 2
        pixels = rng.integers(0, 256, (images, side, side, 3), dtype=np.uint8)
        clock, processor = [], []
        for _ in range(options.rounds):
            without = fit(Silent, pixels, labels, options.epochs, normalization)
            with_signals = fit(Engine, pixels, labels, options.epochs, normalization)
            clock.append(with_signals[0] / without[0])
            processor.append(with_signals[1] / without[1])
        shown = ", ".join(f"{ratio:.3f}" for ratio in processor)
        print(
            f"{case:<18} with / without: clock {statistics.median(clock):.3f}, "
            f"processor {statistics.median(processor):.3f} ({shown})",
            flush=True,
        )


if __name__ == "__main__":
    main()
