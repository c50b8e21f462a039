"""Which number of workers is chosen, and that an earlier choice is kept."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from search import resources
from search.request import SearchRequest
from search.session import worker_count
from search.session.worker_count import (
    PRETRAINED_BYTES,
    WorkerCount,
    candidates,
    load_worker_count,
    save_worker_count,
    time_pools,
)
from search.session.worker_pools import WorkerPools
from search.settings import Budget, TrainingProtocol
from search.storage.ledger import Ledger
from search.workers.devices import Gpu
from search.workers.errors import WorkerError
from search.workers.protocol import Timing, TimingJob, WorkerReady, WorkerResources
from spaces.image_format import ImageFormat
from spaces.presets import CORE
from tests.factories import configuration
from tests.stand_ins import memory

GB = 1_000_000_000
PRICING = TimingJob(
    configuration=configuration(),
    protocol=TrainingProtocol(epochs=2, images=ImageFormat(image_size=8, channels=1), classes=2),
    train=np.arange(8),
    val=np.arange(2),
    seconds=None,
)


@pytest.mark.parametrize(
    ("cores", "bytes_", "expected"),
    [
        (1, 64 * GB, (1,)),
        (2, 64 * GB, (1, 2)),
        (4, 64 * GB, (1, 4)),
        (8, 64 * GB, (1, 3, 8)),
        (8, 16 * GB, (1, 8)),  # no room for three more beside the eight
        (8, 5 * GB, (1, 2)),  # a worker may need 1.5 GB, and while they are compared there is one more
        (8, 1 * GB, (1,)),
        (64, 512 * GB, (1, 4, 16)),
    ],
)
def test_candidates_are_one_and_as_many_as_cores_and_memory_bear(
    cores: int, bytes_: int, expected: tuple[int, ...]
) -> None:
    assert candidates(cores, bytes_) == expected


def test_what_needs_more_memory_has_fewer_workers() -> None:
    assert candidates(8, 16 * GB, each=PRETRAINED_BYTES) == (1, 3)
    assert candidates(2, 24 * GB, each=PRETRAINED_BYTES) == (1, 2)


def test_no_more_workers_than_trials() -> None:
    assert candidates(8, 64 * GB, trials=3) == (1, 3)
    assert candidates(8, 64 * GB, trials=1) == (1,)


class Crew:
    """Stands for a pool whose workers must all be at it at once; an epoch takes so long."""

    def __init__(self, resources: Sequence[WorkerResources], epoch: float) -> None:
        self.resources, self.epoch = resources, epoch
        self.meeting = threading.Barrier(len(resources), timeout=10)
        self.asked: list[float | None] = []
        self.spawned = self.closed = False
        self.ready = WorkerReady("CPU", False, {"tensorflow": "none"}, 0.0)

    def __len__(self) -> int:
        return len(self.resources)

    def spawn(self) -> None:
        self.spawned = True

    def set_data(self, data: object) -> None: ...

    def start(self) -> None: ...

    def close(self) -> None:
        self.closed = True

    @contextmanager
    def worker(self) -> Iterator[Crew]:
        yield self

    def run_timing(self, pricing: TimingJob) -> Timing:
        self.meeting.wait()
        self.asked.append(pricing.seconds)
        return Timing(2.0, 0.0) if pricing.seconds is None else Timing(0.1, self.epoch)


def executor(count: int, epoch: float) -> Any:
    return Crew([WorkerResources(threads=1, gpu=None, log=Path("worker.log"))] * count, epoch)


def test_a_pool_is_timed_with_all_its_workers_at_once_after_they_have_traced() -> None:
    pool = executor(3, 0.5)
    assert time_pools([pool], PRICING, 1.0) == [(pool, Timing(2.0, 0.5))]
    assert pool.asked == [None] * 3 + [1.0] * 3


@pytest.mark.parametrize(
    ("one", "four", "chosen"),
    [(1.0, 3.9, 4), (1.0, 4.1, 1), (0.2, 0.2, 4)],  # seconds an epoch takes each of them
)
def test_most_epochs_a_second_win(one: float, four: float, chosen: int) -> None:
    pools = [executor(1, one), executor(4, four)]
    (first, priced), (second, _) = time_pools(pools, PRICING, 1.0)
    assert (len(first), len(second)) == (chosen, 5 - chosen)
    assert worker_count.rate(first, priced) == chosen / (one if chosen == 1 else four)


def test_a_pool_that_faults_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    def fault(pricing: object) -> Timing:
        raise WorkerError("Traceback ...\nMemoryError: no more")

    many = executor(4, 0.1)
    many.run_timing = fault
    one = executor(1, 1.0)
    assert [pool for pool, _ in time_pools([one, many], PRICING, 1.0)] == [one]
    assert "4 workers at once could not be timed: MemoryError: no more" in caplog.text


def test_what_was_found_is_said() -> None:
    sentence = WorkerCount(4, 1, {"1": 123.4, "4": 87.65}).sentence
    assert sentence == "Epochs a second: 123 with 1 worker, 87.7 with 4 workers; 1 chosen."


def test_a_choice_is_kept_for_machines_with_as_many_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = Ledger(memory(), "study")
    monkeypatch.setattr(resources, "cores", lambda: 4)
    monkeypatch.setattr(resources, "memory", lambda: 64 * GB)
    assert load_worker_count(ledger) is None
    found = WorkerCount(4, 4, {"1": 1.0, "4": 2.0})
    save_worker_count(ledger, found)
    assert load_worker_count(ledger) == found
    monkeypatch.setattr(resources, "memory", lambda: 4 * GB)
    assert load_worker_count(ledger) is None, "there is not memory enough for four"
    monkeypatch.setattr(resources, "memory", lambda: 64 * GB)
    monkeypatch.setattr(resources, "cores", lambda: 8)
    assert load_worker_count(ledger) is None


class Office:
    """Makes crews, and remembers them."""

    def __init__(self, *, on_gpu: bool = False) -> None:
        self.made: list[Any] = []
        self.on_gpu = on_gpu

    def __call__(self, resources: Sequence[WorkerResources], must_stop: object) -> Any:
        pool: Any = executor(len(resources), 0.3)
        pool.resources = resources
        pool.ready = WorkerReady("GPU" if self.on_gpu else "CPU", self.on_gpu, {}, 0.0)
        self.made.append(pool)
        return pool


GPU = Gpu(0, "NVIDIA A100", 40960 * 2**20, 8.0)


@pytest.fixture
def ledger(monkeypatch: pytest.MonkeyPatch) -> Ledger:
    monkeypatch.setattr(resources, "cores", lambda: 4)
    monkeypatch.setattr(resources, "memory", lambda: 64 * GB)
    monkeypatch.setattr("os.cpu_count", lambda: 4)
    ledger = Ledger(memory(), "study")
    ledger.set_fact("versions", {})
    return ledger


def pools(
    office: Office,
    workers: int | None = None,
    gpus: tuple[Gpu, ...] = (),
    seconds: float | None = None,
    image_size: int | None = None,
) -> WorkerPools:
    budget = Budget(trials=50, seconds=seconds, until_no_progress=False)
    request = SearchRequest(
        data=Path("images"), out=Path("out"), space=CORE, budget=budget, workers=workers, image_size=image_size
    )
    return WorkerPools(request, gpus, office, lambda: False)


def test_one_and_many_load_tensorflow_while_images_are_read_and_the_slower_ones_go(ledger: Ledger) -> None:
    office = Office()
    created = pools(office)
    created.create(None, will_train=True)
    assert [(len(pool), pool.spawned) for pool in office.made] == [(1, True), (4, True)]
    assert [resources.threads for resources in office.made[0].resources] == [None]
    assert [resources.threads for resources in office.made[1].resources] == [1] * 4
    created.start(ledger)
    assert created.is_undecided
    assert created.measure(ledger, PRICING, epoch_ratio=3.0) == Timing(2.0, 3 * 0.3)
    assert created.measured == WorkerCount(4, 4, {"1": 1 / (3 * 0.3), "4": 4 / (3 * 0.3)})
    assert not created.is_undecided
    assert created.pool is office.made[1]
    assert [pool.closed for pool in office.made] == [True, False]

    again = Office()
    later = pools(again)
    later.create(ledger, will_train=True)
    assert [len(pool) for pool in again.made] == [4]


@pytest.mark.parametrize(
    ("workers", "gpus", "will_train", "expected"),
    [
        (3, (), True, [3]),
        (1, (), True, [1]),
        (None, (GPU, GPU), True, [2]),
        (None, (), False, [1]),  # nothing to train: nothing to measure
    ],
)
def test_nothing_is_left_to_measure(
    workers: int | None, gpus: tuple[Gpu, ...], will_train: bool, expected: list[int], ledger: Ledger
) -> None:
    office = Office(on_gpu=True)
    created = pools(office, workers, gpus)
    created.create(ledger, will_train=will_train)
    assert [len(pool) for pool in office.made] == expected
    assert [pool.spawned for pool in office.made] == [will_train]
    assert not created.is_undecided


@pytest.mark.parametrize(("size", "expected"), [(None, [4]), (64, [4]), (128, [1])])
def test_with_little_time_nothing_is_measured(size: int | None, expected: list[int], ledger: Ledger) -> None:
    office = Office()
    pools(office, seconds=300.0, image_size=size).create(None, will_train=True)
    assert [len(pool) for pool in office.made] == expected


def test_what_can_not_be_timed_is_searched_all_the_same(ledger: Ledger) -> None:
    office = Office()
    created = pools(office)
    created.create(None, will_train=True)
    created.start(ledger)

    def fault(pricing: object) -> Timing:
        raise WorkerError("Traceback ...\nValueError: this network is impossible")

    for pool in office.made:
        pool.run_timing = fault
    assert created.measure(ledger, PRICING) is None
    assert (len(created.pool), created.measured) == (1, None)
    assert [pool.closed for pool in office.made] == [False, True]


def test_workers_that_can_not_be_started_beside_the_first_are_done_without(
    ledger: Ledger, caplog: pytest.LogCaptureFixture
) -> None:
    office = Office()
    created = pools(office)
    created.create(None, will_train=True)

    def fault() -> None:
        raise WorkerError("no further process can be started: [Errno 11] Resource temporarily unavailable")

    office.made[1].start = fault
    created.start(ledger)
    assert not created.is_undecided
    assert "4 workers at once could not be started" in caplog.text
    assert [pool.closed for pool in office.made] == [False, True]


def test_without_the_gpu_that_the_driver_lists_the_cpu_is_measured(
    ledger: Ledger, caplog: pytest.LogCaptureFixture
) -> None:
    office = Office()
    created = pools(office, gpus=(GPU,))
    created.create(ledger, will_train=True)
    created.start(ledger)
    assert created.gpus == ()
    assert [(len(pool), pool.closed) for pool in office.made] == [(1, True), (1, False), (4, False)]
    assert "does not see" in caplog.text
    assert worker_count.load_worker_count(ledger) is None
    created.measure(ledger, PRICING)
    assert worker_count.load_worker_count(ledger) is not None
