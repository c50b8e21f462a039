"""Child processes: started, watched and killed by their parent; ended by themselves when it has died."""

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
    """A spawned process and this side's end of a pipe to it.

    Args:
        target: entry point: a function of a module, called with the process's end of the pipe and with `argument`.
        argument: anything that can be pickled.

    Raises:
        OSError: the system starts no further process.
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
        """Exit code, below zero the number of the signal that ended the process; None while it runs."""
        return self._process.exitcode

    def is_alive(self) -> bool:
        """Whether the process runs."""
        return self._process.is_alive()

    def join(self, seconds: float) -> None:
        """Wait for the end of the process, at most so many seconds."""
        self._process.join(seconds)

    def kill(self, *, group: bool = False) -> None:
        """End the process at once and close the pipe; nothing can be asked of it any more.

        Args:
            group: end all of the process group, too, that the process leads.
        """
        if group and hasattr(os, "killpg"):
            with suppress(ProcessLookupError, PermissionError):  # it has no group yet, or is gone with all of it
                os.killpg(self.pid, signal.SIGKILL)
        self._process.kill()
        self._process.join()
        self._process.close()
        self.pipe.close()


def end_with_parent() -> None:
    """Have this process, and the group that it leads, killed when its parent has ended, even by kill -9."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # where it could not be blocked
    parent = multiprocessing.parent_process()
    assert parent is not None, "only a process that multiprocessing started has a parent to wait for"
    threading.Thread(target=_die_after, args=(parent,), daemon=True).start()


def redirect_output(log: Path, *descriptors: int) -> None:
    """Append to `log` what this process, or a library in it, writes to these file descriptors.

    Written to the terminal it would break the live display; in the log it may explain a crash.
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
