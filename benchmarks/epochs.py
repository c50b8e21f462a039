"""How many images a fit has to be shown: cross-validated score against C in `epochs = clip(C / images, 12, 200)`.

    python benchmarks/epochs.py --data FOLDER [--data FOLDER ...] [--image-size 32] [--out epochs.csv]

Prints a row for each folder, C and known-good configuration; fits that are in the CSV are not run again.
"""

from __future__ import annotations

import argparse
import csv
import platform
from pathlib import Path

import numpy as np

from benchmarks.fold_job import fold_job
from search import seeds
from search.collapse.rules import FitContext
from search.collapse.watch import Watch
from search.data.folds import make_folds
from search.data.format_choice import FormatChoice
from search.data.images import load_images
from search.data.scanned_folder import scan_folder
from search.events import SilentListener
from search.schedule.plan import MAX_EPOCHS, MIN_EPOCHS
from search.selection import metrics
from search.settings import TrainingProtocol
from spaces.presets import DEFAULT, known_good

SHOWN = (3_000, 8_000, 24_000)
CONFIGURATIONS = (0, 1, 3)
FOLDS_RUN = 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, action="append", required=True)
    parser.add_argument("--image-size", type=int, default=32)
    parser.add_argument("--out", type=Path, default=Path("epochs.csv"))
    options = parser.parse_args()

    import tensorflow as tf

    from search.training import device
    from search.training.engine import Engine
    from search.training.fit import run_fit

    device.set_up(None, None)
    print(f"# {platform.processor() or platform.machine()}, TensorFlow {tf.__version__}", flush=True)
    done = set()
    if options.out.exists():
        with options.out.open() as stream:
            done = {tuple(row[:4]) for row in csv.reader(stream)}
    for shown in SHOWN:
        for folder in options.data:
            images = load_images(
                scan_folder(folder, SilentListener()),
                FormatChoice(image_size=options.image_size, size_cap=64),
                SilentListener(),
                folds=5,
            )
            pixels = device.load_pixels(images.path, None)
            labels = device.tensor(images.labels.astype(np.int32))
            summary = images.summary
            epochs = max(MIN_EPOCHS, min(MAX_EPOCHS, round(shown / summary.images)))
            protocol = TrainingProtocol(
                epochs=epochs,
                images=images.format,
                classes=len(summary.classes),
            )
            folds = make_folds(images.labels, folds=5, seed=0)
            space = DEFAULT.bound_to(len(folds[0].train), epochs)
            for number in CONFIGURATIONS:
                configuration = known_good(space)[number]
                engine = None
                for fold in range(FOLDS_RUN):
                    key = (folder.parent.name, str(shown), str(number), str(fold))
                    if key in done:
                        continue
                    split = folds[fold]
                    steps = len(split.train) // configuration.batch_size
                    engine = engine or Engine(configuration, protocol, pixels, labels, epochs * steps)
                    context = FitContext(
                        epochs=epochs,
                        updates_per_epoch=steps,
                        imbalance=1.0,
                        batchnorm=configuration.normalization == "batch",
                        prior_entropy=float(np.log(protocol.classes)),
                    )
                    job = fold_job(configuration, protocol, context, split, seeds.child(0, configuration.hash, fold))
                    outcome = run_fit(engine, job, images.labels, Watch(context), metrics.MetricScorer())
                    row = [*key, epochs, outcome.verdict.value, outcome.score, outcome.skill, round(outcome.seconds, 2)]
                    with options.out.open("a") as stream:
                        csv.writer(stream).writerow(row)
                    print(*row, flush=True)


if __name__ == "__main__":
    main()
