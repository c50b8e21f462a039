"""Child processes that their parent starts, watches and kills, and that end when the parent dies."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import TypeVar

Argument = TypeVar("Argument")


class ChildProcess:
    """A spawned process and the parent's end of a pipe to it.

    Args:
        target: entry point, a module-level function; called with the child's end of the pipe and `argument`.
        argument: any value that can be pickled.

    Raises:
        OSError: the system can't start another process.
    """

    def __init__(self, target: Callable[[Connection, Argument], None], argument: Argument) -> None:
        context = multiprocessing.get_context("spawn")  # a fork hangs after TensorFlow, CUDA or a thread has started
        self.pipe, child_end = context.Pipe()
        self._process: BaseProcess = context.Process(target=target, args=(child_end, argument), daemon=True)
        try:
            with _signals_blocked():
                self._process.start()
        except OSError:
            self.pipe.close()
            raise
        finally:
            child_end.close()

    @property
    def pid(self) -> int:
        """Process id."""
        assert self._process.pid is not None, "it is set as soon as the process is started"
        return self._process.pid

    @property
    def sentinel(self) -> int:
        """Handle for `multiprocessing.connection.wait` that is ready when the process has ended."""
        return self._process.sentinel

    @property
    def exit_code(self) -> int | None:
        """Exit code; -N if signal N ended the process; None while it runs."""
        return self._process.exitcode

    def is_alive(self) -> bool:
        """Whether the process is still running."""
        return self._process.is_alive()

    def join(self, seconds: float) -> None:
        """Wait until the process has ended, for at most `seconds`."""
        self._process.join(seconds)

    def kill(self, *, group: bool = False) -> None:
        """Kill the process and close the pipe. No other method may be called afterwards.

        Args:
            group: also kill every process of the process group that the child leads.
        """
        if group and hasattr(os, "killpg"):
            with suppress(ProcessLookupError, PermissionError):  # it has no group yet, or is gone with all of it
                os.killpg(self.pid, signal.SIGKILL)
        self._process.kill()
        self._process.join()
        self._process.close()
        self.pipe.close()


def end_with_parent() -> None:
    """Kill this process, and the process group that it leads, as soon as its parent ends, even by kill -9."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # where it could not be blocked
    parent = multiprocessing.parent_process()
    assert parent is not None, "only a process that multiprocessing started has a parent to wait for"
    threading.Thread(target=_die_after, args=(parent,), daemon=True).start()


def redirect_output(log: Path, *descriptors: int) -> None:
    """Append the output of this process to a log, so that it can't break the live display and may explain a crash.

    Args:
        log: file to append to; created if it does not exist.
        descriptors: file descriptors to redirect, such as 1 (stdout) and 2 (stderr).
    """
    with log.open("ab") as stream:
        for descriptor in descriptors:
            os.dup2(stream.fileno(), descriptor)


@contextmanager
def _signals_blocked() -> Iterator[None]:
    """Keep SIGINT, SIGTERM and SIGHUP from processes started inside: they inherit what this thread blocks.

    Ctrl-C and a hang-up reach the whole terminal, SIGTERM often the whole group, but the coordinator alone decides.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _die_after(parent: BaseProcess) -> None:
    parent.join()
    if hasattr(os, "killpg") and os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(1)
