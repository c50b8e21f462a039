"""From the command line to the run folder, through kills and interruptions, watched by optuna-dashboard.

Each start loads TensorFlow in a process of its own, so a few searches serve all tests: `undisturbed`, `disturbed`
(the same command with two ends in between) and `hopeless` run side by side.
"""

import json
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from wsgiref.util import setup_testing_defaults

import optuna
import optuna_dashboard
import pandas as pd
import pytest

import run_search
from tests.keras_tests.runs import Desk, Run, all_dead, write_images

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
TRIALS = 4


@dataclass
class Story:
    """A run folder, the starts that made it, and what was seen on the way."""

    out: Path
    runs: list[Run] = field(default_factory=list)
    codes: list[int] = field(default_factory=list)
    seen: dict[str, Any] = field(default_factory=dict)

    def summary(self) -> dict[str, Any]:
        return json.loads((self.out / "summary.json").read_text())

    def fits(self) -> pd.DataFrame:
        return pd.read_csv(self.out / "fits.csv")


@pytest.fixture(scope="module")
def desk(tmp_path_factory) -> Iterator[Desk]:
    desk = Desk(tmp_path_factory.mktemp("searches"))
    write_images(desk.folder / "images")
    write_images(desk.folder / "test", count=5, seed=1)
    (desk.folder / "space.yaml").write_text(SPACE)
    (desk.folder / "hopeless.yaml").write_text(HOPELESS)
    yield desk
    desk.close()


@pytest.fixture(scope="module")
def stories(desk) -> Iterator[dict[str, Future[Story]]]:
    with ThreadPoolExecutor(3) as threads:
        yield {tell.__name__: threads.submit(tell, desk) for tell in (_undisturbed, _disturbed, _hopeless)}


@pytest.fixture(scope="module")
def undisturbed(stories) -> Story:
    return stories["_undisturbed"].result()


@pytest.fixture(scope="module")
def disturbed(stories) -> Story:
    return stories["_disturbed"].result()


@pytest.fixture(scope="module")
def hopeless(stories) -> Story:
    return stories["_hopeless"].result()


def _start(desk: Desk, out: str, *more: str, trials: int = TRIALS) -> Run:
    common = ("--data", "images", "--epochs", "12", "--folds", "3", "--image-size", "16", "--trials", str(trials))
    return desk.start(out, *common, "--space", "space.yaml", *more)


def _undisturbed(desk: Desk) -> Story:
    """One start with a test folder and the dashboard open on it, then the same command again."""
    run = _start(desk, "undisturbed", "--test", "test")
    story = Story(run.out, [run])
    run.until(lambda: run.fits() > 0)
    story.seen["workers"] = run.workers()
    with _Dashboard(run.out) as dashboard:
        story.codes.append(run.wait())
    story.seen["dashboard"] = dashboard
    story.seen["files"] = {name for name in FILES if (run.out / name).exists()}
    story.seen["first"] = {name: (run.out / name).read_bytes() for name in ("fits.csv", "trials.csv")}
    (run.out / "report.html").unlink()
    again = _start(desk, "undisturbed", "--test", "test", "--quiet")
    story.runs.append(again)
    story.codes.append(again.wait())
    return story


def _disturbed(desk: Desk) -> Story:
    """Killed in the middle, then interrupted by Ctrl-C, then left in peace with a larger budget."""
    run = _start(desk, "disturbed", trials=2)
    story = Story(run.out, [run])
    run.until(lambda: run.fits() > 0)
    workers = run.workers()
    run.process.kill()
    story.seen["dead after the kill"] = (bool(workers), all_dead(workers, within=5.0))
    story.codes.append(run.wait())

    known = run.fits()
    run = _start(desk, "disturbed")
    story.runs.append(run)
    run.until(lambda: run.fits() > known)
    workers = run.workers()
    os.killpg(run.process.pid, signal.SIGINT)  # as a terminal does
    story.codes.append(run.wait())
    story.seen["dead after Ctrl-C"] = (bool(workers), all_dead(workers, within=5.0))
    story.seen["files"] = {name for name in FILES if (run.out / name).exists()}
    story.seen["fits"] = [known, run.fits()]

    run = _start(desk, "disturbed")
    story.runs.append(run)
    story.codes.append(run.wait())
    return story


def _hopeless(desk: Desk) -> Story:
    run = desk.start(
        *("hopeless", "--data", "images", "--epochs", "12", "--folds", "2", "--image-size", "16", "--trials", "2"),
        *("--space", "hopeless.yaml", "--quiet"),
    )
    return Story(run.out, [run], [run.wait()])


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
            while not self._over.wait(0.2):
                (study,) = self._get(app, "/api/studies")["study_summaries"]
                number = study["study_id"]
                self.trials.append(len(self._get(app, f"/api/studies/{number}")["trials"]))
        except Exception as error:
            self.error = error

    def _get(self, app: Callable[..., Any], path: str) -> Any:
        environment: dict[str, Any] = {}
        setup_testing_defaults(environment)
        environment["PATH_INFO"] = path
        body = app(environment, lambda status, headers, *_: self.statuses.add(status))
        return json.loads(b"".join(body))


def test_a_search_leaves_its_files(undisturbed) -> None:
    assert undisturbed.codes[0] == run_search.DONE, undisturbed.runs[0].stderr
    assert undisturbed.seen["files"] == set(FILES)
    stdout = undisturbed.runs[0].stdout
    assert "Recommended:" in stdout
    assert "Expected balanced accuracy" in stdout
    assert str(undisturbed.out / "report.html") in stdout


def test_the_summary_keeps_its_contract(undisturbed) -> None:
    summary, fits = undisturbed.summary(), undisturbed.fits()
    assert summary["schema"] == 1
    assert summary["reason"] is None
    assert summary["data"]["classes"] == {"class 0": 20, "class 1": 20, "class 2": 20}
    assert summary["data"]["image_size"] == 16
    assert summary["device"] == "CPU"
    assert {"tensorflow", "keras", "optuna", "python"} <= set(summary["versions"])
    assert summary["trials"] == TRIALS == len(pd.read_csv(undisturbed.out / "trials.csv"))
    assert summary["fits"]["total"] == len(fits) == sum(summary["fits"][v] for v in set(summary["fits"]) - {"total"})
    assert summary["fits"]["failed"] == 0
    assert summary["epochs"]["run"] == fits.epochs.sum()
    assert summary["finalists"] == []
    assert set(summary["baselines"]) == {"constant", "knn", "logistic"}
    best = summary["recommended"]
    assert best["chance"] == pytest.approx(1 / 3)
    assert best["confirmed_mean"] is None
    assert best["promise_low"] <= best["promise"] <= best["promise_high"]
    assert best["chance"] < best["search_mean"] <= 1
    assert best["test"]["n"] == 15
    assert 0 <= best["test"]["score"] <= 1


def test_the_coordinator_never_loads_tensorflow(undisturbed) -> None:
    assert undisturbed.runs[0].stdout.splitlines()[-1].strip() == "loaded:"


def test_no_worker_is_left_after_a_search(undisturbed) -> None:
    assert undisturbed.seen["workers"]
    assert all_dead(undisturbed.seen["workers"], within=5.0)


def test_the_same_command_again_trains_nothing_and_writes_the_report(undisturbed) -> None:
    assert undisturbed.codes[1] == run_search.DONE, undisturbed.runs[1].stderr
    assert (undisturbed.out / "report.html").exists()
    for name, content in undisturbed.seen["first"].items():
        assert (undisturbed.out / name).read_bytes() == content


def test_report_makes_the_same_files_without_training(undisturbed, capsys) -> None:
    before = {name: (undisturbed.out / name).read_bytes() for name in FILES if name.endswith((".csv", ".yaml"))}
    for name in before:
        (undisturbed.out / name).unlink()
    assert run_search.main(["report", "--out", str(undisturbed.out)]) == run_search.DONE
    assert "Recommended:" in capsys.readouterr().out
    for name, content in before.items():
        assert (undisturbed.out / name).read_bytes() == content, name


def test_the_dashboard_sees_the_search_grow_and_does_no_harm(undisturbed) -> None:
    dashboard = undisturbed.seen["dashboard"]
    assert dashboard.error is None
    assert dashboard.statuses == {"200 OK"}
    assert dashboard.trials == sorted(dashboard.trials)
    assert dashboard.trials[0] < dashboard.trials[-1]
    log = (undisturbed.out / "run.log").read_text()
    assert "ERROR" not in log
    assert "WARNING" not in log


def test_a_killed_coordinator_leaves_no_worker(disturbed) -> None:
    assert disturbed.codes[0] == -signal.SIGKILL
    assert disturbed.seen["dead after the kill"] == (True, True)


def test_ctrl_c_keeps_everything_and_leaves_no_worker(disturbed) -> None:
    assert disturbed.codes[1] == run_search.INTERRUPTED, disturbed.runs[1].stderr
    assert "Interrupted; everything is kept." in disturbed.runs[1].stdout
    assert {"fits.csv", "trials.csv", "summary.json", "report.html", "study.db"} <= disturbed.seen["files"]
    assert disturbed.seen["dead after Ctrl-C"] == (True, True)
    killed, interrupted = disturbed.seen["fits"]
    assert 0 < killed < interrupted < len(disturbed.fits())


def test_a_resumed_search_ends_where_an_undisturbed_one_does(disturbed, undisturbed) -> None:
    """Killed, interrupted, its budget raised on the way: but for the times, the fits are the same."""
    assert disturbed.codes[2] == run_search.DONE, disturbed.runs[2].stderr
    ours, theirs = disturbed.fits(), undisturbed.fits()
    assert ours.key.is_unique
    pd.testing.assert_frame_equal(ours.drop(columns="seconds"), theirs.drop(columns="seconds"))
    trials = [pd.read_csv(story.out / "trials.csv").drop(columns="seconds") for story in (disturbed, undisturbed)]
    pd.testing.assert_frame_equal(*trials)


def test_when_everything_collapses_the_search_says_so(hopeless) -> None:
    assert hopeless.codes == [run_search.NOTHING_HEALTHY], hopeless.runs[0].stderr
    summary = hopeless.summary()
    assert summary["recommended"] is None
    assert summary["reason"]
    assert summary["fits"]["collapsed"] == summary["fits"]["total"] > 0
    assert sum(summary["collapse_reasons"].values()) > 0
    assert not (hopeless.out / "best_config.yaml").exists()
    assert (hopeless.out / "report.html").exists()
    assert summary["reason"] in hopeless.runs[0].stdout
