"""One worker process as its coordinator sees it: started when needed, asked, recycled, killed when it stalls."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from search import resources
from search.fit_checks import Check
from search.records import FitOutcome
from search.training.job import FitJob
from search.workers.child import ChildProcess
from search.workers.errors import Stopped, WorkerDied, WorkerError, WorkerStalled
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
from search.workers.stall_detector import StallDetector

_POLL_SECONDS: Final = 0.2
_START_SECONDS: Final = 300.0  # importing TensorFlow from a cold network disk takes minutes
_STOP_SECONDS: Final = 8.0  # from STOP to the kill
_RECYCLE_AFTER: Final = 400  # fits of networks on images: TensorFlow's memory grows a little with each network


_log = logging.getLogger(__name__)


class Worker:
    """One process. Not for two threads at once.

    Args:
        seat: where it works.
        should_stop: asked some five times a second while a fit runs; True ends it.
        silence: shared by the workers of a session.
        gate: shared by them too.
        room: shared by them too.
    """

    def __init__(
        self,
        seat: WorkerResources,
        should_stop: Callable[[], bool],
        silence: StallDetector | None = None,
        gate: ReadWriteLock | None = None,
        room: MicrobatchMemory | None = None,
    ) -> None:
        self._seat = seat
        self._should_stop = should_stop
        self._silence, self._gate, self._room = (
            silence or StallDetector(),
            gate or ReadWriteLock(),
            room or MicrobatchMemory(),
        )
        self._material: TrainingData | None = None
        self._process: ChildProcess | None = None
        self._jobs = 0
        self._is_up = False  # it has said that it is ready
        self.ready: WorkerReady | None = None

    def supply(self, material: TrainingData) -> None:
        """What all its fits train on, from now on."""
        self._material = material
        if self._is_up:
            self._hand_over()

    def run(
        self, job: FitJob, on_check: Callable[[Check], None] = lambda check: None, *, alone: bool = False
    ) -> FitOutcome:
        """Run one fit.

        Args:
            job: the fit.
            on_check: told of each check.
            alone: wait until no other worker of the session has a fit, and keep them from one until this one ends.

        Raises:
            Stopped: `should_stop` said so.
            WorkerFault: anything that is not the configuration's fault.
        """
        with self._gate.alone(self._should_stop) if alone else self._gate.together():
            answer = self._ask(replace(job, microbatches=self._room.parts(job)), on_check)
        if not isinstance(answer, FitOutcome):
            raise WorkerError(f"unexpected answer {type(answer).__name__}")
        self._room.learn(job, answer)
        return answer

    def price(self, job: TimingJob) -> Timing:
        """Time a configuration's epochs. Raises as `run` does."""
        answer = self._ask(job, lambda check: None)
        if not isinstance(answer, Timing):
            raise WorkerError(f"unexpected answer {type(answer).__name__}")
        return answer

    def do(self, errand: WorkerTask) -> Any:
        """Whatever comes of the errand. Raises as `run` does."""
        answer = self._ask(errand, lambda check: None)
        if not isinstance(answer, TaskDone):
            raise WorkerError(f"unexpected answer {type(answer).__name__}")
        return answer.value

    def close(self, seconds: float = 1.0) -> None:
        """End the process, kindly if it listens within so long."""
        try:
            self.dismiss()
            self.wait(seconds)
        finally:
            self.kill()

    def dismiss(self) -> None:
        """Tell the process to end, without waiting for it."""
        if self._is_up:
            with contextlib.suppress(OSError, ValueError):
                self._child.pipe.send(QUIT)

    def wait(self, seconds: float) -> None:
        """Give a process that was dismissed so long to end."""
        if self._is_up:
            self._child.join(seconds)

    def begin(self) -> None:
        """Have the process load TensorFlow, without waiting for it. Raises WorkerFault."""
        if self._process is not None and self._process.is_alive():
            return
        self.kill()
        try:
            self._process = ChildProcess(main, self._seat)
        except OSError as error:
            raise WorkerError(f"no further process can be started: {error}") from None
        self._jobs = 0

    def start(self) -> None:
        """Have the process up. Raises WorkerFault, Stopped."""
        if self._is_up and (self._jobs >= _RECYCLE_AFTER or self._has_grown()):
            _log.info("a worker is replaced after %d trainings", self._jobs)
            self.close()
        self.begin()
        if self._is_up:
            return
        try:
            answer = self._wait(lambda check: None, _START_SECONDS)
        except WorkerDied as error:
            if error.code is None or error.code >= 0:
                raise
            _log.warning("A %s before it was ready: it is started again.", error)  # no fit has a part in that
            self.begin()
            answer = self._wait(lambda check: None, _START_SECONDS)
        if not isinstance(answer, WorkerReady):
            self.kill()
            raise WorkerError(f"worker did not start: {answer}")
        self.ready = answer
        self._is_up = True
        if self._material is not None:
            self._hand_over()

    @property
    def _child(self) -> ChildProcess:
        assert self._process is not None, "it is started before anything is asked of it"
        return self._process

    def _has_grown(self) -> bool:
        """Whether it has come to hold more memory of its own than its share."""
        held = resources.memory_of(self._child.pid)
        return held is not None and self._seat.memory is not None and held > self._seat.memory

    def _hand_over(self) -> None:
        with contextlib.suppress(OSError):  # a process that died is noticed at its next job
            self._child.pipe.send(self._material)

    def _ask(self, job: FitJob | TimingJob | WorkerTask, on_check: Callable[[Check], None]) -> Any:
        self.start()
        self._jobs += not (isinstance(job, FitJob) and job.configuration.embeds)  # heads trace nothing
        try:
            self._child.pipe.send(job)
        except OSError as error:
            self.kill()
            raise WorkerError(f"worker lost: {error}") from None
        answer = self._wait(on_check)
        if isinstance(answer, JobStopped):
            raise Stopped
        if isinstance(answer, JobFailed):
            raise WorkerError(answer.text)
        return answer

    def _wait(self, on_check: Callable[[Check], None], most: float | None = None) -> Any:
        """The answer to what was asked; so long (None: as long as others took) there may be silence."""
        child, heard, told = self._child, time.monotonic(), None
        longest: float | None = None
        while True:
            try:
                if child.pipe.poll(_POLL_SECONDS):
                    message = child.pipe.recv()
                    before, heard = heard, time.monotonic()
                    if isinstance(message, Heartbeat):
                        if longest is None:  # the first epoch also builds the network
                            self._silence.learn_building(heard - before)
                        else:
                            self._silence.learn(heard - before)
                        longest = max(longest or 0.0, heard - before)
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
            if told is None and self._should_stop():
                told = now
                with contextlib.suppress(OSError):
                    child.pipe.send(STOP)
            if told is not None and now - told > _STOP_SECONDS:
                self.kill()
                raise Stopped
            allowed = self._silence.seconds(longest) if most is None else most
            if now - heard > allowed:
                self.kill()
                raise WorkerStalled(f"worker stalled: no word for {allowed:.0f} s")

    def kill(self) -> None:
        """End the process at once."""
        if self._process is not None:
            self._process.kill()
            self._process = None
            self._is_up = False
