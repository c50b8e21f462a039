"""Fits at the same time, or one alone."""

from __future__ import annotations

import threading
import time

import pytest

from search.workers.errors import Stopped
from search.workers.read_write_lock import ReadWriteLock


class Fit(threading.Thread):
    """Holds the lock until it is told to end."""

    def __init__(self, lock: ReadWriteLock, *, alone: bool, stop: threading.Event) -> None:
        super().__init__()
        self._lock, self._alone, self._stopped = lock, alone, stop
        self.inside, self.ends = threading.Event(), threading.Event()
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            with self._lock.exclusive(self._stopped.is_set) if self._alone else self._lock.shared():
                self.inside.set()
                self.ends.wait(5.0)
        except Stopped as error:
            self.error = error


@pytest.fixture
def fits():
    """Makes fits that are begun; all of them end with the test."""
    lock, stop, made = ReadWriteLock(), threading.Event(), []

    def begin(*, alone: bool) -> Fit:
        fit = Fit(lock, alone=alone, stop=stop)
        fit.start()
        made.append(fit)
        time.sleep(0.02)  # the order in which they come is what matters
        return fit

    begin.stop = stop  # type: ignore[attr-defined]
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


def test_one_that_waits_to_be_alone_can_be_stopped_and_lets_the_others_in(fits) -> None:
    first, alone = fits(alone=False), fits(alone=True)
    fits.stop.set()
    alone.join(2.0)
    assert isinstance(alone.error, Stopped)
    assert fits(alone=False).inside.wait(2.0)
    assert first.inside.is_set()
