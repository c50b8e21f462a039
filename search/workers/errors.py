"""What a worker's fit may end with that is not the fit's own fault."""

from __future__ import annotations


class WorkerError(Exception):
    """The worker died, stalled or raised: our or the machine's fault, worth another try."""


def last_line(text: str) -> str:
    """Of a traceback: what was raised."""
    return text.strip().splitlines()[-1]


class WorkerDied(WorkerError):
    """Its process ended, most often because the system killed it for want of memory.

    Args:
        code: exit code; below zero, the number of the signal that ended it.
    """

    def __init__(self, code: int | None) -> None:
        super().__init__(f"worker died (exit code {code})")
        self.code = code


class WorkerStalled(WorkerError):
    """It said nothing for far longer than epochs take: hung, or its machine is overwhelmed."""


class Stopped(Exception):
    """The fit was ended because the search was told to end."""
