"""Worker processes: started when needed, reused, recycled, killed when they stall or will not stop."""

from __future__ import annotations

import contextlib
import multiprocessing as mp
import queue
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from search.lifeline import signals_blocked
from search.records import Check
from search.study.machine import Gpu, shares
from search.study.worker import (
    QUIT,
    STOP,
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
    main,
)

_POLL_SECONDS: Final = 0.2
_START_SECONDS: Final = 300.0  # importing TensorFlow from a cold network disk takes minutes
_STALL_SECONDS: Final = 1800.0  # without a word from a fit (checks come about thirty times a fit)
_STOP_SECONDS: Final = 8.0  # from STOP to the kill
_FAREWELL_SECONDS: Final = 1.0  # from QUIT to the kill
_RECYCLE_AFTER: Final = 400  # fits: TensorFlow's memory grows a little with each network


class WorkerFault(Exception):
    """The worker died, stalled or raised: our or the machine's fault, worth another try."""


def last_line(text: str) -> str:
    """Of a traceback: what was raised."""
    return text.strip().splitlines()[-1]


class WorkerDied(WorkerFault):
    """Its process ended, most often because the system killed it for want of memory."""


class Stopped(Exception):
    """The fit was ended because the search was told to end."""


class Worker:
    """One process. Not for two threads at once.

    Args:
        seat: where it works.
        should_stop: asked some five times a second while a fit runs; True ends it.
    """

    def __init__(self, seat: Seat, should_stop: Callable[[], bool]) -> None:
        self._seat = seat
        self._should_stop = should_stop
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

    def run(self, job: Job, on_check: Callable[[Check], None] = lambda check: None) -> Done:
        """Run one fit.

        Raises:
            Stopped: `should_stop` said so.
            WorkerFault: anything that is not the configuration's fault.
        """
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

    def close(self) -> None:
        """End the process, kindly if it listens."""
        try:
            self.dismiss()
            self.wait(_FAREWELL_SECONDS)
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
        if self._process is not None and self._jobs >= _RECYCLE_AFTER:
            self.close()
        self.begin()
        if self._is_up:
            return
        answer = self._wait(lambda check: None, _START_SECONDS)
        if not isinstance(answer, Ready):
            self.kill()
            raise WorkerFault(f"worker did not start: {answer}")
        self.ready = answer
        self._is_up = True
        if self._material is not None:
            self._hand_over()

    def _hand_over(self) -> None:
        with contextlib.suppress(OSError):  # a process that died is noticed at its next job
            self._pipe.send(self._material)

    def _ask(self, job: Job | Pricing | Errand, on_check: Callable[[Check], None]) -> Any:
        self.start()
        self._jobs += 1
        try:
            self._pipe.send(job)
        except OSError as error:
            self.kill()
            raise WorkerFault(f"worker lost: {error}") from None
        answer = self._wait(on_check, _STALL_SECONDS)
        if isinstance(answer, Halted):
            raise Stopped
        if isinstance(answer, Broken):
            raise WorkerFault(answer.text)
        return answer

    def _wait(self, on_check: Callable[[Check], None], patience: float) -> Any:
        heard, told = time.monotonic(), None
        while True:
            try:
                if self._pipe.poll(_POLL_SECONDS):
                    message = self._pipe.recv()
                    heard = time.monotonic()
                    if not isinstance(message, Check):
                        return message
                    on_check(message)
            except (EOFError, OSError):
                self._process.join(1.0)
                code = self._process.exitcode
                self.kill()
                if self._should_stop():
                    raise Stopped from None
                raise WorkerDied(f"worker died (exit code {code})") from None
            now = time.monotonic()
            if told is None and self._should_stop():
                told = now
                with contextlib.suppress(OSError):
                    self._pipe.send(STOP)
            if told is not None and now - told > _STOP_SECONDS:
                self.kill()
                raise Stopped
            if now - heard > patience:
                self.kill()
                raise WorkerFault(f"worker stalled: no word for {patience:.0f} s")

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


def seats(out: Path, workers: int | None, gpus: tuple[Gpu, ...]) -> list[Seat]:
    """One for each worker.

    Args:
        out: run folder, for TensorFlow's own messages.
        workers: how many, None for one a GPU, else one.
        gpus: to work on.
    """
    return [Seat(threads=threads, gpu=gpu, log=out / "worker.log") for gpu, threads in shares(workers, gpus)]


class Pool:
    """A few workers, handed out one at a time."""

    def __init__(self, seats: Sequence[Seat], should_stop: Callable[[], bool]) -> None:
        self._workers = [Worker(seat, should_stop) for seat in seats]
        self._free: queue.SimpleQueue[Worker] = queue.SimpleQueue()
        for worker in self._workers:
            self._free.put(worker)

    def __len__(self) -> int:
        return len(self._workers)

    def begin(self) -> None:
        """Have all processes load TensorFlow, without waiting for them. Raises WorkerFault."""
        for worker in self._workers:
            worker.begin()

    def supply(self, material: Material) -> None:
        """What all fits train on, from now on."""
        for worker in self._workers:
            worker.supply(material)

    @contextmanager
    def worker(self) -> Iterator[Worker]:
        """A worker for as long as the block lasts."""
        worker = self._free.get()
        try:
            yield worker
        finally:
            self._free.put(worker)

    @property
    def ready(self) -> Ready | None:
        """What a worker told of its device and versions; None before the first is up."""
        return next((worker.ready for worker in self._workers if worker.ready is not None), None)

    def start(self) -> None:
        """Have all processes up. Raises WorkerFault, Stopped."""
        for worker in self._workers:
            worker.start()

    def close(self) -> None:
        """End all processes: they have a second together."""
        try:
            for worker in self._workers:
                worker.dismiss()
            end = time.monotonic() + _FAREWELL_SECONDS
            for worker in self._workers:
                worker.wait(max(0.0, end - time.monotonic()))
        finally:
            for worker in self._workers:
                worker.kill()


MakePool = Callable[[Sequence[Seat], Callable[[], bool]], Pool]
"""Makes the workers, from where each works and from who says that a fit must stop."""
