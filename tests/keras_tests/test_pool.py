"""Workers as real processes: what they answer, and what is left when they or their fits end badly."""

import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from search.data.corruptions import FORMS, corrupt
from search.fit_checks import Check
from search.records import Verdict
from search.selection import metrics
from search.training.job import FitJob
from search.workers import client, heartbeat
from search.workers.client import WorkerProcess
from search.workers.errors import Stopped, WorkerError, WorkerStalled
from search.workers.pool import WorkerProcessPool
from search.workers.protocol import TimingJob, TrainingData, WorkerResources
from tests.factories import fit_job
from tests.keras_tests import fake_workers


@pytest.fixture(scope="module")
def resources(tmp_path_factory) -> WorkerResources:
    return WorkerResources(threads=1, gpu=None, log=tmp_path_factory.mktemp("worker") / "worker.log")


@pytest.fixture(scope="module")
def data(resources, images, labels) -> TrainingData:
    np.save(resources.log.parent / "pixels.npy", images)
    return TrainingData(pixels=resources.log.parent / "pixels.npy", labels=labels, metric="balanced_accuracy")


@pytest.fixture(scope="module")
def make_job(make_configuration, labels) -> Callable[..., FitJob]:
    rows = np.arange(len(labels))

    def make(epochs: int, **changes) -> FitJob:
        values = {"configuration": make_configuration(dense_ratio=1.0), "train": rows[rows % 5 > 0], "val": rows[::5]}
        return fit_job(epochs=epochs, **{**values, **changes})

    return make


@pytest.fixture(scope="module")
def stop() -> threading.Event:
    return threading.Event()


@pytest.fixture(scope="module")
def real(resources, data, stop):
    """A worker with TensorFlow in it, for this whole module."""
    worker = WorkerProcess(resources, stop.is_set)
    worker.spawn()
    worker.set_data(data)  # before it is up
    yield worker
    worker.close()


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_fit_runs_and_repeats_in_the_same_process(real, make_job, tmp_path, images, labels) -> None:
    checks: list[Check] = []
    outcome = real.run(make_job(4), checks.append)
    pid = real.pid
    assert outcome.verdict is Verdict.LEARNED
    assert repr(outcome.checks) == repr(tuple(checks))
    assert len(checks) == 4
    assert outcome.probabilities.shape == (12, 3)
    assert (real.ready.device, real.ready.on_gpu) == ("CPU", False)
    assert set(real.ready.versions) == {"tensorflow", "keras"}

    np.save(tmp_path / "test.npy", images[::5])
    again = real.run(make_job(4, predict=tmp_path / "test.npy"))
    assert repr(again.checks) == repr(outcome.checks)  # not a number is not equal to itself
    np.testing.assert_allclose(again.predicted, outcome.probabilities, atol=1e-6)
    assert real.pid == pid


def test_corrupted_copies_are_scored_after_a_fit_and_change_nothing_in_it(
    real, make_job, tmp_path, images, labels
) -> None:
    plain = real.run(make_job(4))
    done = real.run(make_job(4, corrupt=True))
    assert repr(done.checks) == repr(plain.checks)
    assert (done.probabilities == plain.probabilities).all()
    assert plain.corrupted == {}
    assert tuple(done.corrupted) == FORMS
    assert all(0 <= score <= 1 for score in done.corrupted.values())
    assert len(set(done.corrupted.values())) > 1
    # Copies that are given as images of their own are said to be the same.
    val = np.arange(len(labels))[::5]
    np.save(tmp_path / "copies.npy", corrupt(images[val], "noise/2"))
    others = real.run(make_job(4, predict=tmp_path / "copies.npy")).predicted
    assert done.corrupted["noise/2"] == metrics.score("balanced_accuracy", labels[val], others)


def test_an_epoch_has_a_price(real, make_job, make_configuration) -> None:
    job = make_job(4, configuration=make_configuration(dense_ratio=1.0, dense_units=7))  # not traced before
    pricing = TimingJob(
        configuration=job.configuration, protocol=job.protocol, train=job.train, val=job.val, seconds=None
    )
    ready = real.run_timing(pricing)
    assert ready.trace > 0
    assert ready.epoch == 0, "nothing but ready was asked for"
    priced = real.run_timing(replace(pricing, seconds=0.2))
    assert 0 < priced.epoch < 0.2


def test_a_task_runs_in_the_worker_with_the_last_fits_network(real, make_job) -> None:
    real.run(make_job(4))
    assert real.run_task(fake_workers.Look()) == (real.pid, True)
    with pytest.raises(WorkerError, match="ValueError: no such layer"):
        real.run_task(fake_workers.Stumble())
    assert real.run_task(fake_workers.Look()) == (real.pid, False)
    assert real.run(make_job(4)).verdict is Verdict.LEARNED


def test_a_fit_that_raises_is_a_fault_with_its_traceback_and_the_next_one_runs(real, make_job, labels) -> None:
    with pytest.raises(WorkerError, match="Traceback"):
        real.run(make_job(4, train=np.array([10_000] * 8)))
    assert real.run(make_job(4)).verdict is Verdict.LEARNED


def test_a_fit_is_stopped_and_the_next_one_runs(real, make_job, stop) -> None:
    pid = real.pid

    heard = []

    def stop_now(check: Check) -> None:
        heard.append(check.epoch)
        stop.set()

    with pytest.raises(Stopped):
        real.run(make_job(3000), stop_now)
    assert heard[-1] < 3000
    stop.clear()
    assert real.run(make_job(4)).verdict is Verdict.LEARNED
    assert real.pid == pid, "it listened: there was no need to kill it"


def test_a_worker_that_is_killed_is_a_fault_and_the_next_fit_runs_in_a_new_one(real, make_job) -> None:
    first = real.run(make_job(4))
    pid = real.pid
    with pytest.raises(WorkerError, match=r"worker died \(exit code -9\)"):
        real.run(make_job(3000), lambda check: os.kill(pid, signal.SIGKILL))
    assert not is_alive(pid)
    again = real.run(make_job(4))
    assert real.pid != pid
    assert repr(again.checks) == repr(first.checks)  # not a number is not equal to itself


def test_a_worker_is_replaced_after_many_jobs(resources, monkeypatch, make_job) -> None:
    monkeypatch.setattr(client, "main", fake_workers.obedient)
    monkeypatch.setattr(client, "_RECYCLE_AFTER", 2)
    workers = WorkerProcessPool([resources], lambda: False)
    with workers.worker() as worker:
        first, second, third = (int(worker.run(make_job(4)).start["pid"]) for _ in range(3))
    assert first == second != third
    assert not is_alive(first)
    assert workers.ready == fake_workers.READY
    workers.close()
    assert not is_alive(third)
    workers.close()


def test_a_worker_that_does_not_listen_is_killed(resources, monkeypatch, make_job) -> None:
    monkeypatch.setattr(client, "main", fake_workers.deaf)
    monkeypatch.setattr(heartbeat, "_BUILD_SECONDS", 0.5)
    monkeypatch.setattr(client, "_STOP_SECONDS", 0.3)
    stop = threading.Event()
    worker = WorkerProcess(resources, stop.is_set)
    worker.start()
    pid = worker.pid
    with pytest.raises(WorkerError, match="worker stalled: no message for 0 s"):
        worker.run(make_job(4))
    assert not is_alive(pid)
    worker.start()
    pid = worker.pid
    stop.set()
    with pytest.raises(Stopped):
        worker.run(make_job(4))
    assert not is_alive(pid)


def test_a_worker_that_stalls_after_some_epochs_is_killed_sooner(resources, monkeypatch, make_job) -> None:
    """It was silent three times as long as before its first word."""
    monkeypatch.setattr(client, "main", fake_workers.tiring)
    monkeypatch.setattr(heartbeat, "_TIMEOUT_SECONDS", 0.2)
    worker = WorkerProcess(resources, lambda: False)
    with pytest.raises(WorkerStalled, match="worker stalled"):
        worker.run(make_job(4))
    worker.close()


def test_a_worker_that_has_grown_is_replaced(resources, monkeypatch, make_job) -> None:
    monkeypatch.setattr(client, "main", fake_workers.obedient)
    worker = WorkerProcess(replace(resources, memory=1_000_000_000), lambda: False)
    first = worker.run(make_job(4)).start
    assert worker.run(make_job(4)).start == first
    monkeypatch.setattr(worker, "_resources", replace(resources, memory=1_000_000))
    assert worker.run(make_job(4)).start != first
    worker.close()


def test_a_fit_of_which_the_worker_died_is_done_again_alone(resources, monkeypatch, make_job) -> None:
    monkeypatch.setattr(client, "main", fake_workers.slow)
    workers = WorkerProcessPool([resources, resources], lambda: False)
    spans: dict[str, tuple[float, float]] = {}

    def run(name: str, *, alone: bool) -> None:
        with workers.worker() as worker:
            worker.start()
            start = worker.run(make_job(4), alone=alone).start
            spans[name] = start["began"], start["ended"]

    workers.start()
    threads = [threading.Thread(target=run, args=(name,), kwargs={"alone": name == "b"}) for name in "abc"]
    for thread in threads:
        thread.start()
        time.sleep(0.1)
    for thread in threads:
        thread.join()
    workers.close()
    (began, ended), *others = (spans[name] for name in "bac")
    assert all(end <= began or ended <= begin for begin, end in others)


def test_a_worker_that_can_not_start_says_why(resources, monkeypatch) -> None:
    monkeypatch.setattr(client, "main", fake_workers.broken)
    worker = WorkerProcess(resources, lambda: False)
    with pytest.raises(WorkerError, match=r"worker did not start: .*no such library"):
        worker.start()
    worker.close()
