"""Does the promise come true on real images? Whole searches on small samples, then fresh retrainings on the rest.

Each run samples a training set of 100 to 300 images out of a folder's images, groups kept whole; the rest, at least 200
images, is the test set. A search with a short budget makes its promise. Its target is the mean test score of five
retrainings of the recommended configuration with fresh seeds; the naive winner (best mean of the search) is retrained
as often. For the comparison the interval is widened by the test set's own standard error. The naive mean, and what a
peer reports of its own choice, come without an interval: they get that of a plain binomial on the training images.
Claims are kept one by one in a file of JSON lines, so that the benchmark can be stopped and gone on with at any time.

    python -m benchmarks.promise run --data DIR[:groups.csv] ... --seeds 8 --seconds 120 --kept claims.jsonl
    python -m benchmarks.promise run --data DIR ... --peer optuna=PYTHON:SCRIPT --kept claims.jsonl
    python -m benchmarks.promise table --kept claims.jsonl
    python -m benchmarks.promise again --out RUN --test DIR [--count 10]       of a search that is finished

A peer's SCRIPT is called as `PYTHON SCRIPT TRAIN TEST SIDE SECONDS SEED OUT.json` and writes what it promises and the
balanced accuracies of its retrainings: `{"promise": 0.8, "tests": [{"bal_acc": 0.7, "distinct_predictions": 2}, ...]}`.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import sqlalchemy as sa

from benchmarks.machine import machine
from search import resources, seeds
from search.collapse.protection import Protection
from search.data.format_choice import FormatChoice
from search.data.groups import number_groups, read_groups, strata
from search.data.images import ImageSet, load_images
from search.data.scan import scan
from search.data.scanned_folder import scan_folder
from search.data.weight_files import find_weights
from search.events import SilentListener
from search.fits.runner import FitRunner, StudySetup
from search.records import FINAL, Verdict
from search.request import weight_digests, weight_files
from search.selection import metrics
from search.selection.analyse import analyse
from search.selection.offset import offset_probabilities
from search.selection.results import Ranked, Results
from search.storage.ledger import Ledger
from search.storage.load import open_study
from search.training.job import FitSpec
from search.workers.interfaces import WorkerPool
from search.workers.pool import WorkerProcessPool, worker_resources
from search.workers.protocol import TrainingData
from spaces.backbones import AUTO

LEAST_TEST, MOST_TEST = 200, 800
RETRAININGS = 5
OURS, NAIVE = "promise", "naive mean"
_HERE = Path(__file__).parents[1]
_NORMAL_95 = 1.96


@dataclass(frozen=True, kw_only=True, slots=True)
class Claim:
    """What somebody said of a configuration, and what became of it."""

    arm: str
    data: str
    seed: int
    images: int
    tested: int
    value: float
    low: float
    high: float
    scores: tuple[float, ...]  # of the retrainings, on the test images
    lost: int  # retrainings that collapsed or predicted one class
    test_se: float  # of their mean, for want of test images
    more: dict[str, Any] = field(default_factory=dict)

    @property
    def target(self) -> float:
        """Mean test score."""
        return float(np.mean(self.scores))

    @property
    def kept(self) -> bool:
        """Whether the target lies in the interval with the test set's own error added to either half."""
        below = math.hypot(self.value - self.low, _NORMAL_95 * self.test_se)
        above = math.hypot(self.high - self.value, _NORMAL_95 * self.test_se)
        return self.value - below <= self.target <= self.value + above


class NoPromise(Exception):
    """The search found nothing to promise."""


def sample(data: Path, table: Path | None, seed: int, into: Path) -> tuple[Path, Path, Path | None]:
    """Links to a training set and a test set; also the groups of the training set."""
    found = scan(data, classes=None, follow_links=True, on_progress=lambda *told: None)
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
    return into / "train", into / "test", rows_csv


@contextmanager
def sampled(data: Path, table: Path | None, seed: int) -> Iterator[tuple[Path, Path, Path | None]]:
    """The sample's folders for as long as the block lasts; the same seed gives the same."""
    folder = Path(tempfile.mkdtemp(prefix="promise-"))
    try:
        yield sample(data, table, seed, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def ours(data: Path, table: Path | None, seed: int, seconds: float, side: int) -> list[Claim]:
    """The promise and the naive mean of one search.

    Raises:
        NoPromise: nothing healthy was found in time.
    """
    with sampled(data, table, seed) as (train, test, groups):
        out = train.parent / "out"
        command = [sys.executable, str(_HERE / "run_search.py"), "--data", str(train), "--out", str(out), "--quiet"]
        command += ["--image-size", str(side), "--timeout", f"{seconds:g}s", "--seed", str(seed), "--follow-links"]
        command += ["--groups", str(groups)] if groups else []
        done = subprocess.run(command, cwd=_HERE, capture_output=True, text=True, check=False)
        if done.returncode not in (0, 3):
            raise RuntimeError(done.stderr[-2000:])
        results = analyse(open_study(out))
        return _compared(data.parent.name, seed, results, (train, test))


def peer(name: str, call: str, data: Path, table: Path | None, seed: int, seconds: float, side: int) -> Claim:
    """What a peer says of its own choice, and what its retrainings give on the same sample."""
    python, _, script = call.partition(":")
    with sampled(data, table, seed) as (train, test, _):
        out = train.parent / "peer.json"
        where = Path(script).resolve()  # it runs among the peers' own modules
        command = [python, str(where), str(train), str(test), str(side), f"{seconds:g}", str(seed), str(out)]
        done = subprocess.run(command, cwd=where.parent, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(done.stderr[-2000:])
        told = json.loads(out.read_text())
        images, labels = loaded(train, None, side, None), loaded(test, None, side, None).labels
    scores = tuple(float(one["bal_acc"]) for one in told["tests"])
    value = float(told["promise"])
    half = _binomial(value, len(images.labels))
    counts = np.bincount(labels)
    return Claim(
        arm=name,
        data=data.parent.name,
        seed=seed,
        images=len(images.labels),
        tested=len(labels),
        value=value,
        low=value - half,
        high=value + half,
        scores=scores,
        lost=sum(one["distinct_predictions"] == 1 for one in told["tests"]),
        test_se=math.sqrt(sum(np.mean(scores) * (1 - np.mean(scores)) / n for n in counts)) / len(counts),
    )


def _binomial(share: float, n: int) -> float:
    """Half-width of the plain 95 % interval."""
    return _NORMAL_95 * math.sqrt(max(share * (1 - share), 0.0) / n)


def loaded(folder: Path, groups: Path | None, side: int, like: ImageSet | None) -> ImageSet:
    scanned = scan_folder(
        folder,
        SilentListener(),
        groups=groups,
        classes=tuple(like.summary.classes) if like else None,
        follow_links=True,
    )
    return load_images(scanned, like.format if like else FormatChoice(image_size=side, size_cap=side), SilentListener())


def of_study(results: Results, train: Path, test: Path, chosen: Sequence[Ranked]) -> tuple[ImageSet, ImageSet]:
    """The images of a study, and test images in the same format; also at the resolutions of what was chosen."""
    study = results.study
    sides = sorted({ranked.trial.configuration.resolution for ranked in chosen} - {0})

    def read(folder: Path, classes: tuple[str, ...] | None) -> ImageSet:
        scanned = scan_folder(folder, SilentListener(), classes=classes, follow_links=True)
        return load_images(scanned, study.protocol.images, SilentListener(), resolutions=sides)

    images = read(train, None)
    if not np.array_equal(images.labels, study.labels):
        raise RuntimeError(f"{train}: these are not the images of the study")
    return replace(images, groups=study.groups), read(test, tuple(images.summary.classes))


@contextmanager
def workers(results: Results, images: ImageSet, count: int) -> Iterator[WorkerPool]:
    """So many workers with the images and the pretrained weights of a study."""
    study = results.study
    weights = find_weights(study.settings.get("weights", AUTO), [name for name, _ in study.identity.weights])
    if weight_digests(weights) != study.identity.weights:
        raise RuntimeError("the pretrained weights are not those of the study")
    with tempfile.TemporaryDirectory() as place:
        pool = WorkerProcessPool(worker_resources(Path(place), count, ()), lambda: False)
        pool.set_data(TrainingData.of(images, study.identity.metric, weight_files(weights)))
        try:
            yield pool
        finally:
            pool.close()


def _compared(
    data: str, seed: int, results: Results, folders: tuple[Path, Path], count: int = RETRAININGS
) -> list[Claim]:
    best, naive = results.recommended, max(results.ranking, key=lambda one: one.pooled, default=None)
    if best is None or naive is None:
        raise NoPromise(results.reason)
    images, test = of_study(results, *folders, [best.ranked, naive])
    half = _binomial(naive.pooled, len(images.labels))
    plain = (0.0,) * len(best.offset)
    said = (
        (OURS, best.ranked, best.offset, best.promise.value, best.promise.low, best.promise.high),
        (NAIVE, naive, plain, naive.pooled, naive.pooled - half, naive.pooled + half),
    )
    more = {
        "trials": len(results.study.trials),
        "finalists": len(results.finalists),
        "stages": best.promise.stages,
        "offset": any(best.offset),
        "same": naive.trial.configuration.hash == best.ranked.trial.configuration.hash,
    }
    found = []
    known: dict[tuple[str, tuple[float, ...]], Any] = {}  # often both are the same
    with workers(results, images, resources.cores()) as pool:
        for arm, ranked, offset, value, low, high in said:
            choice = ranked.trial.configuration.hash, offset
            if choice not in known:
                known[choice] = retrained(results, ranked, offset, images, test, pool, count)
            scores, lost, probabilities = known[choice]
            found.append(
                Claim(
                    arm=arm,
                    data=data,
                    seed=seed,
                    images=len(images.labels),
                    tested=len(test.labels),
                    value=value,
                    low=low,
                    high=high,
                    scores=tuple(scores),
                    lost=lost,
                    test_se=_test_error(test.labels, probabilities),
                    more=more,
                )
            )
    return found


def again(out: Path, test: Path, count: int) -> list[Claim]:
    """What a finished search promised, and what many fresh trainings of its choice and of the naive one give."""
    results = analyse(open_study(out))
    folder = Path(results.study.data.folder)
    return _compared(folder.parent.name, results.study.identity.seed, results, (folder, test), count)


def retrained(
    results: Results,
    ranked: Ranked,
    offset: tuple[float, ...],
    images: ImageSet,
    test: ImageSet,
    pool: WorkerPool,
    count: int = RETRAININGS,
) -> tuple[list[float], int, list[np.ndarray[Any, Any]]]:
    """Test scores of `count` trainings on all images with fresh seeds, how many were lost, and what each predicts."""
    study = results.study
    terms = StudySetup(
        labels=images.labels,
        folds=(),
        fingerprint=study.identity.fingerprint,
        protocol=study.protocol,
        plan=replace(study.plan, fit_seconds=None),
        metric=study.identity.metric,
        chance=results.chance,
        seed=seeds.child(study.identity.seed, "retrained"),
    )
    rows = np.arange(len(images.labels))

    def trained(number: int) -> np.ndarray[Any, Any] | None:
        spec = FitSpec(
            trial=0, stage=FINAL, configuration=ranked.trial.configuration, train=rows, val=rows[:0], attempt=number
        )
        fitter = FitRunner(terms, Ledger(sa.create_engine("sqlite://"), "retrained"))
        with pool.worker() as worker:
            fit = fitter.train(worker, spec, Protection(calibrating=False), predict=test)
        return fit.predicted if fit.verdict is Verdict.LEARNED else None

    with ThreadPoolExecutor(len(pool)) as threads:
        all_predicted = list(threads.map(trained, range(count)))
    scores, lost, told = [], 0, []
    for predicted in all_predicted:
        if predicted is None:
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


def table(claims: list[Claim]) -> list[str]:
    """The figures, a line each for all runs and for each data set, arm by arm."""
    lines = [f"{'':34} runs   said - target (SE)   kept   half-width (x binomial)   lost   target"]
    for arm in dict.fromkeys(claim.arm for claim in claims):
        for name in ["all", *sorted({claim.data for claim in claims})]:
            chosen = [claim for claim in claims if claim.arm == arm and name in ("all", claim.data)]
            if chosen:
                lines.append(f"{arm:11} {name:22} {len(chosen):4}   {_line(chosen)}")
    return lines


def _line(claims: list[Claim]) -> str:
    error = np.array([claim.value - claim.target for claim in claims])
    half = np.mean([(claim.high - claim.low) / 2 for claim in claims])
    binomial = np.mean([_binomial(claim.target, claim.images) for claim in claims])
    se = error.std(ddof=1) / math.sqrt(len(error)) if len(error) > 1 else float("nan")
    return (
        f"{error.mean():+.3f} ({se:.3f})       {np.mean([claim.kept for claim in claims]):.2f}   {half:.3f} "
        f"({half / binomial:.2f})            {sum(claim.lost for claim in claims):3} of "
        f"{sum(len(claim.scores) for claim in claims)}  {np.mean([claim.target for claim in claims]):.3f}"
    )


def read(kept: Path) -> list[Claim]:
    """The claims that were followed up."""
    if not kept.exists():
        return []
    rows = [json.loads(line) for line in kept.read_text().splitlines()]
    return [Claim(**{**row, "scores": tuple(row["scores"])}) for row in rows]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    running, showing = commands.add_parser("run"), commands.add_parser("table")
    retrying = commands.add_parser("again", help="retrain what finished searches chose")
    retrying.add_argument("--out", type=Path, action="append", required=True, metavar="DIR")
    retrying.add_argument("--test", type=Path, action="append", required=True, metavar="DIR", help="one for each --out")
    retrying.add_argument("--count", type=int, default=10)
    running.add_argument("--data", action="append", required=True, metavar="DIR[:groups.csv]")
    running.add_argument("--peer", metavar="NAME=PYTHON:SCRIPT", help="instead of our own search")
    running.add_argument("--seeds", type=int, default=8)
    running.add_argument("--seconds", type=float, default=120.0)
    running.add_argument("--side", type=int, default=32)
    for one in (running, showing):
        one.add_argument("--kept", type=Path, required=True)
    options = parser.parse_args()
    print(machine("tensorflow", "keras", "optuna", "numpy"), flush=True)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if options.command == "again":
        for out, test in zip(options.out, options.test, strict=True):
            for claim in again(out, test, options.count):
                lines = f"{claim.data} {claim.arm}: says {claim.value:.3f} [{claim.low:.3f}, {claim.high:.3f}], gives"
                each = " ".join(f"{score:.3f}" for score in claim.scores)
                print(
                    f"{lines} {claim.target:.3f} +- {claim.test_se:.3f} ({each}), {claim.lost} lost; {claim.more}",
                    flush=True,
                )
        return
    if options.command == "run":
        _run_all(options)
    claims = read(options.kept)
    print(*(table(claims) if claims else ["nothing yet"]), sep="\n")


def _run_all(options: argparse.Namespace) -> None:
    name, _, call = (options.peer or f"{OURS}=").partition("=")
    for seed in range(options.seeds):
        for text in options.data:
            folder, _, groups = text.partition(":")
            data, table = Path(folder).resolve(), Path(groups).resolve() if groups else None
            if any((one.arm, one.data, one.seed) == (name, data.parent.name, seed) for one in read(options.kept)):
                continue
            try:
                if call:
                    claims = [peer(name, call, data, table, seed, options.seconds, options.side)]
                else:
                    claims = ours(data, table, seed, options.seconds, options.side)
            except NoPromise as reason:
                print(f"{data.parent.name} {seed}: no promise ({reason})", flush=True)
                continue
            with options.kept.open("a") as file:
                file.writelines(json.dumps(asdict(one)) + "\n" for one in claims)
            for one in claims:
                print(
                    f"{one.data} {seed}: {one.arm} of {one.images} images {one.value:.3f} [{one.low:.3f}, "
                    f"{one.high:.3f}], on {one.tested} others {one.target:.3f} +- {one.test_se:.3f} {one.more}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
