"""The process that runs the user's code: loads TensorFlow, diagnoses, answers; ends when its coordinator does.

Whatever that code prints or breaks stays in here. Messages are plain records over a pipe between two processes of
ours.
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

SHOWN: Final = 6
"""Last lines of a traceback that are handed on."""

_REST_SECONDS: Final = 0.1  # between two messages of one stage: progress is for eyes


@dataclass(frozen=True, kw_only=True, slots=True)
class DiagnosisJob:
    """What is to be diagnosed."""

    model: str  # net.py:build or model.keras
    folder: Path  # of the images, as given
    pixels: Path  # (n, side, side, channels) uint8 .npy
    labels: IntArray  # (n,) 0..K-1
    classes: tuple[str, ...]
    budget: float  # seconds
    seed: int
    log: Path  # for what the user's code prints, and TensorFlow


@dataclass(frozen=True, slots=True)
class Progress:
    """How far it is."""

    stage: str
    done: int
    of: int


@dataclass(frozen=True, slots=True)
class Finished:
    """All that was found."""

    diagnosis: Diagnosis


@dataclass(frozen=True, slots=True)
class Refused:
    """The user can mend it; `lines` are the last ones of their own traceback."""

    text: str
    lines: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Crashed:
    """We are at fault; the text is the traceback."""

    text: str


Examine = Callable[[DiagnosisJob, Callable[[str, int, int], None]], Diagnosis]


def main(pipe: Connection, order: DiagnosisJob) -> None:
    """Entry point of the process."""
    if hasattr(os, "setpgid"):
        os.setpgid(0, 0)  # what the user's code starts ends with it
    end_with_parent()
    redirect_output(order.log, 1, 2)
    answer(pipe, order, _examine)


def answer(pipe: Connection, order: DiagnosisJob, examine: Examine) -> None:
    """Send what `examine` tells, and then what it gives or how it fails."""
    message: Finished | Refused | Crashed
    try:
        message = Finished(examine(order, _Teller(pipe)))
    except UserCodeError as error:
        message = Refused(str(error), error.lines)
    except UserError as error:
        message = Refused(str(error))
    except SystemExit as end:
        message = Refused(f"{order.model} ended the process with sys.exit({end.code!r}). Take that call out.")
    except (BrokenPipeError, ConnectionResetError):
        return  # nobody listens any more
    except Exception as error:
        message = _blame(error, order.model)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    pipe.send(message)


def _examine(order: DiagnosisJob, on_progress: Callable[[str, int, int], None]) -> Diagnosis:
    on_progress("Loading TensorFlow", 0, 0)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import tensorflow  # noqa: F401

    from search.diagnosis.diagnosis import diagnose
    from search.diagnosis.loading import load_case

    on_progress(f"Running {order.model}", 0, 0)
    images = memmap_npy(order.pixels)
    shape = (images.shape[1], images.shape[2], images.shape[3])
    case = load_case(order.model, shape, len(order.classes))
    return diagnose(
        case,
        images,
        order.labels,
        order.classes,
        model=order.model,
        folder=order.folder,
        budget=order.budget,
        seed=order.seed,
        on_progress=on_progress,
    )


class _Teller:
    """Sends progress on: every stage's first and last step, and a few between."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._stage: str | None = None
        self._when = 0.0

    def __call__(self, stage: str, done: int, of: int) -> None:
        now = time.monotonic()
        if stage != self._stage or done == of or now - self._when >= _REST_SECONDS:
            self._stage, self._when = stage, now
            self._pipe.send(Progress(stage, done, of))


def _blame(error: Exception, model: str) -> Refused | Crashed:
    """The user's fault if their file stands in the traceback: it may raise in the middle of a fit as well."""
    file = str(Path(model.rpartition(":")[0] or model).resolve())
    frames = traceback.extract_tb(error.__traceback__)
    if not any(str(Path(frame.filename).resolve()) == file for frame in frames):
        return Crashed("".join(traceback.format_exception(error)))
    text = "".join(traceback.format_exception(error)).rstrip().splitlines()
    return Refused(f"{model} raised {type(error).__name__} while it was run.", tuple(text[-SHOWN:]))
