"""Child processes of a coordinator that is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from multiprocessing.connection import Connection
from pathlib import Path

from search.workers.child import end_with_parent
from search.workers.protocol import WorkerReady, WorkerResources
from tests.search.diagnosis.children import wait_until_gone

ROOT = Path(__file__).parents[3]
WORKERS = 3

COORDINATOR = f"""
import sys, time
from pathlib import Path
from search.workers import client
from search.workers.pool import WorkerProcessPool
from search.workers.protocol import WorkerResources
from tests.search.workers.test_child import idle

if __name__ == "__main__":
    client.main = idle
    place = WorkerResources(threads=1, gpu=None, log=Path(sys.argv[1]))
    pool = WorkerProcessPool([place] * {WORKERS}, lambda: False)
    pool.start()
    print(*(worker.ready.device for worker in pool._workers), flush=True)
    time.sleep(600)
"""


def idle(pipe: Connection, resources: WorkerResources) -> None:
    """Stands for a worker that leads a group with a process that it started; its device is both process ids."""
    os.setpgid(0, 0)
    end_with_parent()
    started = subprocess.Popen(["sleep", "600"])
    pipe.send(WorkerReady(f"{os.getpid()} {started.pid}", False, {}, 0.0))
    time.sleep(600)


def test_no_worker_outlives_a_coordinator_that_is_killed(tmp_path: Path) -> None:
    """Each one of three siblings that were spawned, and what each of them started, is gone within five seconds."""
    (tmp_path / "coordinator.py").write_text(COORDINATOR)
    coordinator = subprocess.Popen(
        [sys.executable, tmp_path / "coordinator.py", tmp_path / "log"],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    with coordinator:
        assert coordinator.stdout is not None
        try:
            pids = [int(pid) for pid in coordinator.stdout.readline().split()]
        finally:
            coordinator.send_signal(signal.SIGKILL)
    end = time.monotonic() + 5.0
    assert len(pids) == 2 * WORKERS
    assert all(wait_until_gone(pid) for pid in pids)
    assert time.monotonic() < end
