"""Signs of life while work is done."""

from __future__ import annotations

import threading

from search.workers.heartbeat import heartbeat


def test_it_beats_while_more_is_done_and_not_when_nothing_is() -> None:
    done, beaten = 0, threading.Semaphore(0)
    with heartbeat(lambda: done, beaten.release, every=0.001):
        assert not beaten.acquire(timeout=0.1)
        for _ in range(3):
            done += 1
            assert beaten.acquire(timeout=10)
    done += 1
    assert not beaten.acquire(timeout=0.05)


def test_where_nobody_listens_the_work_goes_on() -> None:
    done, tried = 0, threading.Event()

    def beat() -> None:
        tried.set()
        raise BrokenPipeError

    with heartbeat(lambda: done, beat, every=0.001):
        done += 1
        assert tried.wait(10)
    assert done == 1
