"""Errors of a fit that are not the fault of its configuration."""

from __future__ import annotations


class WorkerError(Exception):
    """The worker died, stalled or raised: our fault or the machine's, worth another try."""


class WorkerDied(WorkerError):
    """The worker's process ended, most often because the system killed it for want of memory.

    Args:
        code: exit code; below zero, the number of the signal that ended it.
    """

    def __init__(self, code: int | None) -> None:
        super().__init__(f"worker died (exit code {code})")
        self.code = code


class WorkerStalled(WorkerError):
    """The worker sent nothing for far longer than epochs take: it hangs, or its machine is overloaded."""


class Stopped(Exception):
    """The fit was ended because the search was told to stop."""


def last_line(text: str) -> str:
    """Return the last line of a traceback, which names the exception."""
    return text.strip().splitlines()[-1]
