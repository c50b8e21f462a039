"""From the command line to the run folder, through kills and interruptions, watched by optuna-dashboard.

Each start loads TensorFlow in a process of its own, so a few searches serve all tests: `undisturbed`, `disturbed`
(the same command with two ends in between) and `hopeless`.
"""

import signal
from collections.abc import Iterator
from concurrent.futures import Future

import pandas as pd
import pytest

import run_search
from commands.terminal import DONE, INTERRUPTED, NOTHING_HEALTHY
from tests.keras_tests.runs import all_dead
from tests.keras_tests.search_histories import FILES, TRIALS, SearchHistory, started_searches


@pytest.fixture(scope="module")
def searches(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Future[SearchHistory]]]:
    with started_searches(tmp_path_factory.mktemp("searches")) as under_way:
        yield under_way


@pytest.fixture(scope="module")
def undisturbed(searches) -> SearchHistory:
    return searches["undisturbed"].result()


@pytest.fixture(scope="module")
def disturbed(searches) -> SearchHistory:
    return searches["disturbed"].result()


@pytest.fixture(scope="module")
def hopeless(searches) -> SearchHistory:
    return searches["hopeless"].result()


def test_a_search_leaves_its_files(undisturbed) -> None:
    assert undisturbed.codes[0] == DONE, undisturbed.runs[0].stderr
    assert undisturbed.observed["files"] == set(FILES)
    stdout = undisturbed.runs[0].stdout
    assert "Recommended:" in stdout
    assert "Expected balanced accuracy" in stdout
    assert str(undisturbed.out / "report.html") in stdout


def test_the_summary_keeps_its_contract(undisturbed) -> None:
    summary, fits = undisturbed.summary(), undisturbed.fits().query("stage == 'search'")
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
    (finalist,) = summary["finalists"]
    assert finalist["R"] == pytest.approx(finalist["mean"] - finalist["se"])
    fresh = undisturbed.fits().query("stage == 'confirm'")
    assert finalist["mean"] == pytest.approx(fresh.score.mean())
    assert set(summary["baselines"]) == {"constant", "knn", "logistic"}
    best = summary["recommended"]
    assert best["chance"] == pytest.approx(1 / 3)
    assert best["confirmed_mean"] == finalist["mean"]
    assert best["fits"] == finalist["fits"] == len(fresh) == 3
    assert best["promise_low"] <= best["promise"] <= best["promise_high"]
    assert best["chance"] < best["search_mean"] <= 1
    assert best["test"]["n"] == 15
    assert 0 <= best["test"]["score"] <= 1


def test_tensorflow_has_nothing_to_warn_of(undisturbed) -> None:
    log = (undisturbed.out / "worker.log").read_text()
    assert "WARNING:tensorflow" not in log


def test_the_coordinator_never_loads_tensorflow(undisturbed) -> None:
    assert undisturbed.runs[0].stdout.splitlines()[-1].strip() == "loaded:"


def test_no_worker_is_left_after_a_search(undisturbed) -> None:
    assert undisturbed.observed["workers"]
    assert all_dead(undisturbed.observed["workers"], within=5.0)


def test_the_same_command_again_trains_nothing_and_writes_the_report(undisturbed) -> None:
    assert undisturbed.codes[1] == DONE, undisturbed.runs[1].stderr
    assert (undisturbed.out / "report.html").exists()
    for name, content in undisturbed.observed["first"].items():
        assert (undisturbed.out / name).read_bytes() == content


def test_report_makes_the_same_files_without_training(undisturbed, capsys) -> None:
    before = {name: (undisturbed.out / name).read_bytes() for name in FILES if name.endswith((".csv", ".yaml"))}
    for name in before:
        (undisturbed.out / name).unlink()
    assert run_search.main(["report", "--out", str(undisturbed.out)]) == DONE
    assert "Recommended:" in capsys.readouterr().out
    for name, content in before.items():
        assert (undisturbed.out / name).read_bytes() == content, name


def test_the_dashboard_sees_the_search_grow_and_does_no_harm(undisturbed) -> None:
    dashboard = undisturbed.observed["dashboard"]
    assert dashboard.error is None
    assert dashboard.statuses == {"200 OK"}
    assert dashboard.trials == sorted(dashboard.trials)
    assert dashboard.trials[0] < TRIALS  # it was up while the search went on
    assert dashboard.trials[-1] == TRIALS
    log = (undisturbed.out / "run.log").read_text()
    assert "ERROR" not in log
    assert "WARNING" not in log


def test_a_killed_coordinator_leaves_no_worker(disturbed) -> None:
    assert disturbed.codes[0] == -signal.SIGKILL
    assert disturbed.observed["dead after the kill"] == (True, True)


def test_ctrl_c_keeps_everything_and_leaves_no_worker(disturbed) -> None:
    assert disturbed.codes[1] == INTERRUPTED, disturbed.runs[1].stderr
    assert "Interrupted; all results are kept." in disturbed.runs[1].stdout
    assert {"fits.csv", "trials.csv", "summary.json", "report.html", "study.db"} <= disturbed.observed["files"]
    assert disturbed.observed["dead after Ctrl-C"] == (True, True)
    killed, interrupted = disturbed.observed["fits"]
    assert 0 < killed < interrupted < len(disturbed.fits())


def test_a_resumed_search_ends_where_an_undisturbed_one_does(disturbed, undisturbed) -> None:
    """Killed, interrupted, its budget raised on the way: but for the times, the fits are the same."""
    assert disturbed.codes[2] == DONE, disturbed.runs[2].stderr
    ours, theirs = disturbed.fits(), undisturbed.fits()
    assert ours.key.is_unique
    searched = [
        fits.query("stage == 'search'").reset_index(drop=True).drop(columns="seconds") for fits in (ours, theirs)
    ]
    pd.testing.assert_frame_equal(*searched)
    confirmed = [set(fits.query("stage == 'confirm'").key) for fits in (ours, theirs)]
    assert confirmed[0] >= confirmed[1]  # after the first budget others may have been finalists too
    trials = [pd.read_csv(history.out / "trials.csv").drop(columns="seconds") for history in (disturbed, undisturbed)]
    pd.testing.assert_frame_equal(*trials)


def test_when_everything_collapses_the_search_says_so(hopeless) -> None:
    assert hopeless.codes == [NOTHING_HEALTHY], hopeless.runs[0].stderr
    summary = hopeless.summary()
    assert summary["recommended"] is None
    assert summary["reason"]
    assert summary["fits"]["collapsed"] == summary["fits"]["total"] > 0
    assert sum(summary["collapse_reasons"].values()) > 0
    assert not (hopeless.out / "best_config.yaml").exists()
    assert (hopeless.out / "report.html").exists()
    assert summary["reason"] in hopeless.runs[0].stdout
