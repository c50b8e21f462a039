"""What stands in for the process with TensorFlow: children that behave, and children that do not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NoReturn

from search.diagnosis.server import DiagnosisJob, answer
from search.errors import UserCodeError, UserError
from search.workers.child import end_with_parent, redirect_output
from tests.reports import fake_diagnosis as fake


def obedient(pipe: Connection, job: DiagnosisJob) -> None:
    """Does what the model's name says."""
    os.setpgid(0, 0)
    end_with_parent()
    redirect_output(job.log, 1, 2)
    deed = DEEDS[job.model]
    answer(pipe, job, deed)


def _works(job: DiagnosisJob, on_progress: Any) -> fake.Diagnosis:
    sys.stdout.write("printed by the user's code\n")
    os.write(2, b"written by a library\n")
    for done in range(4):
        on_progress("Training", done, 3)
    return fake.diagnosis(model=job.model, folder=job.folder)


def _raises_theirs(job: DiagnosisJob, on_progress: Any) -> NoReturn:
    raise UserCodeError("net.py: build raised ValueError: no", ("line 1", "line 2"))


def _raises_for_the_user(job: DiagnosisJob, on_progress: Any) -> NoReturn:
    raise UserError("too few images")


def _raises_ours(job: DiagnosisJob, on_progress: Any) -> NoReturn:
    raise ZeroDivisionError("our bug")


def _exits(job: DiagnosisJob, on_progress: Any) -> NoReturn:
    sys.exit("done early")


def _vanishes(job: DiagnosisJob, on_progress: Any) -> NoReturn:
    os.write(2, b"last words\n\nI0000 00:00:1795326922.7 6566 port.cc:153] on\n")
    os._exit(7)


def _is_killed(job: DiagnosisJob, on_progress: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _crashes(job: DiagnosisJob, on_progress: Any) -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def _leaves_a_child(job: DiagnosisJob, on_progress: Any) -> NoReturn:
    """Dies, and what it started lives on and holds the pipe open."""
    pid = os.fork()
    if pid == 0:
        time.sleep(600)
    on_progress(str(pid), 0, 0)
    os._exit(3)


def _hangs(job: DiagnosisJob, on_progress: Any) -> None:
    started = subprocess.Popen(["sleep", "600"])
    on_progress("Loading TensorFlow", 0, 0)
    on_progress(f"Hanging {os.getpid()} {started.pid}", 0, 0)
    time.sleep(600)


DEEDS = {
    "works": _works,
    "theirs": _raises_theirs,
    "user": _raises_for_the_user,
    "ours": _raises_ours,
    "exits": _exits,
    "vanishes": _vanishes,
    "killed": _is_killed,
    "crashes": _crashes,
    "leaves": _leaves_a_child,
    "hangs": _hangs,
}


def wait_until_gone(pid: int) -> bool:
    """Whether a process ends within some seconds; a zombie has ended."""
    for _ in range(400):
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.02)
    return False
