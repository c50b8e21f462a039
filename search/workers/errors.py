"""Errors that end a fit without being the fault of its configuration."""

from __future__ import annotations


class WorkerError(Exception):
    """The worker died, stalled or raised because of our code or the machine; the fit is worth another try."""


class WorkerDied(WorkerError):
    """The worker's process ended, most often because the system killed it when memory ran out.

    Args:
        code: exit code; -N if signal N ended the process; None if unknown.
    """

    def __init__(self, code: int | None) -> None:
        super().__init__(f"worker died (exit code {code})")
        self.code = code


class WorkerStalled(WorkerError):
    """The worker sent no message for much longer than an epoch takes: it hangs, or the machine is overloaded."""


class Stopped(Exception):
    """The fit was ended because the search was stopped."""


def last_line(text: str) -> str:
    """Return the last line of a non-empty traceback, which names the exception."""
    return text.strip().splitlines()[-1]
