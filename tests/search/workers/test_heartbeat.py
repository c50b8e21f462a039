"""Heartbeats while work is done, and how long they may stay away."""

from __future__ import annotations

import threading

from search.workers.heartbeat import StallDetector, heartbeat


def test_heartbeats_are_sent_while_more_is_done_and_not_when_nothing_is() -> None:
    done, sent = 0, threading.Semaphore(0)
    with heartbeat(lambda: done, sent.release, every=0.001):
        assert not sent.acquire(timeout=0.1)
        for _ in range(3):
            done += 1
            assert sent.acquire(timeout=10)
    done += 1
    assert not sent.acquire(timeout=0.05)


def test_where_nobody_listens_the_work_goes_on() -> None:
    done, tried = 0, threading.Event()

    def send() -> None:
        tried.set()
        raise BrokenPipeError

    with heartbeat(lambda: done, send, every=0.001):
        done += 1
        assert tried.wait(10)
    assert done == 1


def test_the_timeout_follows_what_epochs_take() -> None:
    detector = StallDetector()
    assert detector.timeout(None) == 1800.0  # a network is being built
    assert detector.timeout(4.0) == 120.0
    for seconds in (20.0, 30.0, 40.0):
        detector.add_interval(seconds)
    assert detector.timeout(4.0) == 300.0  # ten times the usual epoch
    assert detector.timeout(500.0) == 1500.0  # its own epochs are long


def test_building_a_network_may_take_ten_times_as_long_as_it_ever_took() -> None:
    detector = StallDetector()
    timeouts = []
    for seconds in (3.0, 2.0, 4.0, 2.0, 1.0, 40.0, 900.0):
        detector.add_build(seconds)
        timeouts.append(detector.timeout(None))
    assert timeouts == [1800.0, 1800.0, 1800.0, 1800.0, 120.0, 400.0, 1800.0]
