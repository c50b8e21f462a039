"""One worker process as its coordinator sees it: started when needed, asked, recycled, killed when it stalls."""

from __future__ import annotations

import contextlib
import logging
import math
import multiprocessing as mp
import statistics
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from search import host
from search.checks import Check
from search.lifeline import signals_blocked
from search.study.messages import (
    QUIT,
    STOP,
    Beat,
    Broken,
    Done,
    Errand,
    Halted,
    Job,
    Material,
    Priced,
    Pricing,
    Ready,
    Seat,
    Told,
)
from search.study.worker import main

_POLL_SECONDS: Final = 0.2
_START_SECONDS: Final = 300.0  # importing TensorFlow from a cold network disk takes minutes
_SILENCE_SECONDS: Final = 120.0  # that a fit may be silent (it speaks after each epoch) ...
_SILENCE_FACTOR: Final = 10.0  # ... or so many times as long as the usual epoch ...
_OWN_FACTOR: Final = 3.0  # ... or as its own longest silence, since networks and images differ
_BUILD_SECONDS: Final = 1800.0  # until its first word, while a network is built, images are loaded, kernels are tuned
_BUILT_BEFORE: Final = 5  # fits whose first words say how long the next ones may take: so many times the longest
_REMEMBERED: Final = 500  # epochs
_STOP_SECONDS: Final = 8.0  # from STOP to the kill
_RECYCLE_AFTER: Final = 400  # fits of networks on images: TensorFlow's memory grows a little with each network


_log = logging.getLogger(__name__)


class WorkerFault(Exception):
    """The worker died, stalled or raised: our or the machine's fault, worth another try."""


def last_line(text: str) -> str:
    """Of a traceback: what was raised."""
    return text.strip().splitlines()[-1]


class WorkerDied(WorkerFault):
    """Its process ended, most often because the system killed it for want of memory.

    Args:
        code: exit code; below zero, the number of the signal that ended it.
    """

    def __init__(self, code: int | None) -> None:
        super().__init__(f"worker died (exit code {code})")
        self.code = code


class WorkerStalled(WorkerFault):
    """It said nothing for far longer than epochs take: hung, or its machine is overwhelmed."""


class Stopped(Exception):
    """The fit was ended because the search was told to end."""


class Silence:
    """How long a worker may say nothing: by what the epochs of this session take. For all threads."""

    def __init__(self) -> None:
        self._seconds: deque[float] = deque(maxlen=_REMEMBERED)
        self._built: deque[float] = deque(maxlen=_REMEMBERED)
        self._lock = threading.Lock()

    def learn(self, seconds: float) -> None:
        """From one word of a fit to the next."""
        with self._lock:
            self._seconds.append(seconds)

    def learn_building(self, seconds: float) -> None:
        """From the beginning of a fit, which builds its network, to its first word."""
        with self._lock:
            self._built.append(seconds)

    def seconds(self, longest: float | None) -> float:
        """Of silence to bear.

        Args:
            longest: silence of this fit so far, which began with building its network; None before its first word.
        """
        with self._lock:
            if longest is None:
                known = max(self._built) if len(self._built) >= _BUILT_BEFORE else math.inf
                return min(_BUILD_SECONDS, max(_SILENCE_SECONDS, _SILENCE_FACTOR * known))
            usual = statistics.median(self._seconds) if self._seconds else 0.0
        return max(_SILENCE_SECONDS, _SILENCE_FACTOR * usual, _OWN_FACTOR * longest)


class Gate:
    """Lets fits run together, or one alone: a process that the system killed may have been one too many."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._inside = 0
        self._is_taken = False

    @contextmanager
    def together(self) -> Iterator[None]:
        """For as long as the block lasts nobody is alone."""
        with self._changed:
            self._changed.wait_for(lambda: not self._is_taken)
            self._inside += 1
        try:
            yield
        finally:
            self._leave()

    @contextmanager
    def alone(self, should_stop: Callable[[], bool]) -> Iterator[None]:
        """For as long as the block lasts nobody else is inside. Raises Stopped."""
        with self._changed:
            self._changed.wait_for(lambda: not self._is_taken)
            self._is_taken = True  # nobody new comes in
            while self._inside and not should_stop():
                self._changed.wait(_POLL_SECONDS)
            if self._inside:
                self._is_taken = False
                self._changed.notify_all()
                raise Stopped
            self._inside += 1
        try:
            yield
        finally:
            with self._changed:
                self._is_taken = False
            self._leave()

    def _leave(self) -> None:
        with self._changed:
            self._inside -= 1
            self._changed.notify_all()


class Worker:
    """One process. Not for two threads at once.

    Args:
        seat: where it works.
        should_stop: asked some five times a second while a fit runs; True ends it.
        silence: shared by the workers of a session.
        gate: shared by them too.
    """

    def __init__(
        self, seat: Seat, should_stop: Callable[[], bool], silence: Silence | None = None, gate: Gate | None = None
    ) -> None:
        self._seat = seat
        self._should_stop = should_stop
        self._silence, self._gate = silence or Silence(), gate or Gate()
        self._material: Material | None = None
        self._process: Any = None
        self._pipe: Any = None
        self._lifeline: Any = None
        self._jobs = 0
        self._is_up = False  # it has said that it is ready
        self.ready: Ready | None = None

    def supply(self, material: Material) -> None:
        """What all its fits train on, from now on."""
        self._material = material
        if self._is_up:
            self._hand_over()

    def run(self, job: Job, on_check: Callable[[Check], None] = lambda check: None, *, alone: bool = False) -> Done:
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
            answer = self._ask(job, on_check)
        if not isinstance(answer, Done):
            raise WorkerFault(f"unexpected answer {type(answer).__name__}")
        return answer

    def price(self, job: Pricing) -> Priced:
        """Time a configuration's epochs. Raises as `run` does."""
        answer = self._ask(job, lambda check: None)
        if not isinstance(answer, Priced):
            raise WorkerFault(f"unexpected answer {type(answer).__name__}")
        return answer

    def do(self, errand: Errand) -> Any:
        """Whatever comes of the errand. Raises as `run` does."""
        answer = self._ask(errand, lambda check: None)
        if not isinstance(answer, Told):
            raise WorkerFault(f"unexpected answer {type(answer).__name__}")
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
                self._pipe.send(QUIT)

    def wait(self, seconds: float) -> None:
        """Give a process that was dismissed so long to end."""
        if self._is_up:
            self._process.join(seconds)

    def begin(self) -> None:
        """Have the process load TensorFlow, without waiting for it. Raises WorkerFault."""
        if self._process is not None and self._process.is_alive():
            return
        self.kill()
        context = mp.get_context("spawn")  # a fork after TensorFlow's or CUDA's start hangs
        self._pipe, theirs = context.Pipe()
        lifeline, self._lifeline = context.Pipe(duplex=False)
        process = context.Process(target=main, args=(theirs, lifeline, self._seat), daemon=True)
        try:
            with signals_blocked():
                process.start()
        except OSError as error:
            self._pipe.close()
            self._lifeline.close()
            raise WorkerFault(f"no further process can be started: {error}") from None
        finally:
            theirs.close()
            lifeline.close()
        self._process = process
        self._jobs = 0

    def start(self) -> None:
        """Have the process up. Raises WorkerFault, Stopped."""
        if self._is_up and (self._jobs >= _RECYCLE_AFTER or self._has_grown()):
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
        if not isinstance(answer, Ready):
            self.kill()
            raise WorkerFault(f"worker did not start: {answer}")
        self.ready = answer
        self._is_up = True
        if self._material is not None:
            self._hand_over()

    def _has_grown(self) -> bool:
        """Whether it has come to hold more memory of its own than its share."""
        held = host.memory_of(self._process.pid)
        return held is not None and self._seat.memory is not None and held > self._seat.memory

    def _hand_over(self) -> None:
        with contextlib.suppress(OSError):  # a process that died is noticed at its next job
            self._pipe.send(self._material)

    def _ask(self, job: Job | Pricing | Errand, on_check: Callable[[Check], None]) -> Any:
        self.start()
        self._jobs += not (isinstance(job, Job) and job.configuration.embeds)  # heads trace nothing
        try:
            self._pipe.send(job)
        except OSError as error:
            self.kill()
            raise WorkerFault(f"worker lost: {error}") from None
        answer = self._wait(on_check)
        if isinstance(answer, Halted):
            raise Stopped
        if isinstance(answer, Broken):
            raise WorkerFault(answer.text)
        return answer

    def _wait(self, on_check: Callable[[Check], None], most: float | None = None) -> Any:
        """The answer to what was asked; so long (None: as long as others took) there may be silence."""
        heard, told = time.monotonic(), None
        longest: float | None = None
        while True:
            try:
                if self._pipe.poll(_POLL_SECONDS):
                    message = self._pipe.recv()
                    before, heard = heard, time.monotonic()
                    if isinstance(message, Beat):
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
                self._process.join(1.0)
                code = self._process.exitcode
                self.kill()
                if self._should_stop():
                    raise Stopped from None
                raise WorkerDied(code) from None
            now = time.monotonic()
            if told is None and self._should_stop():
                told = now
                with contextlib.suppress(OSError):
                    self._pipe.send(STOP)
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
            self._process.join()
            self._process.close()
            self._pipe.close()
            self._lifeline.close()
            self._process = None
            self._is_up = False
