"""Worker processes without TensorFlow, for what the pool does with them. Each is an entry point."""

import os
import time
from multiprocessing.connection import Connection
from typing import Any

from search.records import FitOutcome, Verdict
from search.workers.protocol import QUIT, STOP, Heartbeat, JobFailed, WorkerReady, WorkerTask

READY = WorkerReady("CPU", False, {}, 0.0)


def outcome(**start: float) -> FitOutcome:
    """An outcome that holds these numbers."""
    return FitOutcome(verdict=Verdict.LEARNED, epochs=1, start=start)


def obedient(pipe: Connection, resources: Any) -> None:
    """Answers every job with its process id."""
    pipe.send(READY)
    while (message := pipe.recv()) != QUIT:
        if message != STOP:
            pipe.send(outcome(pid=os.getpid()))


def deaf(pipe: Connection, resources: Any) -> None:
    """Never says a word about its first job."""
    pipe.send(READY)
    pipe.recv()
    time.sleep(600)


def tiring(pipe: Connection, resources: Any) -> None:
    """Falls silent after some epochs."""
    pipe.send(READY)
    pipe.recv()
    for _ in range(3):
        time.sleep(0.05)
        pipe.send(Heartbeat())
    time.sleep(600)


def slow(pipe: Connection, resources: Any) -> None:
    """Answers with when it began and ended, half a second later."""
    pipe.send(READY)
    while (message := pipe.recv()) != QUIT:
        if message != STOP:
            began = time.time()
            time.sleep(0.5)
            pipe.send(outcome(began=began, ended=time.time()))


def broken(pipe: Connection, resources: Any) -> None:
    """Can't even start."""
    pipe.send(JobFailed("ImportError: no such library"))


class Look(WorkerTask):
    """Tells where it is done, and whether a fit left its network there."""

    def run(self, engine: Any) -> tuple[int, bool]:
        return os.getpid(), engine is not None


class Stumble(WorkerTask):
    """Raises."""

    def run(self, engine: Any) -> None:
        raise ValueError("no such layer")
