"""The worker process: answers the messages of its coordinator, and ends when the coordinator ends."""

from __future__ import annotations

import threading
import time
import traceback
from multiprocessing.connection import Connection
from typing import Any, Final

from search.training.fit import Interrupted
from search.workers.child import end_with_parent, redirect_output
from search.workers.job_runner import JobRunner
from search.workers.protocol import QUIT, STOP, Heartbeat, JobFailed, TrainingData, WorkerReady, WorkerResources

_HEARTBEAT_SECONDS: Final = 1.0


def main(pipe: Connection, resources: WorkerResources) -> None:
    """Entry point of the process: load TensorFlow, send `WorkerReady`, and answer messages until `QUIT`."""
    end_with_parent()
    started = time.monotonic()
    redirect_output(resources.log, 2)
    channel = _Channel(pipe)
    try:
        runner = JobRunner(resources, channel.send, channel.check_stop)
        channel.send(WorkerReady(runner.device, runner.on_gpu, runner.versions, time.monotonic() - started))
        while (message := pipe.recv()) != QUIT:
            if isinstance(message, TrainingData):
                runner.set_data(message)
            elif message != STOP:  # a STOP that came too late for its fit
                channel.send(runner.run(message))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        pass
    except Exception:
        channel.send(JobFailed(traceback.format_exc()))


class _Channel:
    """The pipe to the coordinator, for several threads."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe, self._lock = pipe, threading.Lock()
        self._next_heartbeat = 0.0

    def send(self, message: Any) -> None:
        """Send a message; any thread may."""
        with self._lock:
            self._pipe.send(message)

    def check_stop(self) -> None:
        """Send a heartbeat, at most one a second.

        Raises:
            Interrupted: the coordinator has sent `STOP`.
        """
        if time.monotonic() >= self._next_heartbeat:
            self.send(Heartbeat())
            self._next_heartbeat = time.monotonic() + _HEARTBEAT_SECONDS
        if self._pipe.poll() and self._pipe.recv() == STOP:
            raise Interrupted
