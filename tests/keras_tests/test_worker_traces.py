"""What a worker keeps from fit to fit: traced networks, a bounded number, without any effect on results."""

import numpy as np
import pytest

from search.collapse.rules import Context
from search.settings import Protocol
from search.study import worker
from search.study.worker import Done, Job, Material, Seat


class Pipe:
    def poll(self) -> bool:
        return False

    def send(self, message: object) -> None: ...


@pytest.fixture(scope="module")
def bench(tmp_path_factory, images, labels):
    folder = tmp_path_factory.mktemp("bench")
    np.save(folder / "pixels.npy", images)
    bench = worker._Bench(Pipe(), Seat(threads=None, gpu=None, log=folder / "worker.log"))
    bench.supply(Material(pixels=folder / "pixels.npy", labels=labels, metric="balanced_accuracy"))
    return bench


@pytest.fixture
def fit(bench, make_configuration, labels):
    rows = np.arange(len(labels))

    def fit(units: int, seed: int = 1) -> np.ndarray:
        done = bench.answer(
            Job(
                configuration=make_configuration(dense_ratio=1.0, dense_units=units),
                protocol=Protocol(epochs=2, image_size=8, channels=3, classes=3),
                train=rows[rows % 5 > 0],
                val=rows[::5],
                seed=seed,
                context=Context(epochs=2, updates_per_epoch=6, imbalance=3, batchnorm=False, prior_entropy=1.0),
                audited=False,
            )
        )
        assert isinstance(done, Done), done
        return done.outcome.probabilities

    return fit


def test_networks_come_round_again_without_a_new_trace_and_say_the_same(bench, fit, monkeypatch) -> None:
    monkeypatch.setattr(worker, "TRACED", 2)
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


def test_another_seed_is_another_fit(fit) -> None:
    assert not np.array_equal(fit(8, seed=1), fit(8, seed=2))
