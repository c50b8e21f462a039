"""The whole searches that `test_whole_search.py` looks at: what is started, ended and observed, in which order."""

import json
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from wsgiref.util import setup_testing_defaults

import optuna
import optuna_dashboard
import pandas as pd

from tests.keras_tests.runs import SearchLauncher, SearchProcess, all_dead, write_images

SPACE = "preset: core\ndepth: {low: 1, high: 3}\ndense_ratio: {low: 0.6, high: 1.0}\nbatch_size: {choices: [8, 16]}\n"
HOPELESS = "preset: core\noptimizer: {value: sgd}\nlearning_rate: {value: 10.0}\ndense_ratio: {value: 1.0}\n"
FILES = (
    "best_config.yaml",
    "report.html",
    "report.md",
    "trials.csv",
    "fits.csv",
    "summary.json",
    "run.log",
    "study.db",
)
TRIALS = 3


@dataclass
class SearchHistory:
    """A run folder, the starts that made it, and what was seen on the way."""

    out: Path
    runs: list[SearchProcess] = field(default_factory=list)
    codes: list[int] = field(default_factory=list)
    observed: dict[str, Any] = field(default_factory=dict)

    def summary(self) -> dict[str, Any]:
        return json.loads((self.out / "summary.json").read_text())

    def fits(self) -> pd.DataFrame:
        return pd.read_csv(self.out / "fits.csv")


def _start(launcher: SearchLauncher, out: str, *more: str, trials: int = TRIALS) -> SearchProcess:
    common = ("--data", "images", "--epochs", "12", "--folds", "3", "--image-size", "16", "--trials", str(trials))
    return launcher.start(out, *common, "--space", "space.yaml", "--workers", "1", *more)


def undisturbed(launcher: SearchLauncher) -> SearchHistory:
    """One start with a test folder and the dashboard open on it, then the same command again."""
    _load_dashboard(launcher.folder / "empty.db")
    run = _start(launcher, "undisturbed", "--test", "test")
    history = SearchHistory(run.out, [run])
    run.until(run.is_open)
    with _Dashboard(run.out) as dashboard:
        run.until(lambda: run.fits() > 0)
        history.observed["workers"] = run.workers()
        history.codes.append(run.wait())
    history.observed["dashboard"] = dashboard
    history.observed["files"] = {name for name in FILES if (run.out / name).exists()}
    history.observed["first"] = {name: (run.out / name).read_bytes() for name in ("fits.csv", "trials.csv")}
    (run.out / "report.html").unlink()
    again = _start(launcher, "undisturbed", "--test", "test", "--quiet")
    history.runs.append(again)
    history.codes.append(again.wait())
    return history


def disturbed(launcher: SearchLauncher) -> SearchHistory:
    """Killed in the middle, then interrupted by Ctrl-C, then left in peace with a larger budget."""
    run = _start(launcher, "disturbed", trials=TRIALS - 1)
    history = SearchHistory(run.out, [run])
    run.until(lambda: run.fits() > 0)
    workers = run.workers()
    run.process.kill()
    history.observed["dead after the kill"] = (bool(workers), all_dead(workers, within=5.0))
    history.codes.append(run.wait())

    known = run.fits()
    run = _start(launcher, "disturbed", trials=TRIALS - 1)
    history.runs.append(run)
    run.until(lambda: run.fits() > known)
    workers = run.workers()
    os.killpg(run.process.pid, signal.SIGINT)  # as a terminal does
    history.codes.append(run.wait())
    history.observed["dead after Ctrl-C"] = (bool(workers), all_dead(workers, within=5.0))
    history.observed["files"] = {name for name in FILES if (run.out / name).exists()}
    history.observed["fits"] = [known, run.fits()]

    run = _start(launcher, "disturbed")
    history.runs.append(run)
    history.codes.append(run.wait())
    return history


def hopeless(launcher: SearchLauncher) -> SearchHistory:
    """Sgd with a rate of ten, by two workers."""
    run = launcher.start(
        *("hopeless", "--data", "images", "--epochs", "12", "--folds", "2", "--image-size", "16", "--trials", "2"),
        *("--space", "hopeless.yaml", "--workers", "2", "--quiet"),
    )
    return SearchHistory(run.out, [run], [run.wait()])


def _load_dashboard(database: Path) -> None:
    """Have the dashboard loaded before a search begins, which may have ended by the time that this takes."""
    optuna_dashboard.wsgi(optuna.storages.RDBStorage(f"sqlite:///{database}"))


class _Dashboard:
    """optuna-dashboard on the study's file, asked again and again for as long as the context is open."""

    def __init__(self, out: Path) -> None:
        self._url = f"sqlite:///{out / 'study.db'}"
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self.statuses: set[str] = set()
        self.trials: list[int] = []
        self.error: Exception | None = None

    def __enter__(self) -> "_Dashboard":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        try:
            app = optuna_dashboard.wsgi(optuna.storages.RDBStorage(self._url))
            is_over = False
            while not is_over:  # at once, and for a last time when the search has ended
                is_over = self._over.is_set()
                (study,) = self._get(app, "/api/studies")["study_summaries"]
                number = study["study_id"]
                self.trials.append(len(self._get(app, f"/api/studies/{number}")["trials"]))
                self._over.wait(0.4)
        except Exception as error:
            self.error = error

    def _get(self, app: Callable[..., Any], path: str) -> Any:
        environment: dict[str, Any] = {}
        setup_testing_defaults(environment)
        environment["PATH_INFO"] = path
        body = app(environment, lambda status, headers, *_: self.statuses.add(status))
        return json.loads(b"".join(body))


@contextmanager
def started_searches(folder: Path) -> Iterator[dict[str, Future[SearchHistory]]]:
    """All searches under way, two at a time; at the end of the block what still runs is killed."""
    launcher = SearchLauncher(folder)
    write_images(launcher.folder / "images")
    write_images(launcher.folder / "test", count=5, seed=1)
    (launcher.folder / "space.yaml").write_text(SPACE)
    (launcher.folder / "hopeless.yaml").write_text(HOPELESS)
    with ThreadPoolExecutor(2) as threads:
        try:
            yield {search.__name__: threads.submit(search, launcher) for search in (disturbed, undisturbed, hopeless)}
        finally:
            launcher.close()
