"""A worker process as its coordinator sees it: spawned when needed, given jobs, replaced, killed when it hangs."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from search.fit_checks import Check
from search.records import FitOutcome
from search.resources import memory_of
from search.training.job import FitJob
from search.workers.child import ChildProcess
from search.workers.errors import Stopped, WorkerDied, WorkerError, WorkerStalled
from search.workers.heartbeat import StallDetector
from search.workers.microbatching import MicrobatchMemory
from search.workers.protocol import (
    QUIT,
    STOP,
    Heartbeat,
    JobFailed,
    JobStopped,
    TaskDone,
    Timing,
    TimingJob,
    TrainingData,
    WorkerReady,
    WorkerResources,
    WorkerTask,
)
from search.workers.read_write_lock import ReadWriteLock
from search.workers.server import main

_POLL_SECONDS: Final = 0.2
_START_SECONDS: Final = 300.0  # importing TensorFlow from a cold network disk takes minutes
_STOP_SECONDS: Final = 8.0  # from STOP to the kill
_RECYCLE_AFTER: Final = 400  # fits of networks on images: TensorFlow's memory grows a little with each network


_log = logging.getLogger(__name__)


class WorkerProcess:
    """One worker process: the real `search.workers.interfaces.Worker`. For one thread at a time.

    Args:
        resources: what the process may use of the machine.
        should_stop: called about five times a second while a job runs; True ends the job.
        stall_detector: shared by the workers of a session, as are the next two.
        lock: held by each fit; alone by a fit that runs alone.
        microbatch_memory: number of microbatches that earlier fits needed.
    """

    def __init__(
        self,
        resources: WorkerResources,
        should_stop: Callable[[], bool],
        stall_detector: StallDetector | None = None,
        lock: ReadWriteLock | None = None,
        microbatch_memory: MicrobatchMemory | None = None,
    ) -> None:
        self._resources = resources
        self._should_stop = should_stop
        self._stall_detector = stall_detector or StallDetector()
        self._lock = lock or ReadWriteLock()
        self._microbatch_memory = microbatch_memory or MicrobatchMemory()
        self._data: TrainingData | None = None
        self._child: ChildProcess | None = None
        self._jobs = 0
        self._is_up = False  # it has sent WorkerReady
        self.ready: WorkerReady | None = None

    def set_data(self, data: TrainingData) -> None:
        """Train all further fits on these images, in this process and in those that replace it."""
        self._data = data
        if self._is_up:
            self._send_data()

    def run(
        self, job: FitJob, on_check: Callable[[Check], None] = lambda check: None, *, alone: bool = False
    ) -> FitOutcome:
        """Run one fit, with as many microbatches as fits of its size are known to need.

        Args:
            job: the fit.
            on_check: called after each check of the fit.
            alone: wait until no other worker of the session has a fit, and keep the others waiting until this one ends.

        Raises:
            Stopped: `should_stop` returned True.
            WorkerError: the process died, stalled or raised.
        """
        with self._lock.exclusive(self._should_stop) if alone else self._lock.shared():
            answer = self._ask(replace(job, microbatches=self._microbatch_memory.microbatches(job)), on_check)
        if not isinstance(answer, FitOutcome):
            raise _unexpected(answer, job)
        self._microbatch_memory.learn(job, answer)
        return answer

    def run_timing(self, job: TimingJob) -> Timing:
        """Time the epochs of a configuration. Raises as `run` does."""
        answer = self._ask(job)
        if not isinstance(answer, Timing):
            raise _unexpected(answer, job)
        return answer

    def run_task(self, task: WorkerTask) -> Any:
        """Run a task in the process and return what it returned. Raises as `run` does."""
        answer = self._ask(task)
        if not isinstance(answer, TaskDone):
            raise _unexpected(answer, task)
        return answer.value

    def spawn(self) -> None:
        """Start the process, which then loads TensorFlow, without waiting for it.

        Raises:
            WorkerError: the system starts no further process.
        """
        if self._child is not None and self._child.is_alive():
            return
        self.kill()
        try:
            self._child = ChildProcess(main, self._resources)
        except OSError as error:
            raise WorkerError(f"no further process can be started: {error}") from None
        self._jobs = 0

    def start(self) -> None:
        """Wait until the process has loaded TensorFlow; one that has grown or run many fits is replaced.

        Raises:
            Stopped: `should_stop` returned True.
            WorkerError: the process can't be started, died twice while it started, or took too long.
        """
        if self._is_up and (self._jobs >= _RECYCLE_AFTER or self._has_grown()):
            _log.info("A worker process is replaced after %d jobs.", self._jobs)
            self.close()
        self.spawn()
        if self._is_up:
            return
        try:
            answer = self._next_answer(timeout=_START_SECONDS)
        except WorkerDied as error:
            if error.code is None or error.code >= 0:
                raise
            _log.warning("A %s before it was ready: it is started again.", error)  # no fit has a part in that
            self.spawn()
            answer = self._next_answer(timeout=_START_SECONDS)
        if not isinstance(answer, WorkerReady):
            self.kill()
            raise WorkerError(f"worker did not start: {answer}")
        self.ready = answer
        self._is_up = True
        if self._data is not None:
            self._send_data()

    def close(self, seconds: float = 1.0) -> None:
        """End the process: it is asked to, and killed if it still runs after so many seconds."""
        try:
            self.send_quit()
            self.join(seconds)
        finally:
            self.kill()

    def send_quit(self) -> None:
        """Ask the process to end, without waiting for it."""
        if self._child is not None and self._is_up:
            with contextlib.suppress(OSError, ValueError):
                self._child.pipe.send(QUIT)

    def join(self, seconds: float) -> None:
        """Wait for the end of a process that was asked to end, at most so many seconds."""
        if self._child is not None and self._is_up:
            self._child.join(seconds)

    def kill(self) -> None:
        """End the process at once."""
        if self._child is not None:
            self._child.kill()
            self._child = None
            self._is_up = False

    def _has_grown(self) -> bool:
        """Whether the process holds more memory than its share."""
        limit = self._resources.memory
        held = None if self._child is None else memory_of(self._child.pid)
        return held is not None and limit is not None and held > limit

    def _send_data(self) -> None:
        if self._child is not None:
            with contextlib.suppress(OSError):  # a process that died is noticed at its next job
                self._child.pipe.send(self._data)

    def _ask(self, job: FitJob | TimingJob | WorkerTask, on_check: Callable[[Check], None] = lambda check: None) -> Any:
        """Send a job to the process, which is started if need be, and return its answer."""
        self.start()
        self._jobs += not (isinstance(job, FitJob) and job.configuration.embeds)  # heads trace nothing
        try:
            self._running().pipe.send(job)
        except OSError as error:
            self.kill()
            raise WorkerError(f"worker lost: {error}") from None
        answer = self._next_answer(on_check)
        if isinstance(answer, JobStopped):
            raise Stopped
        if isinstance(answer, JobFailed):
            raise WorkerError(answer.text)
        return answer

    def _next_answer(self, on_check: Callable[[Check], None] = lambda check: None, timeout: float | None = None) -> Any:
        """Wait for the next message that is neither a heartbeat nor a check.

        Args:
            on_check: called with each check.
            timeout: seconds without any message after which the process counts as hung; None leaves it to the
                stall detector.
        """
        child, last_message = self._running(), time.monotonic()
        stop_sent: float | None = None
        longest: float | None = None  # interval between two messages of this fit
        while True:
            try:
                if child.pipe.poll(_POLL_SECONDS):
                    message = child.pipe.recv()
                    received = time.monotonic()
                    interval, last_message = received - last_message, received
                    if isinstance(message, Heartbeat):
                        if longest is None:  # the network was built, too
                            self._stall_detector.add_build(interval)
                        else:
                            self._stall_detector.add_interval(interval)
                        longest = max(longest or 0.0, interval)
                    elif isinstance(message, Check):
                        on_check(message)
                    else:
                        return message
            except (EOFError, OSError):
                child.join(1.0)
                code = child.exit_code
                self.kill()
                if self._should_stop():
                    raise Stopped from None
                raise WorkerDied(code) from None
            now = time.monotonic()
            if stop_sent is None and self._should_stop():
                stop_sent = now
                with contextlib.suppress(OSError):
                    child.pipe.send(STOP)
            if stop_sent is not None and now - stop_sent > _STOP_SECONDS:
                self.kill()
                raise Stopped
            allowed = self._stall_detector.timeout(longest) if timeout is None else timeout
            if now - last_message > allowed:
                self.kill()
                raise WorkerStalled(f"worker stalled: no message for {allowed:.0f} s")

    def _running(self) -> ChildProcess:
        assert self._child is not None, "the process is started before anything is asked of it"
        return self._child


def _unexpected(answer: object, job: object) -> WorkerError:
    return WorkerError(f"unexpected answer {type(answer).__name__} to a {type(job).__name__}")
