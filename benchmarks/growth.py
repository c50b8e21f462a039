"""What thousands of trials cost the coordinator: proposals, resuming, the report, memory. Trainings answer at once.

    python -m benchmarks.growth study [--trials 5000] [--every 500] [--images 200] [--workers 1]
    python -m benchmarks.growth seen [--trials 2000] [--seeds 5] [--most 500 1000]
    python -m benchmarks.growth storage [--sizes 200 1000 5000] [--each 50]

`study`: one study in the embedded database, by the product's own session and with a limit of time as every search has;
workers are stand-ins that answer at once, and nearly all trials run all five folds. `ask` is from the end of a trial to
the beginning of the next, `records` what else lies between two ends: five fits' records, five reports, what is told.

`seen`: what is lost by proposals that are made from a bounded number of trials: the default space with a made-up
score, the product's sampler with a bound (its own, or those of `--most`) and without, seed by seed.

`storage`: what `search.storage.bulk_storage` saves over Optuna's own storage in the same file: a trial of 20
parameters, 5 reports and 6 attributes in a study of so many, and reading all of them in a new process.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from PIL import Image

from benchmarks.machine import machine
from reports.write import write_all
from search import seeds
from search.events import SilentListener
from search.fit_checks import LAYER_SIGNALS, Check
from search.optimize.sampler import SEEN, SteadySampler
from search.records import FitOutcome, Trial, Verdict
from search.request import SearchRequest
from search.schedule.budget import Clock
from search.selection.analyse import analyse
from search.session.session import search
from search.settings import Budget
from search.storage.database import open_storage
from search.storage.load import open_study
from search.training.job import FitJob
from search.workers.interfaces import Worker, WorkerPool
from search.workers.protocol import EmbeddingJob, Timing, TimingJob, TrainingData, WorkerReady, WorkerTask
from spaces.config import Configuration
from spaces.presets import DEFAULT

CHECKS = 30
_COLLAPSED = 0.02  # of the configurations
_ENOUGH_SECONDS = 1e7


class Answers(WorkerPool, Worker):
    """Stands for a pool and its workers: fits whose quality follows from their configuration, of real size."""

    ready: WorkerReady | None = WorkerReady("CPU", False, {"tensorflow": "none", "keras": "none"}, 0.0)

    def __init__(self, count: int) -> None:
        self._count = count

    def __len__(self) -> int:
        return self._count

    def spawn(self) -> None: ...

    def start(self) -> None: ...

    def set_data(self, data: TrainingData) -> None:
        self._labels = data.labels

    @contextmanager
    def worker(self) -> Iterator[Answers]:
        yield self

    def run_timing(self, job: TimingJob) -> Timing:
        return Timing(0.01, 0.001)

    def run(
        self, job: FitJob, on_check: Callable[[Check], None] = lambda check: None, *, alone: bool = False
    ) -> FitOutcome:
        rng = np.random.default_rng(job.seed)
        quality = 0.78 + 0.02 * seeds.share(0, "quality", job.configuration.hash)  # nobody is far behind
        labels = self._labels[job.val]
        right = rng.permutation(np.arange(len(labels)) < quality * len(labels))
        sure = np.where(right == (labels == 1), 0.9, 0.1)
        checks = tuple(_check(epoch, quality) for epoch in np.linspace(1, job.protocol.epochs, CHECKS, dtype=int))
        collapsed = seeds.share(0, "collapse", job.configuration.hash) < _COLLAPSED
        return FitOutcome(
            verdict=Verdict.COLLAPSED if collapsed else Verdict.LEARNED,
            reason="dead-layer" if collapsed else None,
            epochs=job.protocol.epochs,
            seconds=1.0,
            score=float(np.mean([right[labels == k].mean() for k in (0, 1)])),
            loss=0.5,
            skill=quality - 0.5,
            checks=checks,
            start={"finite": 1.0, "loss": 0.7},
            layers=np.ones((CHECKS + 1, job.configuration.depth + 1, len(LAYER_SIGNALS)), np.float32),
            shares=np.full((CHECKS, 2), 0.5, np.float32),
            probabilities=np.stack([1 - sure, sure], axis=1).astype(np.float32),
        )

    def embed(self, job: EmbeddingJob) -> None: ...

    def run_task(self, task: WorkerTask) -> Any:
        raise NotImplementedError

    def close(self) -> None: ...


def _check(epoch: int, quality: float) -> Check:
    skill = (quality - 0.5) * epoch / 100
    return Check(
        epoch=int(epoch), updates=10 * int(epoch), train_loss=0.5, train_skill=skill, val_loss=0.6, val_skill=skill,
        score=quality, auc=quality, top_share=0.6, logit_spread=1.0, dead_share=0.0, first_gradient=1.0,
        last_gradient=1.0, update_ratio=1e-3, finite=True, warmth=1.0,
    )  # fmt: skip


class Stopwatch(SilentListener):
    """Times what lies between trials."""

    def __init__(self, every: int) -> None:
        self._every, self._ended = every, time.perf_counter()
        self._between: list[float] = []
        self._whole: list[float] = []
        self.first: float | None = None
        self.done = 0

    def trial_started(self, number: int, configuration: Configuration, folds: int) -> None:
        now = time.perf_counter()
        self.first = self.first or now
        self._between.append(now - self._ended)

    def trial_finished(self, trial: Trial, pooled: float | None, best: float | None) -> None:
        now = time.perf_counter()
        self._whole.append(now - self._ended)
        self._ended = now
        self.done += 1
        if self.done % self._every == 0:
            ask, whole = (1000 * statistics.median(each[-100:]) for each in (self._between, self._whole))
            print(f"{self.done:6} trials: ask {ask:6.1f} ms, records {whole - ask:6.1f} ms, {_memory()}", flush=True)


def _memory() -> str:
    return f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB at most"


def study(options: argparse.Namespace) -> None:
    """As many trials as asked for, one more after a new start, and the report."""
    with tempfile.TemporaryDirectory() as place:
        images = Path(place) / "images"
        rng = np.random.default_rng(0)
        for name in ("bolt", "nut"):
            (images / name).mkdir(parents=True)
            for number in range(options.images // 2):
                Image.fromarray(rng.integers(0, 256, (8, 8), np.uint8)).save(images / name / f"{number}.png")
        out = options.out or Path(place) / "out"

        def run(trials: int, watch: Stopwatch) -> None:
            request = SearchRequest(
                data=images,
                out=out,
                space=DEFAULT,
                budget=Budget(trials=trials, seconds=_ENOUGH_SECONDS, until_no_progress=False),
                epochs=100,
                image_size=8,
                workers=options.workers,
            )
            clock = Clock(_ENOUGH_SECONDS)
            search(request, watch, clock, lambda resources, must_stop: Answers(len(resources)))

        run(options.trials, Stopwatch(options.every))
        print(f"whole study: {_memory()}; study.db {(out / 'study.db').stat().st_size / 1e6:.0f} MB")
        began, watch = time.perf_counter(), Stopwatch(1)
        run(options.trials + 1, watch)
        print(f"resumed after {(watch.first or began) - began:.1f} s")
        began = time.perf_counter()
        results = analyse(open_study(out))
        read = time.perf_counter() - began
        write_all(results, out)
        fits = sum(len(trial.fits) for trial in results.study.trials)
        print(f"{len(results.study.trials)} trials, {fits} fits in them")
        print(f"report: {time.perf_counter() - began:.1f} s ({read:.1f} s of them reading and ranking); {_memory()}")


def score(configuration: Configuration) -> float:
    """Made up: a best learning rate and depth that hang on each other, some choices that matter and noise."""
    off = math.log10(configuration.learning_rate) + 3 + 0.2 * (configuration.depth - 4)
    good = 0.9 - 0.08 * off * off - 0.03 * abs(configuration.depth - 5) - 0.1 * abs(configuration.dropout - 0.25)
    good -= 0.05 * (configuration.initializer.startswith("random")) + 0.02 * (configuration.head == "flatten")
    good -= 0.02 * abs(math.log2(configuration.batch_size) - 4)
    return good + 0.02 * seeds.share(0, "noise", configuration.hash)


def seen(options: argparse.Namespace) -> None:
    """Best score, mean of the last quarter, and seconds, with each bound and without."""
    for seed in range(options.seeds):
        told = []
        for most in (*options.most, 10**9):
            began, scores = time.process_time(), []
            found = optuna.create_study(direction="maximize", sampler=SteadySampler(seed, most))
            for _ in range(options.trials):
                trial = found.ask()
                scores.append(score(DEFAULT.sample(trial)))
                found.tell(trial, scores[-1])
            late = float(np.mean(scores[-options.trials // 4 :]))
            name, spent = most if most < options.trials else "all", time.process_time() - began
            told.append(f"{name} seen: best {max(scores):.4f}, mean of the last quarter {late:.4f}, {spent:.0f} s")
        print(f"seed {seed}: {';  '.join(told)}", flush=True)


NAMES = [f"parameter_{number}" for number in range(20)]


def one_trial(study: optuna.Study, number: int) -> None:
    """A trial as large as one of a search, told as one."""
    trial = study.ask()
    for name in NAMES:
        trial.suggest_float(name, 0.0, 1.0)
    for number in range(5):
        trial.set_user_attr(f"attribute_{number}", "x" * 40)
    trial.set_user_attr("configuration", dict.fromkeys(NAMES, 0.5))
    for step in range(1, 6):
        trial.report(0.5, step)
    study.tell(trial, number / 7 % 1)


def plain(storage: optuna.storages.RDBStorage) -> optuna.storages.RDBStorage:
    """Optuna's own storage of the same file, by the same kind of connections."""
    return optuna.storages.RDBStorage("sqlite://", storage.engine_kwargs)


def read_all(folder: Path, in_bulk: bool, pipe: Connection) -> None:
    """Read all trials of a study, and send the seconds and megabytes that took."""
    opened = open_storage(folder)
    assert isinstance(opened, optuna.storages.RDBStorage)
    study = optuna.load_study(study_name="s", storage=opened if in_bulk else plain(opened))
    before, began = _peak(), time.process_time()
    study.get_trials(deepcopy=False)
    pipe.send((time.process_time() - began, _peak() - before))


def _peak() -> float:
    """Most megabytes that this process has held; `getrusage` counts its parent's too."""
    lines = dict(line.split(":") for line in Path("/proc/self/status").read_text().splitlines())
    return int(lines["VmHWM"].split()[0]) / 1024


def storage(options: argparse.Namespace) -> None:
    """Processor time of writing a trial and of reading all, in bulk and by Optuna alone, at each size of a study."""
    spawn = multiprocessing.get_context("spawn")
    for size in options.sizes:
        with tempfile.TemporaryDirectory() as place:
            opened = open_storage(Path(place))
            assert isinstance(opened, optuna.storages.RDBStorage)
            sampler = optuna.samplers.RandomSampler(0)
            one_trial(optuna.create_study(storage=opened, study_name="s", sampler=sampler), 0)
            whole = optuna.load_study(study_name="s", storage=opened, sampler=sampler)
            (template,) = whole.trials
            whole.add_trials([template] * (size - 1))
            for name, one in (("in bulk", opened), ("Optuna's own", plain(opened))):
                study = optuna.load_study(study_name="s", storage=one, sampler=sampler)
                one_trial(study, 0)
                began, wall = time.process_time(), time.perf_counter()
                for number in range(options.each):
                    study.get_trials(deepcopy=False)  # as a sampler does
                    one_trial(study, number)
                spent, wall = (now / options.each for now in (time.process_time() - began, time.perf_counter() - wall))
                here, there = spawn.Pipe()
                reader = spawn.Process(target=read_all, args=(Path(place), one is opened, there))
                reader.start()
                seconds, megabytes = here.recv()
                reader.join()
                print(
                    f"{size:5} trials, {name:12}: write {1000 * spent:6.1f} ms of processor time a trial "
                    f"({1000 * wall:.1f} ms passed), read all {seconds:5.2f} s, {megabytes:4.0f} MB",
                    flush=True,
                )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    whole, bound = commands.add_parser("study"), commands.add_parser("seen")
    whole.add_argument("--trials", type=int, default=5000)
    whole.add_argument("--every", type=int, default=500)
    whole.add_argument("--images", type=int, default=200)
    whole.add_argument("--workers", type=int, default=1)
    whole.add_argument("--out", type=Path, help="kept; without, a folder that is removed")
    whole.set_defaults(run=study)
    bound.add_argument("--trials", type=int, default=2000)
    bound.add_argument("--seeds", type=int, default=5)
    bound.add_argument("--most", type=int, nargs="+", default=[SEEN], help="trials to be seen, each compared with all")
    bound.set_defaults(run=seen)
    stored = commands.add_parser("storage")
    stored.add_argument("--sizes", type=int, nargs="+", default=[200, 1000, 5000])
    stored.add_argument("--each", type=int, default=50, help="trials that are timed at each size")
    stored.set_defaults(run=storage)
    options = parser.parse_args()
    print(machine("optuna", "numpy", "sqlalchemy"), flush=True)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    options.run(options)


if __name__ == "__main__":
    main()
