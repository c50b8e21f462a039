"""Which metric should a search rank by? Random configurations, all folds, no racing; then halves of the images.

On one half of the images the best configuration is chosen by balanced accuracy, AUC or log-loss skill; its balanced
accuracy on the other half says how good the choice was. Many random halves, groups kept whole. Out-of-fold predictions
are kept as they come, so that the benchmark can be stopped and gone on with.

    python -m benchmarks.guiding_metric --data DIR[:groups.csv] ... --kept FOLDER [--networks 24]
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
import optuna
import sqlalchemy as sa

from search import host, seeds
from search.collapse.protection import Protection
from search.data.folds import make_folds
from search.data.images import ImageSet, load_images
from search.data.strata import strata
from search.events import Silent
from search.records import SEARCH, Fit, Trial, TrialState
from search.selection.metrics import chance
from search.selection.scores import JUDGED, OutOfFold, out_of_fold, score_matrix
from search.settings import Metric, Plan, Protocol
from search.study.fitting import Fitter, Spec, Terms
from search.study.ledger import Ledger
from search.study.plan import auto_epochs
from search.study.pool import Pool, seats
from search.study.worker import Material
from spaces.config import Configuration
from spaces.presets import DEFAULT

GUIDES: Final = ("balanced_accuracy", "auc", "skill")
HALVES: Final = 1000
FOLDS: Final = 5


def predictions(
    data: Path, groups: Path | None, kept: Path, networks: int, side: int
) -> tuple[ImageSet, list[OutOfFold]]:
    """Out-of-fold predictions of random configurations; those that stand in `kept` are not trained again."""
    images = load_images(data, image_size=side, folds=FOLDS, groups=groups, size_cap=side, listener=Silent())
    kept.mkdir(parents=True, exist_ok=True)
    epochs = max(12, auto_epochs(len(images.labels)) // 2)
    folds = make_folds(images.labels, folds=FOLDS, seed=0, groups=images.groups)
    terms = Terms(
        labels=images.labels,
        folds=folds,
        fingerprint=images.summary.fingerprint,
        protocol=Protocol(
            epochs=epochs,
            image_size=side,
            channels=images.summary.channels,
            classes=len(images.summary.classes),
        ),
        plan=Plan(epochs=epochs, folds=FOLDS, search_seconds=None, final_seconds=0.0, fit_seconds=120.0),
        metric="balanced_accuracy",
        chance=chance("balanced_accuracy", images.labels),
        seed=0,
    )
    pool = Pool(seats(kept, host.cores(), ()), lambda: False)
    pool.supply(Material.of(images, cast(Metric, "balanced_accuracy")))
    smallest = min(len(fold.train) for fold in folds)
    found: list[OutOfFold] = []
    number = -1
    try:
        while len(found) < networks:
            number += 1
            file = kept / f"{data.parent.name}-{number:03}.npz"
            if not file.exists():
                started = time.monotonic()
                one = _judged(_configuration(number, smallest, epochs), terms, pool)
                arrays: dict[str, Any] = {} if one is None else {"probabilities": one.probabilities, "folds": one.folds}
                np.savez(file, **arrays)
                print(f"{file.stem}: {time.monotonic() - started:.0f} s{'' if one else ', not judged'}", flush=True)
            with np.load(file) as held:
                if "folds" in held:
                    found.append(OutOfFold(probabilities=held["probabilities"], folds=held["folds"]))
    finally:
        pool.close()
    return images, found


def _configuration(number: int, images: int, epochs: int) -> Configuration:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seeds.child(0, "guide", number)))
    return DEFAULT.bound_to(images, epochs).sample(study.ask())


def _judged(configuration: Configuration, terms: Terms, pool: Pool) -> OutOfFold | None:
    """None where a fold collapses or takes too long: such a configuration is never chosen, whatever guides."""

    def fitted(number: int) -> Fit:
        fold = terms.folds[number]
        spec = Spec(trial=0, stage=SEARCH, configuration=configuration, train=fold.train, val=fold.val, fold=number)
        fitter = Fitter(terms, Ledger(sa.create_engine("sqlite://"), "guide"))
        with pool.worker() as worker:
            return fitter.fit(worker, spec, Protection(calibrating=False))

    with ThreadPoolExecutor(len(pool)) as threads:
        fits = list(threads.map(fitted, range(len(terms.folds))))
    if any(fit.verdict not in JUDGED or fit.verdict.value == "collapsed" for fit in fits):
        return None
    trial = Trial(number=0, state=TrialState.COMPLETE, configuration=configuration, fits=tuple(fits))
    return out_of_fold(trial, terms.labels, terms.metric, len(terms.folds))


def choices(images: ImageSet, found: list[OutOfFold]) -> dict[str, np.ndarray]:
    """Balanced accuracy on the other half of what each guide chooses on one, `(HALVES,)`; `best` knows that half."""
    unit, stratum = strata(images.labels, images.groups)
    rng = np.random.default_rng(0)
    weights = np.zeros((HALVES, len(images.labels)))
    for row in range(HALVES):
        inside = np.zeros(len(stratum), np.bool_)
        for label in np.unique(stratum):
            ours = rng.permutation(np.flatnonzero(stratum == label))
            inside[ours[: len(ours) // 2]] = True
        weights[row] = inside[unit]
    other = score_matrix("balanced_accuracy", images.labels, found, 1 - weights)
    told = {"best": other.max(axis=1), "mean": other.mean(axis=1)}
    for guide in GUIDES:
        chosen = np.nan_to_num(score_matrix(guide, images.labels, found, weights), nan=-9.0).argmax(axis=1)
        told[guide] = other[np.arange(HALVES), chosen]
    return told


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", action="append", required=True, metavar="DIR[:groups.csv]")
    parser.add_argument("--kept", type=Path, required=True)
    parser.add_argument("--networks", type=int, default=24)
    parser.add_argument("--side", type=int, default=32)
    options = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in ("tensorflow", "keras", "optuna", "numpy"))
    print(f"{platform.platform()}, {os.cpu_count()} cores; {versions}")
    for text in options.data:
        folder, _, groups = text.partition(":")
        data = Path(folder).resolve()
        images, found = predictions(
            data, Path(groups) if groups else None, options.kept, options.networks, options.side
        )
        told = choices(images, found)
        print(
            f"{data.parent.name}, {len(images.labels)} images, {len(found)} networks: "
            "balanced accuracy on the other half"
        )
        for name, values in told.items():
            gap = values - told["balanced_accuracy"]
            print(f"  {name:18} {values.mean():.4f}   over balanced accuracy's choice {gap.mean():+.4f}")


if __name__ == "__main__":
    main()
