"""The process that runs the user's network code: loads TensorFlow, diagnoses, and sends the result.

The output of that code goes to the log, and its crashes end this process only. Messages are plain records over a pipe.
"""

from __future__ import annotations

import os
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final

from search.arrays import IntArray
from search.diagnosis.evidence import Diagnosis
from search.errors import UserCodeError, UserError
from search.npy import memmap_npy
from search.workers.child import end_with_parent, redirect_output

TRACEBACK_LINES: Final = 6
"""Number of last lines of a traceback to show to the user."""

_PROGRESS_SECONDS: Final = 0.1  # between two messages of a stage


@dataclass(frozen=True, kw_only=True, slots=True)
class DiagnosisJob:
    """The network, the images and the limits of a diagnosis."""

    model: str  # net.py:build or model.keras
    folder: Path  # image folder, as the user passed it
    pixels: Path  # (n, side, side, channels) uint8 .npy
    labels: IntArray  # (n,) 0..K-1
    classes: tuple[str, ...]
    budget: float  # seconds
    seed: int
    log: Path  # file for the output of the user's code and TensorFlow


@dataclass(frozen=True, slots=True)
class Progress:
    """Message: progress of the diagnosis."""

    stage: str
    done: int  # finished steps of the stage
    total: int  # number of steps of the stage; 0: unknown


@dataclass(frozen=True, slots=True)
class Finished:
    """Message: the diagnosis is done."""

    diagnosis: Diagnosis


@dataclass(frozen=True, slots=True)
class Refused:
    """Message: the diagnosis can't go on because of the user's file or options."""

    text: str
    lines: tuple[str, ...] = ()  # last lines of the traceback of the user's code


@dataclass(frozen=True, slots=True)
class Crashed:
    """Message: the diagnosis failed because of an error in this program."""

    text: str  # the traceback


Examine = Callable[[DiagnosisJob, Callable[[str, int, int], None]], Diagnosis]
"""Diagnoses a job; calls the function with the stage, the finished steps and the number of steps."""


def main(pipe: Connection, job: DiagnosisJob) -> None:
    """Entry point of the process: run the diagnosis and send the result through the pipe."""
    if hasattr(os, "setpgid"):
        os.setpgid(0, 0)  # what the user's code starts ends with it
    end_with_parent()
    redirect_output(job.log, 1, 2)
    answer(pipe, job, _examine)


def answer(pipe: Connection, job: DiagnosisJob, examine: Examine) -> None:
    """Run a diagnosis; send its progress, and then its result or failure. Does not raise.

    Args:
        pipe: pipe to the coordinator.
        job: the network, the images and the limits.
        examine: runs the diagnosis.
    """
    message: Finished | Refused | Crashed
    try:
        message = Finished(examine(job, _ProgressSender(pipe)))
    except UserCodeError as error:
        message = Refused(str(error), error.lines)
    except UserError as error:
        message = Refused(str(error))
    except SystemExit as end:
        message = Refused(f"{job.model} ended the process with sys.exit({end.code!r}). Remove that call.")
    except (BrokenPipeError, ConnectionResetError):
        return  # nobody listens any more
    except Exception as error:
        message = _failure(error, job.model)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    pipe.send(message)


def _examine(job: DiagnosisJob, on_progress: Callable[[str, int, int], None]) -> Diagnosis:
    on_progress("Loading TensorFlow", 0, 0)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import tensorflow  # noqa: F401

    from search.diagnosis.diagnosis import diagnose
    from search.diagnosis.loading import load_case

    on_progress(f"Running {job.model}", 0, 0)
    images = memmap_npy(job.pixels)
    shape = (images.shape[1], images.shape[2], images.shape[3])
    case = load_case(job.model, shape, len(job.classes))
    return diagnose(
        case,
        images,
        job.labels,
        job.classes,
        model=job.model,
        folder=job.folder,
        budget=job.budget,
        seed=job.seed,
        on_progress=on_progress,
    )


class _ProgressSender:
    """Sends progress: the first and last step of each stage, and a few between."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._stage: str | None = None
        self._sent = 0.0

    def __call__(self, stage: str, done: int, total: int) -> None:
        now = time.monotonic()
        if stage != self._stage or done == total or now - self._sent >= _PROGRESS_SECONDS:
            self._stage, self._sent = stage, now
            self._pipe.send(Progress(stage, done, total))


def _failure(error: Exception, model: str) -> Refused | Crashed:
    """Return the message for an exception: `Refused` if the user's file is in the traceback, else `Crashed`."""
    file = str(Path(model.rpartition(":")[0] or model).resolve())
    frames = traceback.extract_tb(error.__traceback__)
    if not any(str(Path(frame.filename).resolve()) == file for frame in frames):
        return Crashed("".join(traceback.format_exception(error)))
    text = "".join(traceback.format_exception(error)).rstrip().splitlines()
    return Refused(f"{model} raised {type(error).__name__} during the diagnosis.", tuple(text[-TRACEBACK_LINES:]))
