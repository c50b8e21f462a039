"""Does the promise come true on real images? Whole searches on small samples, then fresh retrainings on the rest.

Each run samples a training set of 100 to 300 images out of a folder's images, groups kept whole; the rest, at least 200
images, is the test set. A search with a short budget makes its promise. Its target is the mean test score of five
retrainings of the recommended configuration with fresh seeds; the naive winner (best mean of the search) is retrained
as often. For the comparison the interval is widened by the test set's own standard error. Runs are kept one by one in a
file of JSON lines, so that the benchmark can be stopped and gone on with at any time.

    python -m benchmarks.promise run --data DIR[:groups.csv] ... --seeds 8 --seconds 120 --kept runs.jsonl
    python -m benchmarks.promise table --kept runs.jsonl
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any, cast

import numpy as np
import sqlalchemy as sa

from search import seeds
from search.collapse.protection import Protection
from search.data.groups import number_groups, read_groups
from search.data.images import ImageSet, load_images
from search.data.scan import scan
from search.data.strata import strata
from search.events import Silent
from search.records import FINAL, Verdict
from search.selection import metrics
from search.selection.analyse import analyse
from search.selection.offset import offset_probabilities
from search.selection.results import Ranked, Results
from search.settings import Metric
from search.study.fitting import Fitter, Spec, Terms
from search.study.ledger import Ledger
from search.study.pool import Pool, setups
from search.study.reading import open_study

LEAST_TEST, MOST_TEST = 200, 800
RETRAININGS = 5
_HERE = Path(__file__).parents[1]


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """One search and what became of its promise."""

    data: str
    seed: int
    images: int
    tested: int
    classes: int
    groups: bool
    seconds: float
    trials: int
    finalists: int
    stages: int
    promise: float
    low: float
    high: float
    offset: bool
    same: bool  # the recommended one is the naive winner
    naive: float  # the best mean of the search
    naive_se: float
    scores: tuple[float, ...]  # of the recommended one, retrained
    naive_scores: tuple[float, ...]
    lost: int  # retrainings of the recommended one that collapsed or predicted one class
    naive_lost: int
    test_se: float


class NoPromise(Exception):
    """The search found nothing to promise."""


def sample(data: Path, table: Path | None, seed: int, into: Path) -> tuple[Path, Path, Path | None, int]:
    """Links to a training set and a test set; also the groups of the training set."""
    found = scan(data, classes=None, on_progress=lambda *told: None)
    files, labels = np.array(found.files), found.labels
    groups = None if table is None else number_groups(read_groups(table, folder=data, files=found.files), files, table)
    unit, stratum = strata(labels, groups)
    rng = seeds.generator(seed, "sample", data.parent.name)
    wanted = int(rng.integers(100, 301))
    share = min(wanted / len(files), 1 - LEAST_TEST / len(files))
    chosen = np.zeros(len(stratum), np.bool_)
    for label in np.unique(stratum):
        ours = rng.permutation(np.flatnonzero(stratum == label))
        chosen[ours[: max(5 if groups is None else 3, round(share * len(ours)))]] = True
    in_train = chosen[unit]
    rest = np.flatnonzero(~in_train)
    tested = np.sort(rng.permutation(rest)[:MOST_TEST])
    for name, rows in (("train", np.flatnonzero(in_train)), ("test", tested)):
        for row in rows:
            link = into / name / files[row]
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(data / files[row])
    rows_csv = None
    if groups is not None:
        rows_csv = into / "groups.csv"
        lines = [f"train/{files[row]},{groups[row]}" for row in np.flatnonzero(in_train)]
        rows_csv.write_text("\n".join(["file,group", *lines]) + "\n")
    return into / "train", into / "test", rows_csv, int(in_train.sum())


def one_run(data: Path, table: Path | None, seed: int, seconds: float, side: int) -> Run:
    """Sample, search, retrain, compare."""
    folder = Path(tempfile.mkdtemp(prefix="promise-"))
    try:
        train, test, groups, _ = sample(data, table, seed, folder)
        out = folder / "out"
        command = [sys.executable, str(_HERE / "run_search.py"), "--data", str(train), "--out", str(out), "--quiet"]
        command += ["--image-size", str(side), "--timeout", f"{seconds:g}s", "--seed", str(seed)]
        command += ["--groups", str(groups)] if groups else []
        done = subprocess.run(command, cwd=_HERE, capture_output=True, text=True, check=False)
        if done.returncode not in (0, 3):
            raise RuntimeError(done.stderr[-2000:])
        results = analyse(open_study(out))
        images = _images(train, groups, side, None)
        return _compared(data.parent.name, seed, results, images, _images(test, None, side, images), seconds)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _images(folder: Path, groups: Path | None, side: int, like: ImageSet | None) -> ImageSet:
    return load_images(
        folder,
        image_size=side,
        folds=0,
        groups=groups,
        size_cap=side,
        channels=like.summary.channels if like else None,
        classes=tuple(like.summary.classes) if like else None,
        listener=Silent(),
    )


def _compared(data: str, seed: int, results: Results, images: ImageSet, test: ImageSet, seconds: float) -> Run:
    best, naive = results.recommended, max(results.ranking, key=lambda one: one.pooled, default=None)
    if best is None or naive is None:
        raise NoPromise(results.reason)
    same = naive.trial.configuration.hash == best.ranked.trial.configuration.hash
    with tempfile.TemporaryDirectory() as place:
        pool = Pool(setups(images, cast(Metric, "balanced_accuracy"), Path(place), 1, ()), lambda: False)
        try:
            scores, lost, probabilities = retrained(results, best.ranked, best.offset, images, test, pool)
            plain = (0.0,) * len(best.offset)
            naive_scores, naive_lost, _ = retrained(results, naive, plain, images, test, pool)
        finally:
            pool.close()
    return Run(
        data=data,
        seed=seed,
        images=len(images.labels),
        tested=len(test.labels),
        classes=len(images.summary.classes),
        groups=images.groups is not None,
        seconds=seconds,
        trials=len(results.study.trials),
        finalists=len(results.finalists),
        stages=best.promise.stages,
        promise=best.promise.value,
        low=best.promise.low,
        high=best.promise.high,
        offset=any(best.offset),
        same=same,
        naive=naive.pooled,
        naive_se=naive.se,
        scores=tuple(scores),
        naive_scores=tuple(naive_scores),
        lost=lost,
        naive_lost=naive_lost,
        test_se=_test_error(test.labels, probabilities),
    )


def retrained(
    results: Results,
    ranked: Ranked,
    offset: tuple[float, ...],
    images: ImageSet,
    test: ImageSet,
    pool: Pool,
    count: int = RETRAININGS,
) -> tuple[list[float], int, list[np.ndarray[Any, Any]]]:
    """Test scores of `count` trainings on all images with fresh seeds, how many were lost, and what each predicts."""
    study = results.study
    terms = Terms(
        labels=images.labels,
        folds=(),
        fingerprint=study.identity.fingerprint,
        protocol=study.protocol,
        plan=replace(study.plan, fit_seconds=None),
        metric=study.identity.metric,
        chance=results.chance,
        seed=seeds.child(study.identity.seed, "retrained"),
    )
    engine = sa.create_engine("sqlite://")
    fitter, rows = Fitter(terms, Ledger(engine, "retrained")), np.arange(len(images.labels))
    scores, lost, told = [], 0, []
    for number in range(count):
        spec = Spec(
            trial=0, stage=FINAL, configuration=ranked.trial.configuration, train=rows, val=rows[:0], attempt=number
        )
        with pool.worker() as worker:
            fit, predicted = fitter.train(worker, spec, Protection(calibrating=False), predict=test.path)
        if predicted is None or fit.verdict is not Verdict.LEARNED:
            scores.append(results.chance)
            lost += 1
            continue
        probabilities = offset_probabilities(predicted, offset)
        scores.append(metrics.score(study.identity.metric, test.labels, probabilities))
        lost += len(np.unique(probabilities.argmax(axis=1))) == 1
        told.append(probabilities)
    return scores, lost, told


def _test_error(labels: np.ndarray[Any, Any], told: list[np.ndarray[Any, Any]]) -> float:
    """Standard error of the mean score that comes from the finite test set: image by image, over the classes."""
    if not told:
        return 0.0
    right = np.mean([one.argmax(axis=1) == labels for one in told], axis=0)
    classes = np.unique(labels)
    return math.sqrt(sum(right[labels == k].var(ddof=1) / (labels == k).sum() for k in classes)) / len(classes)


def table(runs: list[Run]) -> list[str]:
    """The figures, a line each for all runs and for each data set."""
    lines = [
        f"{'':22} runs  promise - target (SE)   covered  half-width (x binomial)  lost | "
        "naive - target (SE)  covered  lost | target  naive's target"
    ]
    for name in ["all", *sorted({run.data for run in runs})]:
        ours = [run for run in runs if name in ("all", run.data)]
        lines.append(f"{name:22} {len(ours):4}  {_line(ours)}")
    return lines


def _line(runs: list[Run]) -> str:
    target = np.array([np.mean(run.scores) for run in runs])
    naive_target = np.array([np.mean(run.naive_scores) for run in runs])
    error = np.array([run.promise for run in runs]) - target
    naive = np.array([run.naive for run in runs]) - naive_target
    widened = [
        _widened(run.promise, run.low, run.high, run.test_se, float(at)) for run, at in zip(runs, target, strict=True)
    ]
    covered = [abs(gap) <= 1.96 * math.hypot(run.naive_se, run.test_se) for run, gap in zip(runs, naive, strict=True)]
    half = np.mean([(run.high - run.low) / 2 for run in runs])
    binomial = np.mean(
        [1.96 * math.sqrt(max(at * (1 - at), 1e-9) / run.images) for run, at in zip(runs, target, strict=True)]
    )
    se = [one.std(ddof=1) / math.sqrt(len(one)) if len(one) > 1 else float("nan") for one in (error, naive)]
    return (
        f"{error.mean():+.3f} ({se[0]:.3f})          {np.mean(widened):.2f}     {half:.3f} ({half / binomial:.2f})"
        f"            {sum(run.lost for run in runs):3} | {naive.mean():+.3f} ({se[1]:.3f})      {np.mean(covered):.2f}"
        f"   {sum(run.naive_lost for run in runs):3} | {target.mean():.3f}   {naive_target.mean():.3f}"
    )


def _widened(value: float, low: float, high: float, test_se: float, target: float) -> bool:
    """Whether the target lies in the interval with the test set's own error added to either half."""
    below, above = math.hypot(value - low, 1.96 * test_se), math.hypot(high - value, 1.96 * test_se)
    return value - below <= target <= value + above


def read(kept: Path) -> list[Run]:
    """The runs that are done."""
    if not kept.exists():
        return []
    found = []
    for line in kept.read_text().splitlines():
        values = json.loads(line)
        found.append(Run(**{**values, **{name: tuple(values[name]) for name in ("scores", "naive_scores")}}))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    running, showing = commands.add_parser("run"), commands.add_parser("table")
    running.add_argument("--data", action="append", required=True, metavar="DIR[:groups.csv]")
    running.add_argument("--seeds", type=int, default=8)
    running.add_argument("--seconds", type=float, default=120.0)
    running.add_argument("--side", type=int, default=32)
    for one in (running, showing):
        one.add_argument("--kept", type=Path, required=True)
    options = parser.parse_args()
    if options.command == "run":
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        _run_all(options)
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in ("tensorflow", "keras", "optuna", "numpy"))
    print(f"{platform.platform()}, {os.cpu_count()} cores; {versions}")
    runs = read(options.kept)
    print(*(table(runs) if runs else ["no runs yet"]), sep="\n")


def _run_all(options: argparse.Namespace) -> None:
    for seed in range(options.seeds):
        for text in options.data:
            folder, _, groups = text.partition(":")
            data = Path(folder).resolve()
            if any((run.data, run.seed) == (data.parent.name, seed) for run in read(options.kept)):
                continue
            try:
                run = one_run(data, Path(groups).resolve() if groups else None, seed, options.seconds, options.side)
            except NoPromise as reason:
                print(f"{data.parent.name} {seed}: no promise ({reason})", flush=True)
                continue
            with options.kept.open("a") as file:
                file.write(json.dumps(asdict(run)) + "\n")
            print(
                f"{run.data} {seed}: {run.images} images, promise {run.promise:.3f} [{run.low:.3f}, {run.high:.3f}], "
                f"test {np.mean(run.scores):.3f} +- {run.test_se:.3f}; naive {run.naive:.3f}, "
                f"test {np.mean(run.naive_scores):.3f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
