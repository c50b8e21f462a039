"""Entry point of a diagnosis: from the user's request to the result. Loads no TensorFlow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from search.data.format_choice import FormatChoice
from search.data.images import ImageSet, load_images
from search.data.scanned_folder import scan_folder
from search.diagnosis.client import run
from search.diagnosis.evidence import Diagnosis
from search.diagnosis.saved_model import stored_shape
from search.diagnosis.server import DiagnosisJob
from search.errors import UserError
from search.events import Listener

COMMON_CAP: Final = 224  # largest side in pixels at which images of one size keep it
SIZE_CAP: Final = 64  # largest side in pixels that is chosen for images of several sizes


@dataclass(frozen=True, kw_only=True, slots=True)
class DiagnosisRequest:
    """Options of a diagnosis, as the user gave them."""

    data: Path  # image folder
    model: str  # net.py:build or model.keras
    out: Path  # folder for the results
    seed: int = 0
    budget: float = 120.0  # seconds for fits
    labels: Path | None = None  # CSV file of labels; None: sub-folders are the classes
    follow_links: bool = False  # also read images through symbolic links that lead out of the folder

    @property
    def log(self) -> Path:
        """File for the output of the user's code."""
        return self.out / "diagnose.log"


def examine(request: DiagnosisRequest, listener: Listener, run: Callable[..., Diagnosis] = run) -> Diagnosis:
    """Read the images, and diagnose the network in a separate process. Writes `request.log`.

    Args:
        request: the user's options.
        listener: receives the progress.
        run: diagnoses a `DiagnosisJob`; tests replace it.

    Raises:
        UserError: an option is wrong, the images can't be read, or the user's code fails.
    """
    model, side, channels = _named(request.model)
    _refuse_inside(request)
    images = load_images(
        scan_folder(request.data, listener, labels=request.labels, follow_links=request.follow_links),
        FormatChoice(size_cap=SIZE_CAP, image_size=side, channels=channels, common_cap=COMMON_CAP),
        listener,
        folds=1,
    )
    listener.data(images.summary)
    order = _order(request, model, images)
    stage = None

    def on_progress(new: str, done: int, of: int) -> None:
        nonlocal stage
        if new != stage:
            listener.stage(new)
            stage = new
        if done < of:
            listener.progress("steps", done, of)

    return run(order, on_progress)


def _named(model: str) -> tuple[str, int | None, int | None]:
    """Return the full name of the model, and the side and channels of its images (None: not stated)."""
    text, colon, function = model.rpartition(":")
    file = Path(text if colon and text.endswith(".py") else model)
    if file.suffix not in (".py", ".keras"):
        raise UserError(f"--model: expected net.py:build or model.keras, got {model!r}.")
    if not file.is_file():
        raise UserError(f"--model: there is no file {file}. Expected net.py:build or model.keras.")
    if file.suffix == ".keras":
        return str(file), *stored_shape(file)
    return f"{file}:{function if colon and text.endswith('.py') and function else 'build'}", None, None


def _refuse_inside(request: DiagnosisRequest) -> None:
    data, out = request.data.resolve(), request.out.resolve()
    if out == data or data in out.parents:
        raise UserError(
            f"--out {request.out} lies in the image folder {request.data}, where it would be read as a class. "
            "Pass an --out elsewhere."
        )


def _order(request: DiagnosisRequest, model: str, images: ImageSet) -> DiagnosisJob:
    try:
        request.out.mkdir(parents=True, exist_ok=True)
        request.log.write_bytes(b"")
    except OSError as error:
        raise UserError(f"can't write to the folder {request.out}: {error.strerror}. Pass another --out.") from None
    return DiagnosisJob(
        model=model,
        folder=request.data,
        pixels=images.path,
        labels=images.labels,
        classes=tuple(images.summary.classes),
        budget=request.budget,
        seed=request.seed,
        log=request.log,
    )
