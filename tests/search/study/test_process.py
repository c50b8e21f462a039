"""How long a worker may be silent, and who may train beside it. Processes themselves: `keras_tests/test_pool.py`."""

from __future__ import annotations

import os
import signal
import threading
import time
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from search.study import process
from search.study.messages import Ready, Seat
from search.study.process import Gate, Silence, Stopped, Worker, WorkerDied


def test_silence_is_borne_by_what_epochs_take() -> None:
    silence = Silence()
    assert silence.seconds(None) == 1800.0  # a network is being built
    assert silence.seconds(4.0) == 120.0
    for seconds in (20.0, 30.0, 40.0):
        silence.learn(seconds)
    assert silence.seconds(4.0) == 300.0  # ten times the usual epoch
    assert silence.seconds(500.0) == 1500.0  # its own epochs are long


def test_building_a_network_may_take_ten_times_as_long_as_it_ever_took() -> None:
    silence = Silence()
    seen = []
    for seconds in (3.0, 2.0, 4.0, 2.0, 1.0, 40.0, 900.0):
        silence.learn_building(seconds)
        seen.append(silence.seconds(None))
    assert seen == [1800.0, 1800.0, 1800.0, 1800.0, 120.0, 400.0, 1800.0]


def dies_at_first(pipe: Connection, lifeline: Connection, seat: Seat) -> None:
    """Stands for a worker: killed while it starts, for as long as its log is not as long as its threads say."""
    with seat.log.open("a") as file:
        file.write(".")
    if seat.log.stat().st_size < seat.threads:
        os.kill(os.getpid(), signal.SIGKILL)
    pipe.send(Ready("CPU", False, {}, 0.0))
    pipe.recv()


@pytest.mark.parametrize(("starts", "comes_up"), [(1, True), (2, True), (3, False)])
def test_a_worker_that_is_killed_while_it_starts_is_started_once_more(
    starts: int, comes_up: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "main", dies_at_first)
    worker = Worker(Seat(threads=starts, gpu=None, log=tmp_path / "log", memory=None), lambda: False)
    try:
        if comes_up:
            worker.start()
            assert worker.ready is not None
        else:
            with pytest.raises(WorkerDied, match="exit code -9"):
                worker.start()
        assert (tmp_path / "log").stat().st_size == min(starts, 2)
    finally:
        worker.kill()


class Fit(threading.Thread):
    """Holds the gate until it is told to end; keeps what it saw."""

    def __init__(self, gate: Gate, *, alone: bool, stop: threading.Event) -> None:
        super().__init__()
        self._gate, self._alone, self._stopped = gate, alone, stop
        self.inside, self.ends = threading.Event(), threading.Event()
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            with self._gate.alone(self._stopped.is_set) if self._alone else self._gate.together():
                self.inside.set()
                self.ends.wait(5.0)
        except Stopped as error:
            self.error = error


@pytest.fixture
def fits():
    """Makes fits that are begun; all of them end with the test."""
    gate, stop, made = Gate(), threading.Event(), []

    def begin(*, alone: bool) -> Fit:
        fit = Fit(gate, alone=alone, stop=stop)
        fit.start()
        made.append(fit)
        time.sleep(0.02)  # the order in which they come is what matters
        return fit

    begin.stop = stop
    yield begin
    for fit in made:
        fit.ends.set()
        fit.join(5.0)


def test_fits_train_together_and_one_that_must_be_alone_waits_and_keeps_others_out(fits) -> None:
    first, second = fits(alone=False), fits(alone=False)
    assert first.inside.is_set()
    assert second.inside.is_set()
    alone, later = fits(alone=True), fits(alone=False)
    first.ends.set()
    assert not alone.inside.wait(0.05)
    second.ends.set()
    assert alone.inside.wait(2.0)
    assert not later.inside.wait(0.05)
    alone.ends.set()
    assert later.inside.wait(2.0)


def test_two_that_must_be_alone_come_one_after_the_other(fits) -> None:
    first, second = fits(alone=True), fits(alone=True)
    assert first.inside.wait(2.0)
    assert not second.inside.wait(0.05)
    first.ends.set()
    assert second.inside.wait(2.0)


def test_whoever_waits_to_be_alone_can_be_stopped_and_lets_the_others_in(fits) -> None:
    first, alone = fits(alone=False), fits(alone=True)
    fits.stop.set()
    alone.join(2.0)
    assert isinstance(alone.error, Stopped)
    assert fits(alone=False).inside.wait(2.0)
    assert first.inside.is_set()
