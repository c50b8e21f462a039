"""A worker that is killed while it starts. Processes that train: `keras_tests/test_pool.py`."""

from __future__ import annotations

import os
import signal
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from search.workers import client
from search.workers.client import WorkerProcess
from search.workers.errors import WorkerDied
from search.workers.protocol import WorkerReady, WorkerResources


def dies_at_first(pipe: Connection, resources: WorkerResources) -> None:
    """Stands for a worker: killed while it starts, for as long as its log is not as long as its threads say."""
    with resources.log.open("a") as file:
        file.write(".")
    if resources.log.stat().st_size < resources.threads:
        os.kill(os.getpid(), signal.SIGKILL)
    pipe.send(WorkerReady("CPU", False, {}, 0.0))
    pipe.recv()


@pytest.mark.parametrize(("starts", "comes_up"), [(1, True), (2, True), (3, False)])
def test_a_worker_that_is_killed_while_it_starts_is_started_once_more(
    starts: int, comes_up: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "main", dies_at_first)
    worker = WorkerProcess(WorkerResources(threads=starts, gpu=None, log=tmp_path / "log", memory=None), lambda: False)
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
