"""The coordinator's handle of a worker process: spawns it, sends it jobs, replaces it, kills it when it hangs."""

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
    EmbeddingJob,
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
_START_SECONDS: Final = 300.0  # limit for a start: importing TensorFlow from a cold network disk takes minutes
_STOP_SECONDS: Final = 8.0  # from STOP to the kill
_RECYCLE_AFTER: Final = 400  # jobs on images after which a process is replaced: each network leaks some memory


_log = logging.getLogger(__name__)


class WorkerProcess:
    """One worker process, implementing `search.workers.interfaces.Worker`. Not thread-safe.

    Args:
        resources: threads, GPU and memory that the process may use.
        should_stop: called about five times a second while a job runs; True ends the job.
        stall_detector: decides when a silent process counts as hung; shared by the workers of a session.
        lock: held by each running fit, exclusively by a fit that runs alone; shared by the workers of a session.
        microbatch_memory: number of microbatches that earlier fits needed; shared by the workers of a session.

    Attributes:
        ready: device and versions that the process reported; None before its first start.
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

    @property
    def pid(self) -> int | None:
        """Process id; None while there is no process."""
        return None if self._child is None else self._child.pid

    def set_data(self, data: TrainingData) -> None:
        """Set the images of all further fits, in this process and in the processes that replace it."""
        self._data = data
        if self._is_up:
            self._send_data()

    def run(
        self, job: FitJob, on_check: Callable[[Check], None] = lambda check: None, *, alone: bool = False
    ) -> FitOutcome:
        """Run one fit, with at least as many microbatches as earlier fits of its size needed.

        Args:
            job: the fit to train.
            on_check: called with each check during training.
            alone: wait until the other workers of the session run no fit, and make them wait until this one ends.

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
        """Measure the seconds of an epoch of a configuration. Raises as `run` does."""
        answer = self._ask(job)
        if not isinstance(answer, Timing):
            raise _unexpected(answer, job)
        return answer

    def embed(self, job: EmbeddingJob) -> None:
        """Compute the features of a block of images, unless they are in the disk cache. Raises as `run` does."""
        answer = self._ask(job)
        if not isinstance(answer, TaskDone):
            raise _unexpected(answer, job)

    def run_task(self, task: WorkerTask) -> Any:
        """Run `task` in the process and return its result. Raises as `run` does."""
        answer = self._ask(task)
        if not isinstance(answer, TaskDone):
            raise _unexpected(answer, task)
        return answer.value

    def spawn(self) -> None:
        """Start the process if it is not running, without waiting until it has loaded TensorFlow.

        Raises:
            WorkerError: the system can't start another process.
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
        """Start the process if needed and wait until it has loaded TensorFlow.

        A process that has run 400 jobs, or uses more memory than its share, is replaced by a new one.

        Raises:
            Stopped: `should_stop` returned True.
            WorkerError: the process can't be started, died while it started (twice if by a signal), or took longer than
                300 seconds.
        """
        if self._is_up and (self._jobs >= _RECYCLE_AFTER or self._has_grown()):
            _log.info("A worker process is replaced by a new one, to free its memory, after %d jobs.", self._jobs)
            self.close()
        self.spawn()
        if self._is_up:
            return
        try:
            answer = self._next_answer(timeout=_START_SECONDS)
        except WorkerDied as error:
            if error.code is None or error.code >= 0:
                raise
            _log.warning("A %s before it was ready; it is started again.", error)  # not the fault of any fit
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
        """Ask the process to end, and kill it if it is still running after `seconds`."""
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
        """Wait until the process has ended after `send_quit`, for at most `seconds`."""
        if self._child is not None and self._is_up:
            self._child.join(seconds)

    def kill(self) -> None:
        """Kill the process, if there is one."""
        if self._child is not None:
            self._child.kill()
            self._child = None
            self._is_up = False

    def _has_grown(self) -> bool:
        """Whether the process uses more memory than its share."""
        limit = self._resources.memory
        held = None if self.pid is None else memory_of(self.pid)
        return held is not None and limit is not None and held > limit

    def _send_data(self) -> None:
        if self._child is not None:
            with contextlib.suppress(OSError):  # a process that died is noticed at its next job
                self._child.pipe.send(self._data)

    def _ask(
        self,
        job: FitJob | TimingJob | EmbeddingJob | WorkerTask,
        on_check: Callable[[Check], None] = lambda check: None,
    ) -> Any:
        """Send a job to the process, starting it if needed, and return its answer."""
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
            timeout: seconds without any message after which the process counts as hung; None: the stall detector
                decides.
        """
        child, last_message = self._running(), time.monotonic()
        stop_sent: float | None = None
        longest: float | None = None  # longest interval between two messages of this fit
        while True:
            try:
                if child.pipe.poll(_POLL_SECONDS):
                    message = child.pipe.recv()
                    received = time.monotonic()
                    interval, last_message = received - last_message, received
                    if isinstance(message, Heartbeat):
                        if longest is None:  # the first interval includes building the network
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
        assert self._child is not None, "start the process before sending it anything"
        return self._child


def _unexpected(answer: object, job: object) -> WorkerError:
    return WorkerError(f"unexpected answer {type(answer).__name__} to a {type(job).__name__}")
