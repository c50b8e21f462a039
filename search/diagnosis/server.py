"""The process that runs the user's network code: loads TensorFlow, diagnoses, answers; ends when its coordinator does.

What that code prints goes to the log, and what it breaks is this process alone. Messages are plain records over a pipe.
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
"""Last lines of a traceback that the user is shown."""

_PROGRESS_SECONDS: Final = 0.1  # between two messages of one stage: more often nobody can read them


@dataclass(frozen=True, kw_only=True, slots=True)
class DiagnosisJob:
    """The network, the images and the limits of a diagnosis."""

    model: str  # net.py:build or model.keras
    folder: Path  # of the images, as given
    pixels: Path  # (n, side, side, channels) uint8 .npy
    labels: IntArray  # (n,) 0..K-1
    classes: tuple[str, ...]
    budget: float  # seconds
    seed: int
    log: Path  # file for what the user's code and TensorFlow print


@dataclass(frozen=True, slots=True)
class Progress:
    """Message: how far the diagnosis is."""

    stage: str
    done: int  # steps of the stage
    total: int  # steps of the stage; 0: not known


@dataclass(frozen=True, slots=True)
class Finished:
    """Message: the diagnosis is done."""

    diagnosis: Diagnosis


@dataclass(frozen=True, slots=True)
class Refused:
    """Message: the diagnosis can't go on for a reason that the user can change."""

    text: str
    lines: tuple[str, ...] = ()  # last lines of the traceback of their own code


@dataclass(frozen=True, slots=True)
class Crashed:
    """Message: the diagnosis failed through our fault; the text is the traceback."""

    text: str


Examine = Callable[[DiagnosisJob, Callable[[str, int, int], None]], Diagnosis]
"""Diagnoses a job; reports its progress to the function that it is given."""


def main(pipe: Connection, job: DiagnosisJob) -> None:
    """Entry point of the process: diagnose and send the result."""
    if hasattr(os, "setpgid"):
        os.setpgid(0, 0)  # what the user's code starts ends with it
    end_with_parent()
    redirect_output(job.log, 1, 2)
    answer(pipe, job, _examine)


def answer(pipe: Connection, job: DiagnosisJob, examine: Examine) -> None:
    """Send the progress of a diagnosis, and then its result or how it failed.

    Args:
        pipe: to the coordinator.
        job: what to diagnose.
        examine: diagnoses; told where to report its progress (stage, steps done, steps in all).
    """
    message: Finished | Refused | Crashed
    try:
        message = Finished(examine(job, _ProgressSender(pipe)))
    except UserCodeError as error:
        message = Refused(str(error), error.lines)
    except UserError as error:
        message = Refused(str(error))
    except SystemExit as end:
        message = Refused(f"{job.model} ended the process with sys.exit({end.code!r}). Take that call out.")
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
    """The message for an exception: theirs if the user's file is in the traceback, even in the middle of a fit."""
    file = str(Path(model.rpartition(":")[0] or model).resolve())
    frames = traceback.extract_tb(error.__traceback__)
    if not any(str(Path(frame.filename).resolve()) == file for frame in frames):
        return Crashed("".join(traceback.format_exception(error)))
    text = "".join(traceback.format_exception(error)).rstrip().splitlines()
    return Refused(f"{model} raised {type(error).__name__} while it was run.", tuple(text[-TRACEBACK_LINES:]))
