"""Random configurations trained to their end, so that collapse rules can be judged by what they would have stopped.

    python -m benchmarks.collapse_audit run --data FOLDER[:GROUPS.csv] [--data ...] --parts DIR
                                          [--fits 200] [--half tune|report]
    python -m benchmarks.collapse_audit pack --parts DIR [--out benchmarks/collapse_audit.npz]
    python -m benchmarks.collapse_audit table [--signals benchmarks/collapse_audit.npz] [--half tune|report]

`run` draws configurations of the `default` space, trains each on one of five folds without stopping anything, and
keeps a small file a fit: it can be interrupted and goes on where it was. `pack` joins them into one compact file;
`table` replays rules over it. Even-numbered fits are for tuning, odd-numbered ones for reporting.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import os
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from benchmarks.fold_job import fold_job
from search import seeds
from search.collapse.rules import FitContext
from search.data.folds import make_folds
from search.data.format_choice import FormatChoice
from search.data.images import ImageSet, load_images
from search.data.scanned_folder import scan_folder
from search.events import SilentListener
from search.fit_checks import LAYER_SIGNALS, Check, Collapse
from search.schedule.plan import MAX_EPOCHS, SHOWN_IMAGES
from search.selection import metrics
from search.settings import TrainingProtocol
from search.training.sampling import balance_of
from spaces.config import Configuration
from spaces.presets import DEFAULT

SIGNALS: Final = Path(__file__).with_suffix(".npz")
FOLDS: Final = 5
_SHOWN: Final = SHOWN_IMAGES // 2  # the fewest that a plan short of time gives a fit: the hardest case for early rules
_LEAST_EPOCHS: Final = 24
CHECK_FIELDS: Final = tuple(field.name for field in fields(Check))
_ARRAYS: Final = ("checks", "fair", "layers", "shares")
_HALVES: Final = {"tune": (0, 2), "report": (1, 2), "both": (0, 1)}  # first number and step of its fits
_SUSPICIOUS: Final = 0.05  # validation skill below which BatchNorm's fair statistics are measured as well
_KEPT_BITS: Final = 0xFFFFE000  # of a float32: three significant digits compress to half the bytes


@dataclass(frozen=True, kw_only=True)
class Audited:
    """One fit that ran to its end."""

    data: str  # name of the image set
    number: int
    configuration: Configuration
    context: FitContext
    classes: int
    start: dict[str, float]
    checks: tuple[Check, ...]  # as the watch first sees them
    fair: tuple[Check | None, ...]  # with BatchNorm's statistics re-estimated, where that was done; the last always
    layers: npt.NDArray[np.float32]  # (1 + checks, layers, signals)
    shares: npt.NDArray[np.float32]  # (checks, K)
    seconds: float


class _Witness:
    """A watch that stops nothing but what is not finite; asks for fair BatchNorm statistics wherever a rule might."""

    passed = None

    def __init__(self, batchnorm: bool) -> None:
        self.batchnorm = batchnorm
        self.checks: list[Check] = []
        self.fair: list[Check | None] = []

    def on_check(self, check: Check) -> Collapse | None:
        if self.checks and self.checks[-1].epoch == check.epoch:
            self.fair[-1] = check
            return None
        self.checks.append(check)
        self.fair.append(None)
        if not check.finite:  # no weight comes back from there: the rest of the fit would tell nothing
            return Collapse(reason="non-finite", hard=True, epoch=check.epoch, evidence={})
        doubt = self.batchnorm and check.val_skill < _SUSPICIOUS
        return Collapse(reason="doubt", hard=False, epoch=check.epoch, evidence={}) if doubt else None

    def final(self, check: Check, probabilities: Any, train_auc: float = math.nan) -> Collapse | None:
        return None


def configuration_of(data: str, number: int, images: int, epochs: int) -> Configuration:
    """Drawn at random, the same whenever and wherever."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seeds.child(0, "audit", data, number)))
    return DEFAULT.bound_to(images, epochs).sample(study.ask())


def run_part(
    sets: list[tuple[str, Path, Path | None]], parts: Path, numbers: range, side: int, part: int, of: int
) -> None:
    """Every `of`-th fit, from `part` on, the sets in turn; what is packed already is not trained again."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from search.training import device

    device.set_up(1, None)
    loaded: dict[str, Any] = {}
    packed = {(known["data"], known["number"]) for known, _ in _unpacked(SIGNALS)}
    places = [(number, one) for number in numbers for one in sets if (one[0], number) not in packed]
    for number, (name, folder, groups) in places[part::of]:
        target = parts / f"{name}-{number:04d}.npz"
        if target.exists():
            continue
        if name not in loaded:
            loaded[name] = _load(folder, groups, side)
        began = time.monotonic()
        try:
            audited = _train(name, number, loaded[name])
        except Exception as error:  # one configuration must not cost the night: it is named and left out
            print(f"{name} {number}: {type(error).__name__}: {error}", flush=True)
            continue
        _save(target, audited)
        last = audited.fair[-1] or audited.checks[-1]
        print(
            f"{name} {number}: {time.monotonic() - began:.1f} s, {last.score:.3f}, skill {last.val_skill:.3f}",
            flush=True,
        )


def _train(name: str, number: int, images: Any) -> Audited:
    from search.training import device
    from search.training.engine import Engine
    from search.training.fit import run_fit

    class Restoring(Engine):
        """Puts BatchNorm's moving statistics back, so that looking at fair ones leaves no trace."""

        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            self.kept: list[Any] = []

        def reestimate_batchnorm(self, rows: Any) -> float:
            moving = [v for layer in self.chain.gathering for v in (layer.moving_mean, layer.moving_variance)]
            self.kept = [(variable, variable.numpy()) for variable in moving]
            return super().reestimate_batchnorm(rows)

        def train_epoch(self, *arguments: Any, **options: Any) -> Any:
            for variable, value in self.kept:
                variable.assign(value)
            self.kept = []
            return super().train_epoch(*arguments, **options)

    summary, labels = images.summary, images.labels
    epochs = max(_LEAST_EPOCHS, min(MAX_EPOCHS, round(_SHOWN / summary.images)))
    classes = len(summary.classes)
    protocol = TrainingProtocol(epochs=epochs, images=images.format, classes=classes)
    fold = make_folds(labels, folds=FOLDS, seed=0, groups=images.groups)[number % FOLDS]
    configuration = configuration_of(name, number, len(fold.train), epochs)
    steps = len(fold.train) // configuration.batch_size
    counts = np.bincount(labels[fold.train], minlength=classes)
    context = FitContext(
        epochs=epochs,
        updates_per_epoch=steps,
        imbalance=float(counts.max() / counts.min()),
        batchnorm=configuration.normalization == "batch",
        prior_entropy=balance_of(counts, configuration).entropy,
    )
    pixels, known = device.load_pixels(images.path, None), device.tensor(labels.astype(np.int32))
    engine = Restoring(configuration, protocol, pixels, known, epochs * steps)
    seed = seeds.child(0, "audit", configuration.hash)
    job = fold_job(configuration, protocol, context, fold, seed)
    witness = _Witness(context.batchnorm)
    outcome = run_fit(engine, job, labels, witness, metrics.MetricScorer())
    return Audited(
        data=name,
        number=number,
        configuration=configuration,
        context=context,
        classes=classes,
        start=dict(outcome.start),
        checks=tuple(witness.checks),
        fair=tuple(witness.fair),
        layers=outcome.layers,
        shares=outcome.shares,
        seconds=outcome.seconds,
    )


def _save(target: Path, audited: Audited) -> None:
    known = {
        "data": audited.data,
        "number": audited.number,
        "configuration": audited.configuration.as_dict(),
        "classes": audited.classes,
        "epochs": audited.context.epochs,
        "updates_per_epoch": audited.context.updates_per_epoch,
        "imbalance": audited.context.imbalance,
        "batchnorm": audited.context.batchnorm,
        "prior_entropy": audited.context.prior_entropy,
        "start": audited.start,
        "seconds": round(audited.seconds, 2),
    }
    empty = (np.nan,) * len(CHECK_FIELDS)  # columns are the fields of `Check`, in order: new ones come last
    partial = target.with_suffix(".part")
    with partial.open("wb") as stream:
        np.savez_compressed(
            stream,
            known=np.frombuffer(json.dumps(known).encode(), np.uint8),
            checks=np.array([astuple(check) for check in audited.checks], np.float32),
            fair=np.array([astuple(check) if check else empty for check in audited.fair], np.float32),
            layers=audited.layers,
            shares=audited.shares,
        )
    partial.replace(target)


def pack(parts: Path, out: Path) -> int:
    """Join the parts, and what `out` holds already, into one file; returns how many fits it holds."""
    found = {(known["data"], known["number"]): (known, arrays) for known, arrays in _unpacked(out)}
    for path in sorted(parts.glob("*-*.npz")):
        with np.load(path, allow_pickle=False) as part:
            known = json.loads(part["known"].tobytes())
            known["shape"] = [*part["layers"].shape[:2], part["shares"].shape[1], part["checks"].shape[1]]
            found[known["data"], known["number"]] = (known, {name: part[name].ravel() for name in _ARRAYS})
    ordered = [found[place] for place in sorted(found)]
    joined = {name: _shortened(np.concatenate([arrays[name] for _, arrays in ordered])) for name in _ARRAYS}
    text = json.dumps([known for known, _ in ordered]).encode()
    np.savez_compressed(out, known=np.frombuffer(text, np.uint8), **joined)
    return len(ordered)


def _unpacked(path: Path) -> list[tuple[dict[str, Any], dict[str, npt.NDArray[np.float32]]]]:
    """What is known of each fit of a packed file, and its arrays, flat."""
    if not path.exists():
        return []
    with np.load(path, allow_pickle=False) as held:
        known = json.loads(held["known"].tobytes())
        arrays = {name: held[name] for name in _ARRAYS}
    at = dict.fromkeys(_ARRAYS, 0)
    found = []
    for one in known:
        taken = {}
        for name, shape in _shapes(one).items():
            size = int(np.prod(shape))
            taken[name] = arrays[name][at[name] : at[name] + size]
            at[name] += size
        found.append((one, taken))
    return found


def _shapes(known: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    rows, layers, classes, columns = known["shape"]
    return {
        "checks": (rows - 1, columns),
        "fair": (rows - 1, columns),
        "layers": (rows, layers, len(LAYER_SIGNALS)),
        "shares": (rows - 1, classes),
    }


def _shortened(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Rounded to eleven bits of mantissa; what is not finite stays what it is."""
    bits = values.astype(np.float32).view(np.uint32)
    rounded = ((bits + np.uint32(0x1000)) & np.uint32(_KEPT_BITS)).view(np.float32)
    return np.where(np.isfinite(values), rounded, values).astype(np.float32)


def load(path: Path) -> list[Audited]:
    """The fits of a packed file."""
    fits = []
    for one, arrays in _unpacked(path):
        taken = {name: arrays[name].reshape(shape) for name, shape in _shapes(one).items()}
        fits.append(
            Audited(
                data=one["data"],
                number=one["number"],
                configuration=Configuration(**one["configuration"]),
                context=FitContext(
                    epochs=one["epochs"],
                    updates_per_epoch=one["updates_per_epoch"],
                    imbalance=one["imbalance"],
                    batchnorm=one["batchnorm"],
                    prior_entropy=one["prior_entropy"],
                ),
                classes=one["classes"],
                start=one["start"],
                checks=tuple(check_of(row) for row in taken["checks"]),
                fair=tuple(None if np.isnan(row[0]) else check_of(row) for row in taken["fair"]),
                layers=taken["layers"],
                shares=taken["shares"],
                seconds=one["seconds"],
            )
        )
    return fits


def check_of(row: npt.NDArray[np.float32]) -> Check:
    """A check from its row of a kept table; columns that the table does not have yet are left out."""
    values: dict[str, Any] = {name: float(value) for name, value in zip(CHECK_FIELDS, row, strict=False)}
    return Check(**values | {"epoch": int(row[0]), "updates": int(row[1]), "finite": bool(values["finite"])})


def run(data: list[str], parts: Path, numbers: range, side: int, workers: int) -> None:
    parts.mkdir(parents=True, exist_ok=True)
    sets = []
    for text in data:
        folder, _, groups = text.partition(":")
        sets.append((Path(folder).parent.name, Path(folder), Path(groups) if groups else None))
    for _, folder, groups in sets:  # decoded once, not by each process
        _load(folder, groups, side)
    side_by_side(run_part, [(sets, parts, numbers, side, part, workers) for part in range(workers)])


def _load(folder: Path, groups: Path | None, side: int) -> ImageSet:
    scanned = scan_folder(folder, SilentListener(), groups=groups)
    return load_images(scanned, FormatChoice(image_size=side, size_cap=64), SilentListener(), folds=FOLDS)


def side_by_side(work: Callable[..., None], arguments: Sequence[tuple[Any, ...]]) -> None:
    """Do the work in fresh processes at once, one for each tuple of arguments."""
    spawn = multiprocessing.get_context("spawn")
    processes = [spawn.Process(target=work, args=each) for each in arguments]
    for process in processes:
        process.start()
    for process in processes:
        process.join()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    runner = commands.add_parser("run", help="train, keep the signals")
    runner.add_argument("--data", action="append", required=True)
    runner.add_argument("--parts", type=Path, required=True)
    runner.add_argument("--fits", type=int, default=200, help="a set; their numbers go from 0 to one less")
    runner.add_argument("--half", choices=tuple(_HALVES), default="both")
    runner.add_argument("--image-size", type=int, default=32)
    runner.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    packer = commands.add_parser("pack", help="join into one file")
    packer.add_argument("--parts", type=Path, required=True)
    packer.add_argument("--out", type=Path, default=SIGNALS)
    tabler = commands.add_parser("table", help="replay rules over the signals")
    tabler.add_argument("--signals", type=Path, default=SIGNALS)
    tabler.add_argument("--half", choices=tuple(_HALVES), default="report")
    options = parser.parse_args()
    print(f"# {platform.machine()}, {os.cpu_count()} cores", flush=True)
    match options.command:
        case "run":
            first, step = _HALVES[options.half]
            run(options.data, options.parts, range(first, options.fits, step), options.image_size, options.workers)
        case "pack":
            print(f"{pack(options.parts, options.out)} fits, {options.out.stat().st_size:,} bytes in {options.out}")
        case "table":
            from benchmarks.collapse_table import table

            table(load(options.signals), options.half)


if __name__ == "__main__":
    main()
