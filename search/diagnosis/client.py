"""The coordinator's side of a diagnosis: starts the process that runs the user's code and reads its messages."""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, Final

from search.diagnosis import server
from search.diagnosis.evidence import Diagnosis
from search.diagnosis.server import Crashed, DiagnosisJob, Finished, Progress, Refused
from search.errors import UserCodeError
from search.workers.child import ChildProcess

GRACE_SECONDS: Final = 90.0
"""Seconds without a message, in addition to the budget, after which the process is killed."""

START_SECONDS: Final = 300.0
"""The same while TensorFlow loads, which takes minutes from a cold network disk."""

_ENDINGS: Final[Mapping[int, str]] = {
    signal.SIGSEGV: "a segmentation fault",
    signal.SIGABRT: "an abort",
    signal.SIGKILL: "killed, most often because memory ran out: try fewer or smaller images, or a smaller batch",
}
_TENSORFLOW_LINE: Final = re.compile(r"[IWE]\d{4} |WARNING: All log messages before absl::InitializeLog")
_LOG_LINES: Final = 4
_POLL_SECONDS: Final = 0.5


def run(
    job: DiagnosisJob,
    on_progress: Callable[[str, int, int], None],
    *,
    target: Callable[[Connection, DiagnosisJob], None] = server.main,
    grace: float = GRACE_SECONDS,
) -> Diagnosis:
    """Diagnose a network in a separate process, which has ended when this returns or raises.

    Args:
        job: the network, the images and the limits.
        on_progress: called with the stage, the finished steps and the number of steps (0: unknown).
        target: entry point of the process; tests replace it.
        grace: seconds without a message, in addition to the budget, after which the process is killed.

    Raises:
        UserCodeError: the user's code raised, ended the process, or hangs.
        RuntimeError: code of this program raised; the message contains the traceback.
    """
    stage, timeout = "Starting", START_SECONDS + grace
    process = ChildProcess(target, job)
    try:
        while True:
            message = _next_message(process, timeout)
            match message:
                case Progress(new, done, total):
                    if stage != "Starting":  # the first message comes before TensorFlow is loaded, the second after
                        timeout = job.budget + grace
                    stage = new
                    on_progress(new, done, total)
                case Finished(diagnosis):
                    return diagnosis
                case Refused(text, lines):
                    raise UserCodeError(text, lines)
                case Crashed(text):
                    raise RuntimeError(f"the diagnosis failed:\n{text}")
                case None:
                    raise UserCodeError(
                        f"{job.model} sent nothing for {timeout:.0f} s (at: {stage}), so it was ended. "
                        f"If it is only slow, raise --budget. Its output is in {job.log}.",
                        _end_of(job.log),
                    )
                case int(code):
                    raise UserCodeError(
                        f"the process that ran {job.model} ended unexpectedly ({_ending(code)}; at: {stage}). "
                        f"Its output is in {job.log}.",
                        _end_of(job.log),
                    )
    finally:
        process.kill(group=True)  # with all that the user's code started


def _next_message(process: ChildProcess, timeout: float) -> Any:
    """The next message; None after `timeout` seconds without one; the exit code when the process has ended."""
    started = time.monotonic()
    while True:
        wait([process.pipe, process.sentinel], _POLL_SECONDS)
        # What the user's code started may hold the pipe open, so that its end alone would not tell. Checked before the
        # pipe is: what was sent before the end is still read.
        is_alive = process.is_alive()
        try:
            if process.pipe.poll():
                return process.pipe.recv()
        except (EOFError, OSError):
            process.join(_POLL_SECONDS)
            return process.exit_code or 0
        if not is_alive:
            return process.exit_code
        if time.monotonic() - started > timeout:
            return None


def _ending(code: int) -> str:
    return _ENDINGS.get(-code, f"signal {-code}") if code < 0 else f"exit code {code}"


def _end_of(log: Path) -> tuple[str, ...]:
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ()
    return tuple(line for line in lines if line.strip() and not _TENSORFLOW_LINE.match(line))[-_LOG_LINES:]
