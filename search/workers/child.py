"""What a child process and the one that started it owe each other: neither outlives the other's use for it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from pathlib import Path


@contextmanager
def signals_blocked() -> Iterator[None]:
    """Ctrl-C and a hang-up reach the whole terminal, SIGTERM often the whole group: the coordinator alone decides.

    A process inherits the blocked signals of the thread that starts it.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def end_with_parent() -> None:
    """Have this process, and the group that it leads, killed when its parent has ended, even by kill -9."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # where it could not be blocked
    parent = multiprocessing.parent_process()
    assert parent is not None, "only a process that multiprocessing started has a parent to wait for"
    threading.Thread(target=_die_after, args=(parent,), daemon=True).start()


def redirect_output(log: Path, *descriptors: int) -> None:
    """In the child: what is written past Python to the terminal, where the live display is, goes to the log's end.

    It may explain a crash.
    """
    with log.open("ab") as stream:
        for descriptor in descriptors:
            os.dup2(stream.fileno(), descriptor)


def _die_after(parent: BaseProcess) -> None:
    parent.join()
    if hasattr(os, "killpg") and os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(1)
