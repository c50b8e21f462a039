"""A whole search as a process of its own, with real workers that need no TensorFlow: what faults are tried on.

python -m tests.faults.coordinator --data DIR --out DIR --trials N [--storage URL] [--study NAME] [--workers N]
    [--seed N]
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from multiprocessing.connection import Connection
from pathlib import Path

from search.records import FitOutcome
from search.training.job import FitJob
from search.workers.child import end_with_parent
from search.workers.protocol import (
    QUIT,
    STOP,
    Heartbeat,
    JobFailed,
    JobStopped,
    Timing,
    TimingJob,
    TrainingData,
    WorkerReady,
    WorkerResources,
)


# Each worker imports this module before it can watch its coordinator: what only a coordinator needs comes later.
def worker(pipe: Connection, resources: WorkerResources) -> None:
    """Entry point of a worker: a fit takes `STEADYNET_FIT_SECONDS` and is decided by its seed."""
    end_with_parent()
    seconds = float(os.environ.get("STEADYNET_FIT_SECONDS", "0.02"))
    pipe.send(WorkerReady("CPU", False, {"tensorflow": "none"}, 0.0))
    while (message := pipe.recv()) != QUIT:
        if isinstance(message, TimingJob):
            pipe.send(Timing(0.0, 0.001))
        elif isinstance(message, FitJob):
            pipe.send(_fit(message, pipe, seconds))
        else:
            assert isinstance(message, TrainingData) or message == STOP


def _fit(job: FitJob, pipe: Connection, seconds: float) -> FitOutcome | JobStopped | JobFailed:
    if begun := os.environ.get("STEADYNET_BEGUN"):
        with Path(begun).open("a") as file:
            file.write(f"{job.configuration.hash} {job.seed}\n")
    for _ in range(4):
        time.sleep(seconds / 4)
        pipe.send(Heartbeat())
        if pipe.poll() and pipe.recv() == STOP:
            return JobStopped()
    from search.workers.errors import WorkerError
    from tests.stand_ins import by_seed

    try:
        return by_seed(job)
    except WorkerError as error:
        return JobFailed(f"Traceback\n{error}")


def main(arguments: list[str]) -> None:
    """Run or go on with a search."""
    from search.events import SilentListener
    from search.fits import executor
    from search.optimize import loop
    from search.schedule.budget import Clock
    from search.session import planning, worker_count
    from search.session.session import search
    from search.storage import server
    from search.workers import client
    from tests.small_searches import small_request

    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--trials", type=int, required=True)
    parser.add_argument("--storage")
    parser.add_argument("--study", default="steadynet")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--grace", type=int, help="seconds after which a silent host is taken for lost")
    options = parser.parse_args(arguments)
    if options.grace is not None:
        server.HEARTBEAT_SECONDS, server.GRACE_SECONDS = 1, options.grace  # type: ignore[misc]
        executor._POLL_SECONDS = loop._POLL_SECONDS = 0.5  # type: ignore[misc]
    client.main = worker  # type: ignore[attr-defined]
    planning.baselines = lambda *given: {"constant": 0.5}  # type: ignore[attr-defined]
    worker_count.candidates = lambda *given: (1,)
    request = small_request(
        options.data,
        options.out,
        options.trials,
        storage=options.storage,
        study=options.study,
        workers=options.workers,
        seed=options.seed,
    )
    search(request, SilentListener(), Clock())


if __name__ == "__main__":
    main(sys.argv[1:])
