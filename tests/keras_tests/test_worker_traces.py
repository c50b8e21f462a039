"""What a worker keeps from fit to fit: traced networks, a bounded number, without any effect on results."""

import threading
from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf

from search.records import FitOutcome, Verdict
from search.training.engine import Engine
from search.training.fit import Interrupted
from search.training.job import FitJob
from search.workers import engine_cache
from search.workers.job_runner import JobRunner
from search.workers.microbatching import MicrobatchMemory
from search.workers.protocol import JobStopped, TimingJob, TrainingData, WorkerResources
from tests.factories import fit_job


@pytest.fixture(scope="module")
def stop():
    """While it is set, jobs are to end."""
    return threading.Event()


@pytest.fixture(scope="module")
def runner(tmp_path_factory, images, labels, stop):
    folder = tmp_path_factory.mktemp("runner")
    np.save(folder / "pixels.npy", images)

    def check_stop() -> None:
        if stop.is_set():
            raise Interrupted

    runner = JobRunner(WorkerResources(threads=None, gpu=None, log=folder / "log"), lambda message: None, check_stop)
    runner.set_data(TrainingData(pixels=folder / "pixels.npy", labels=labels, metric="balanced_accuracy"))
    return runner


@pytest.fixture
def fit(runner, job):
    def fit(units: int, seed: int = 1) -> np.ndarray:
        done = runner.run(job(units, seed))
        assert isinstance(done, FitOutcome), done
        return done.probabilities

    return fit


@pytest.fixture
def job(make_configuration, labels):
    rows = np.arange(len(labels))

    def job(units: int, seed: int = 1) -> FitJob:
        return fit_job(
            configuration=make_configuration(dense_ratio=1.0, dense_units=units),
            epochs=2,
            train=rows[rows % 5 > 0],
            val=rows[::5],
            seed=seed,
        )

    return job


def test_networks_come_round_again_without_a_new_trace_and_say_the_same(runner, fit, monkeypatch) -> None:
    monkeypatch.setattr(engine_cache, "MAX_ENGINES", 2)
    first = fit(8)
    engines = list(runner.engines._engines.values())
    fit(9)
    again = fit(8)
    assert runner.engines.last is engines[-1]  # the one used last comes last
    assert np.array_equal(first, again)
    fit(10)
    assert len(runner.engines) == 2
    fit(9)  # had to go
    assert np.array_equal(fit(8), first)


def test_what_was_timed_is_traced_already_whatever_the_plan_makes_of_its_epochs(runner, job) -> None:
    one = job(14)
    longer = replace(one.protocol, epochs=50)
    runner.run(TimingJob(configuration=one.configuration, protocol=longer, train=one.train, val=one.val, seconds=None))
    priced = runner.engines.last
    timed = runner.run(one)
    assert runner.engines.last is priced
    runner.engines.clear()
    assert np.array_equal(runner.run(one).probabilities, timed.probabilities)


def test_batch_norm_knows_how_long_a_fit_is(runner, job) -> None:
    one = job(14)
    one = replace(one, configuration=replace(one.configuration, normalization="batch"))
    runner.run(one)
    first = runner.engines.last
    runner.run(replace(one, updates=500))
    assert runner.engines.last is not first


def test_only_graphs_of_small_images_run_as_they_are_traced(tmp_path, labels) -> None:
    resources = WorkerResources(threads=None, gpu=None, log=tmp_path / "worker.log")
    runner = JobRunner(resources, lambda message: None, lambda: None)
    for side, as_traced in ((8, True), (65, False), (64, True)):
        pixels = tmp_path / f"{side}.npy"
        np.save(pixels, np.zeros((len(labels), side, side, 3), np.uint8))
        runner.set_data(TrainingData(pixels=pixels, labels=labels, metric="balanced_accuracy"))
        assert tf.config.optimizer.get_experimental_options()["disable_meta_optimizer"] is as_traced


def test_another_seed_is_another_fit(fit) -> None:
    assert not np.array_equal(fit(8, seed=1), fit(8, seed=2))


class Cramped:
    """Has room for so many images of a batch at once."""

    def __init__(self, monkeypatch, images: int) -> None:
        self.tried: list[int] = []
        train = Engine.train_epoch

        def train_epoch(engine: Engine, *arguments, **options):
            size = engine.configuration.batch_size // engine.microbatches
            if not self.tried or self.tried[-1] != size:
                self.tried.append(size)
            if size > images:
                raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor")
            return train(engine, *arguments, **options)

        monkeypatch.setattr(Engine, "train_epoch", train_epoch)


def test_a_batch_that_finds_no_room_is_split_and_what_is_known_is_not_tried_again(runner, job, monkeypatch) -> None:
    whole = runner.run(job(12))
    runner.engines.clear()
    cramped = Cramped(monkeypatch, images=2)
    done = runner.run(job(12))
    assert cramped.tried == [8, 4, 2]
    np.testing.assert_allclose(done.probabilities, whole.probabilities, atol=1e-5)
    assert done.start["parts_of_a_batch"] == 4
    runner.engines.clear()
    memory = MicrobatchMemory()
    memory.learn(job(12), done)
    runner.run(replace(job(12, seed=2), microbatches=memory.microbatches(job(12, seed=2))))
    assert cramped.tried == [8, 4, 2]


def test_a_fit_that_began_in_microbatches_goes_on_in_them(runner, job, stop, monkeypatch, tmp_path) -> None:
    cramped = Cramped(monkeypatch, images=2)
    one = replace(job(12), checkpoint=tmp_path / "one.npz")
    whole = runner.run(job(12))

    stop.set()
    assert isinstance(runner.run(one), JobStopped)
    stop.clear()
    runner.engines.clear()
    cramped.tried.clear()
    done = runner.run(one)
    assert cramped.tried == [2]
    np.testing.assert_array_equal(done.probabilities, whole.probabilities)


def test_where_one_image_finds_no_room_the_fit_says_so(runner, job, fit, monkeypatch) -> None:
    with monkeypatch.context() as patch:
        Cramped(patch, images=0)
        outcome = runner.run(job(13))
    assert (outcome.verdict, outcome.reason, outcome.epochs) == (Verdict.STOPPED, "too-large", 0)
    assert len(fit(8)) == 12, "the worker goes on"
