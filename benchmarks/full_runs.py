"""Whole trainings of the same configurations on many sets, so that whatever shortens a search can be replayed on them.

The first configurations of the product and random ones of its `default` space, each on all folds (or the first few) of
each set, are trained to their end: nothing is raced, no collapse stops a fit, no fit is shortened because its training
loss has nothing left to give. Where that would have happened, the fit is run once more with it, since the weights then
are others. What racing, collapse rules, rungs, portfolios or metrics would have made of them is read off afterwards.

    python -m benchmarks.full_runs run --data DIR[:GROUPS.csv] ... [--digits] --parts FOLDER [--folds 5]
    python -m benchmarks.full_runs pack --parts FOLDER [--out benchmarks/full_runs.npz]

A small file a fit is kept: it can be interrupted and goes on where it was.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import optuna
import sqlalchemy as sa

from benchmarks.collapse_audit import CHECK_FIELDS, check_of, side_by_side
from benchmarks.machine import machine
from search import resources, seeds
from search.collapse.protection import Protection
from search.data.folds import make_folds
from search.data.format_choice import FormatChoice
from search.data.images import ImageSet, load_images
from search.data.scanned_folder import scan_folder
from search.events import SilentListener
from search.fit_checks import Check
from search.fits.runner import FitRunner, StudySetup
from search.records import SEARCH, Fit, FitOutcome, Verdict
from search.schedule.plan import MIN_EPOCHS, auto_epochs
from search.selection.metrics import chance
from search.settings import Plan, TrainingProtocol
from search.storage.ledger import Ledger
from search.training.job import FitJob, FitSpec
from search.workers.protocol import TrainingData, WorkerResources
from spaces.config import Configuration
from spaces.presets import DEFAULT, KNOWN_GOOD

PACKED: Final = Path(__file__).with_suffix(".npz")
FOLDS: Final = 5
FIRST: Final = (1, 4, 0, 3, 7, 5, 2, 6)
"""The product's first configurations, in its order, by their numbers in the runs."""

_LONGEST: Final = 120.0  # seconds of a fit; what would take more is too slow here and everywhere


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """One fit that ran to its end."""

    data: str
    number: int  # of the configuration, the same on all sets
    fold: int
    configuration: Configuration
    verdict: str  # too slow ones were stopped, not finite ones ended
    epochs: int
    planned: int
    seconds: float
    score: float  # chance where there is none
    skill: float
    caught: tuple[str, int] | None  # reason and epoch of the collapse rule that would have stopped it first
    checks: tuple[Check, ...]
    probabilities: npt.NDArray[np.float32]  # (validation images, K)
    rows: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int64]  # of the rows
    groups: npt.NDArray[np.int64]  # of the rows; each its own where the set has none
    shortened: Run | None = None  # the same fit, ended early by its training loss


def configurations(random: int) -> list[Configuration]:
    """The product's own first ones, then random ones, the same whenever and wherever."""
    drawn = []
    for number in range(random):
        sampler = optuna.samplers.RandomSampler(seed=seeds.child(0, "full", number))
        drawn.append(DEFAULT.sample(optuna.create_study(sampler=sampler).ask()))
    return [*(KNOWN_GOOD[FIRST.index(number)] for number in range(len(FIRST))), *drawn]


def terms_of(images: ImageSet) -> StudySetup:
    """As a search with little time has them: half the epochs."""
    summary = images.summary
    epochs = max(MIN_EPOCHS, auto_epochs(summary.images) // 2)
    return StudySetup(
        labels=images.labels,
        folds=make_folds(images.labels, folds=FOLDS, seed=0, groups=images.groups),
        fingerprint=summary.fingerprint,
        protocol=TrainingProtocol(
            epochs=epochs,
            images=images.format,
            classes=len(summary.classes),
        ),
        plan=Plan(epochs=epochs, folds=FOLDS, search_seconds=None, final_seconds=0.0, fit_seconds=_LONGEST),
        metric="balanced_accuracy",
        chance=chance("balanced_accuracy", images.labels),
        seed=0,
    )


class _Here:
    """Stands for a worker: trains in this process, stops nothing, and notes where a fit would have been shortened."""

    def __init__(self, images: ImageSet, log: Path) -> None:
        fit: Any = importlib.import_module("search.training.fit")  # where the rule is replaced by one that notes
        from search.workers.job_runner import JobRunner

        self._fit = fit
        self._ends_early = fit.is_saturated
        resources = WorkerResources(threads=1, gpu=None, log=log)
        self._runner = JobRunner(resources, lambda message: None, lambda: None)
        self._runner.set_data(TrainingData.of(images, "balanced_accuracy"))
        self.groups = np.arange(len(images.labels)) if images.groups is None else images.groups
        self.shorten = False
        self.would_shorten = False

    def run(self, job: FitJob, on_check: object = None, *, alone: bool = False) -> FitOutcome:
        self.would_shorten = False

        def is_saturated(skills: list[float]) -> bool:
            found = self._ends_early(skills)
            self.would_shorten |= found
            return found and self.shorten

        self._fit.is_saturated = is_saturated
        outcome = self._runner.run(replace(job, audited=True))
        if not isinstance(outcome, FitOutcome):
            raise RuntimeError(str(outcome))
        return outcome


def run_part(sets: Sequence[tuple[str, ImageSet]], parts: Path, random: int, folds: int, part: int, of: int) -> None:
    """Every `of`-th configuration of each set, from `part` on."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    here: dict[str, _Here] = {}
    for number, configuration in list(enumerate(configurations(random)))[part::of]:
        for name, images in sets:
            terms = terms_of(images)
            smallest = min(len(fold.train) for fold in terms.folds)
            fitting = DEFAULT.bound_to(smallest, terms.protocol.epochs).nearest(configuration)
            if fitting is None:
                continue
            if name not in here:
                here[name] = _Here(images, parts / "worker.log")
            for fold in range(folds):
                target = parts / f"{name}-{number:03}-{fold}.npz"
                if not target.exists():
                    began = time.monotonic()
                    run = _trained(name, number, fold, fitting, terms, here[name])
                    _save(target, run)
                    early = (
                        ""
                        if run.shortened is None
                        else f", {run.shortened.epochs} epochs alone give {run.shortened.score:.3f}"
                    )
                    print(
                        f"{target.stem}: {time.monotonic() - began:.1f} s, {run.verdict} {run.score:.3f}{early}",
                        flush=True,
                    )


def _trained(name: str, number: int, fold: int, configuration: Configuration, terms: StudySetup, here: _Here) -> Run:
    split = terms.folds[fold]
    spec = FitSpec(trial=0, stage=SEARCH, configuration=configuration, train=split.train, val=split.val, fold=fold)

    def once(shorten: bool) -> Run:
        here.shorten = shorten
        fitter = FitRunner(terms, Ledger(sa.create_engine("sqlite://"), "full"))
        fit = fitter.train(here, spec, Protection(calibrating=False))
        return _run(name, number, configuration, fit, terms, here.groups)

    whole = once(shorten=False)
    return replace(whole, shortened=once(shorten=True)) if here.would_shorten else whole


def _run(
    name: str, number: int, configuration: Configuration, fit: Fit, terms: StudySetup, groups: npt.NDArray[np.int64]
) -> Run:
    measured = fit.verdict is Verdict.LEARNED and fit.score is not None
    caught = None if fit.audit is None else (fit.audit.reason, fit.audit.epoch)
    if fit.verdict is Verdict.COLLAPSED and fit.reason == "non-finite":
        caught = (fit.reason, fit.epochs)
    return Run(
        data=name,
        number=number,
        fold=fit.fold,
        configuration=configuration,
        verdict=fit.verdict.value,
        epochs=fit.epochs,
        planned=fit.epochs_planned,
        seconds=fit.seconds,
        score=float(fit.score) if measured and fit.score is not None else terms.chance,
        skill=float(fit.skill) if fit.skill is not None else float("nan"),
        caught=caught,
        checks=tuple(fit.checks),
        probabilities=fit.probabilities,
        rows=fit.rows,
        labels=terms.labels[fit.rows],
        groups=groups[fit.rows],
    )


def _save(target: Path, run: Run) -> None:
    known, arrays = _flat(run)
    if run.shortened is not None:
        known["shortened"], early = _flat(run.shortened)
        arrays |= {f"early_{name}": values for name, values in early.items()}
    partial = target.with_suffix(".part")
    with partial.open("wb") as stream:
        np.savez_compressed(stream, known=np.frombuffer(json.dumps(known).encode(), np.uint8), **arrays)
    partial.replace(target)


def _flat(run: Run) -> tuple[dict[str, Any], dict[str, npt.NDArray[Any]]]:
    known = {
        "data": run.data,
        "number": run.number,
        "fold": run.fold,
        "configuration": run.configuration.as_dict(),
        "verdict": run.verdict,
        "epochs": run.epochs,
        "planned": run.planned,
        "seconds": round(run.seconds, 2),
        "score": run.score,
        "skill": run.skill,
        "caught": run.caught,
    }
    arrays: dict[str, npt.NDArray[Any]] = {
        "checks": np.array([astuple(check) for check in run.checks], np.float32).reshape(-1, len(CHECK_FIELDS)),
        "probabilities": run.probabilities.astype(np.float16),
        **{name: getattr(run, name).astype(np.int32) for name in ("rows", "labels", "groups")},
    }
    known["shapes"] = {name: values.shape for name, values in arrays.items()}
    return known, arrays


def pack(parts: Path, out: Path) -> int:
    """Join the parts into one file; returns how many fits it holds."""
    known: list[dict[str, Any]] = []
    joined: dict[str, list[npt.NDArray[Any]]] = {}
    for path in sorted(parts.glob("*-*-*.npz")):
        with np.load(path, allow_pickle=False) as part:
            known.append(json.loads(part["known"].tobytes()))
            for name in part.files:
                if name != "known":
                    joined.setdefault(name, []).append(part[name].ravel())
    text = np.frombuffer(json.dumps(known).encode(), np.uint8)
    np.savez_compressed(out, known=text, **{name: np.concatenate(values) for name, values in joined.items()})
    return len(known)


def load(path: Path = PACKED) -> list[Run]:
    """The fits of a packed file."""
    with np.load(path, allow_pickle=False) as held:
        known, arrays = json.loads(held["known"].tobytes()), {name: held[name] for name in held.files}
    at = dict.fromkeys(arrays, 0)

    def taken(name: str, shape: Sequence[int]) -> npt.NDArray[Any]:
        size = int(np.prod(shape))
        values = arrays[name][at[name] : at[name] + size].reshape(shape)
        at[name] += size
        return values

    def read(one: dict[str, Any], prefix: str) -> Run:
        plain = ("data", "number", "fold", "verdict", "epochs", "planned", "seconds", "score", "skill")
        found = {name: taken(prefix + name, shape) for name, shape in one["shapes"].items()}
        return Run(
            **{name: one[name] for name in plain},
            configuration=Configuration(**one["configuration"]),
            caught=None if one["caught"] is None else tuple(one["caught"]),
            checks=tuple(check_of(row) for row in found["checks"]),
            probabilities=found["probabilities"].astype(np.float32),
            **{name: found[name].astype(np.int64) for name in ("rows", "labels", "groups")},
            shortened=read(one["shortened"], "early_") if "shortened" in one else None,
        )

    return [read(one, "") for one in known]


def image_sets(data: Sequence[str], side: int, *, digits: bool) -> list[tuple[str, ImageSet]]:
    """The folders' images, named by them, and scikit-learn's digits."""
    sets = []
    for text in data:
        folder, _, groups = text.partition(":")
        sets.append((Path(folder).parent.name, _loaded(Path(folder), Path(groups) if groups else None, side)))
    if digits:
        from benchmarks.digits import write_digits

        with tempfile.TemporaryDirectory() as place:
            write_digits(Path(place) / "digits")
            sets.append(("digits", _loaded(Path(place) / "digits", None, 16)))
    return sets


def _loaded(folder: Path, groups: Path | None, side: int) -> ImageSet:
    scanned = scan_folder(folder, SilentListener(), groups=groups)
    return load_images(scanned, FormatChoice(image_size=side, size_cap=side), SilentListener(), folds=FOLDS)


def run(sets: Sequence[tuple[str, ImageSet]], parts: Path, random: int, folds: int) -> None:
    parts.mkdir(parents=True, exist_ok=True)
    workers = resources.cores()
    side_by_side(run_part, [(sets, parts, random, folds, part, workers) for part in range(workers)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    runner = commands.add_parser("run", help="train, keep what came of it")
    runner.add_argument("--data", action="append", default=[], metavar="DIR[:GROUPS.csv]")
    runner.add_argument("--digits", action="store_true", help="scikit-learn's too")
    runner.add_argument("--parts", type=Path, required=True)
    runner.add_argument("--random", type=int, default=40, help="configurations drawn at random")
    runner.add_argument("--folds", type=int, default=FOLDS, help="of five, the first so many")
    runner.add_argument("--image-size", type=int, default=32)
    packer = commands.add_parser("pack", help="join into one file")
    packer.add_argument("--parts", type=Path, required=True)
    packer.add_argument("--out", type=Path, default=PACKED)
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    print(machine("tensorflow", "keras", "optuna", "numpy"), flush=True)
    if options.command == "run":
        sets = image_sets(options.data, options.image_size, digits=options.digits)
        run(sets, options.parts, options.random, options.folds)
    else:
        print(f"{pack(options.parts, options.out)} fits, {options.out.stat().st_size:,} bytes in {options.out}")


if __name__ == "__main__":
    main()
