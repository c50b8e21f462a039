"""What a worker keeps from fit to fit: traced networks, a bounded number, without any effect on results."""

from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf

from search.records import FitOutcome, Verdict
from search.training.engine import Engine
from search.training.fit import Interrupted
from search.training.job import FitJob
from search.workers import server
from search.workers.microbatching import MicrobatchMemory
from search.workers.protocol import JobStopped, TimingJob, TrainingData, WorkerResources
from tests.factories import fit_job


class Pipe:
    def poll(self) -> bool:
        return False

    def send(self, message: object) -> None: ...


@pytest.fixture(scope="module")
def bench(tmp_path_factory, images, labels):
    folder = tmp_path_factory.mktemp("bench")
    np.save(folder / "pixels.npy", images)
    bench = server._JobServer(Pipe(), WorkerResources(threads=None, gpu=None, log=folder / "worker.log"))
    bench.supply(TrainingData(pixels=folder / "pixels.npy", labels=labels, metric="balanced_accuracy"))
    return bench


@pytest.fixture
def fit(bench, job):
    def fit(units: int, seed: int = 1) -> np.ndarray:
        done = bench.answer(job(units, seed))
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


def test_networks_come_round_again_without_a_new_trace_and_say_the_same(bench, fit, monkeypatch) -> None:
    monkeypatch.setattr(server, "TRACED", 2)
    first = fit(8)
    engines = list(bench._engines.values())
    fit(9)
    again = fit(8)
    assert list(bench._engines.values())[-1] is engines[-1]  # the one used last comes last
    assert np.array_equal(first, again)
    fit(10)
    assert len(bench._engines) == 2
    fit(9)  # had to go
    assert np.array_equal(fit(8), first)


def test_what_was_timed_is_traced_already_whatever_the_plan_makes_of_its_epochs(bench, job) -> None:
    one = job(14)
    longer = replace(one.protocol, epochs=50)
    bench.answer(
        TimingJob(configuration=one.configuration, protocol=longer, train=one.train, val=one.val, seconds=None)
    )
    priced = list(bench._engines.values())[-1]
    timed = bench.answer(one)
    assert list(bench._engines.values())[-1] is priced
    bench._engines.clear()
    assert np.array_equal(bench.answer(one).probabilities, timed.probabilities)


def test_batch_norm_knows_how_long_a_fit_is(bench, job) -> None:
    one = job(14)
    one = replace(one, configuration=replace(one.configuration, normalization="batch"))
    bench.answer(one)
    first = list(bench._engines.values())[-1]
    bench.answer(replace(one, updates=500))
    assert list(bench._engines.values())[-1] is not first


def test_only_graphs_of_small_images_run_as_they_are_traced(tmp_path, labels) -> None:
    bench = server._JobServer(Pipe(), WorkerResources(threads=None, gpu=None, log=tmp_path / "worker.log"))
    for side, as_traced in ((8, True), (65, False), (64, True)):
        pixels = tmp_path / f"{side}.npy"
        np.save(pixels, np.zeros((len(labels), side, side, 3), np.uint8))
        bench.supply(TrainingData(pixels=pixels, labels=labels, metric="balanced_accuracy"))
        assert tf.config.optimizer.get_experimental_options()["disable_meta_optimizer"] is as_traced


def test_another_seed_is_another_fit(fit) -> None:
    assert not np.array_equal(fit(8, seed=1), fit(8, seed=2))


class Cramped:
    """Has room for so many images of a batch at once."""

    def __init__(self, monkeypatch, images: int) -> None:
        self.tried: list[int] = []
        train = Engine.train_epoch

        def train_epoch(engine: Engine, *arguments, **options):
            size = engine.configuration.batch_size // engine.parts
            if not self.tried or self.tried[-1] != size:
                self.tried.append(size)
            if size > images:
                raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor")
            return train(engine, *arguments, **options)

        monkeypatch.setattr(Engine, "train_epoch", train_epoch)


def test_a_batch_that_finds_no_room_is_split_and_what_is_known_is_not_tried_again(bench, job, monkeypatch) -> None:
    whole = bench.answer(job(12))
    bench._engines.clear()
    cramped = Cramped(monkeypatch, images=2)
    done = bench.answer(job(12))
    assert cramped.tried == [8, 4, 2]
    np.testing.assert_allclose(done.probabilities, whole.probabilities, atol=1e-5)
    assert done.start["parts_of_a_batch"] == 4
    bench._engines.clear()
    room = MicrobatchMemory()
    room.learn(job(12), done)
    bench.answer(replace(job(12, seed=2), microbatches=room.parts(job(12, seed=2))))
    assert cramped.tried == [8, 4, 2]


def test_a_fit_that_began_in_parts_goes_on_in_them(bench, job, monkeypatch, tmp_path) -> None:
    cramped = Cramped(monkeypatch, images=2)
    one = replace(job(12), checkpoint=tmp_path / "one.npz")
    whole = bench.answer(job(12))

    def heed(bench: object, epoch: int) -> None:
        raise Interrupted

    with monkeypatch.context() as patch:
        patch.setattr(type(bench), "_heed", heed)
        assert isinstance(bench.answer(one), JobStopped)
    bench._engines.clear()
    cramped.tried.clear()
    done = bench.answer(one)
    assert cramped.tried == [2]
    np.testing.assert_array_equal(done.probabilities, whole.probabilities)


def test_where_one_image_finds_no_room_the_fit_says_so(bench, job, fit, monkeypatch) -> None:
    with monkeypatch.context() as patch:
        Cramped(patch, images=0)
        outcome = bench.answer(job(13))
    assert (outcome.verdict, outcome.reason, outcome.epochs) == (Verdict.STOPPED, "too-large", 0)
    assert len(fit(8)) == 12, "the worker goes on"
