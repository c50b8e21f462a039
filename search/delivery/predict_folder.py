"""Prediction of the images in a folder by a delivered model, written as a CSV file."""

from __future__ import annotations

import csv
import logging
import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from search.arrays import FloatArray, IntArray
from search.data.buckets import Squares, nearest, square_side
from search.data.csv_columns import composed
from search.data.decode import RECIPE, Pixels, UnreadableImage, decode, probe
from search.data.parallel import map_in_threads
from search.data.scan import EXTENSIONS, LEADS_OUT, images_in, leads_out
from search.delivery import card as cards
from search.delivery.card import Card
from search.delivery.model_files import draft
from search.delivery.outlier_detector import OutlierDetector
from search.delivery.single_worker import single_worker
from search.delivery.summaries import Predicted
from search.delivery.worker_tasks import PredictImages, ReadShapes
from search.errors import DataError, MismatchError, UserError
from search.events import Listener
from search.workers import devices
from search.workers.errors import WorkerError, last_line
from search.workers.interfaces import MakePool, Worker
from search.workers.pool import WorkerProcessPool
from search.workers.protocol import WorkerResources
from spaces.image_format import ImageFormat

_BATCH: Final = 64  # images that are in the memory at once
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class PredictRequest:
    """The user's request for a prediction."""

    model: Path  # .keras file that `train` wrote
    data: Path  # folder of images in any layout, or a single image
    csv: Path  # CSV file to write
    follow_links: bool = False  # also read images outside the folder that links in it point to


def predict(request: PredictRequest, listener: Listener, make_pool: MakePool = WorkerProcessPool) -> Predicted:
    """Predict every image of a folder and write a CSV file.

    Columns: `file` (relative to the folder, with forward slashes), `class`, `p_<class>` (probability of each class),
    `unlike` (1 for an image unlike the training images, else 0; empty without an outlier detector), and, if the model
    has a decision offset, `raw_<class>` (the probabilities without it).

    Args:
        request: model, images and CSV file.
        listener: notified of stages and progress.
        make_pool: creates a worker pool from the resources of its workers and a function that tells fits to stop.

    Raises:
        UserError: the model, the images or the path of the CSV can't be used; no CSV is written.
    """
    card, stored = cards.read(request.model)
    if card.recipe != RECIPE:
        raise MismatchError(
            f"{request.model} was trained with version {card.recipe} of the image decoding; this version uses "
            f"{RECIPE}. Use the version that trained the model, or train it again."
        )
    side = square_side(card.images.image_size) if card.images.any_size else card.images.image_size
    detector = None if stored is None else OutlierDetector.of_bytes(stored, card.images.channels, side)
    _check_table(request.csv)
    folder, files, skipped = find_images(request.data)
    with tempfile.TemporaryDirectory(prefix="steadynet-") as name:
        gpus = devices.gpus()
        resources = WorkerResources(threads=None, gpu=next(iter(gpus), None), log=Path(name) / "worker.log")
        with single_worker(resources, gpus, make_pool, listener) as worker, draft(request.csv) as part:
            _check_model(worker, request.model, card)
            listener.stage(f"Predicting {len(files):,} images")
            predicted = _write_table(request, card, detector, folder, files, worker, part, listener)
            return replace(predicted, unreadable=dict(sorted((skipped | predicted.unreadable).items())))


def find_images(data: Path) -> tuple[Path, list[str], dict[str, str]]:
    """Find the images in a folder, at any depth.

    Args:
        data: a folder, or a single image with any ending.

    Returns:
        The folder, the sorted paths of the images relative to it, and the files and folders that may hold images but
        are not read -> reason.

    Raises:
        DataError: the path does not exist, or the folder has no image.
    """
    if data.is_file():
        return data.parent, [data.name], {}
    if not data.is_dir():
        raise DataError(f"{data} does not exist. Pass a folder of images, or one image.")
    files, others = images_in(data, ".")
    for name, why in sorted(others.items()):
        _log.warning("Left out %s: %s", name, why)
    if not files:
        raise DataError(f"{data} has no images. Expected files ending in {', '.join(EXTENSIONS)}.")
    return data, sorted(files), others


def _check_table(path: Path) -> None:
    if path.suffix.lower() != ".csv":
        raise UserError(f"--csv {path}: expected a name that ends in .csv.")
    if not path.parent.is_dir():
        raise UserError(f"--csv {path}: there is no folder {path.parent}. Create it, or pass another name.")
    if path.is_dir():
        raise UserError(f"--csv {path} is a folder. Pass the name of a file.")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise UserError(f"--csv {path}: the folder {path.parent} is not writable. Pass another one.")


def _check_model(worker: Worker, model: Path, card: Card) -> None:
    try:
        image, answer = worker.run_task(ReadShapes(model))
    except WorkerError as error:
        raise UserError(f"{model} can't be loaded by Keras: {last_line(str(error))}") from None
    side = None if card.images.any_size else card.images.image_size
    wanted = (side, side, card.images.channels), (len(card.classes),)
    if (image, answer) != wanted:
        raise MismatchError(
            f"{model} has inputs {image} and outputs {answer}, but its card says {wanted[0]} and {wanted[1]}. "
            "Pass the file that train wrote, with its own card."
        )


def _write_table(
    request: PredictRequest,
    card: Card,
    detector: OutlierDetector | None,
    folder: Path,
    files: Sequence[str],
    worker: Worker,
    part: Path,
    listener: Listener,
) -> Predicted:
    unreadable: dict[str, str] = {}
    predicted: list[int] = []
    outliers, readable = 0, []
    offset = np.asarray(card.offset)
    header = ["file", "class", *(f"p_{name}" for name in card.classes), "unlike"]
    if offset.any():
        header += [f"raw_{name}" for name in card.classes]
    with part.open("w", encoding="utf-8", errors="backslashreplace", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(header)
        for names, pixels, shape_ids in _batches(request, folder, files, card, unreadable, listener):
            probabilities = worker.run_task(PredictImages(request.model, pixels, card.images, shape_ids))
            flags = None if detector is None else detector.distances(_squares(pixels, card.images, shape_ids)) > 1
            raw = without_offset(probabilities, offset) if offset.any() else probabilities[:, :0]
            for row, name in enumerate(names):
                label = int(probabilities[row].argmax())
                flag = "" if flags is None else int(flags[row])
                table.writerow(
                    [_cell(name), _cell(card.classes[label]), *_numbers(probabilities[row]), flag, *_numbers(raw[row])]
                )
                predicted.append(label)
            readable += names
            outliers += 0 if flags is None else int(flags.sum())
        stream.flush()
        os.fsync(stream.fileno())
    if not readable:
        file, why = next(iter(unreadable.items()))
        raise DataError(f"none of the images in {request.data} can be read. The first: {file}: {why}.")
    counts = np.bincount(predicted, minlength=len(card.classes))
    notes = []
    if detector is None:
        notes.append("The model has no outlier detector, so the column unlike is empty.")
    return Predicted(
        csv=request.csv,
        images=len(readable),
        classes=dict(zip(card.classes, counts.tolist(), strict=True)),
        unlike=None if detector is None else outliers,
        unreadable=unreadable,
        right=_right(readable, predicted, card),
        notes=tuple(notes),
    )


def _batches(
    request: PredictRequest,
    folder: Path,
    files: Sequence[str],
    card: Card,
    unreadable: dict[str, str],
    listener: Listener,
) -> Iterator[tuple[list[str], Pixels, IntArray]]:
    """Yield names, pixels and shape indices of a few readable images at a time; the others go to `unreadable`."""

    follows = request.follow_links or request.data.is_file()  # if data is itself a link, it is followed

    def read(name: str) -> tuple[Pixels, int] | str:
        path, shape_id, shape = folder / name, 0, None
        if not follows and leads_out(folder, ".", name):
            return LEADS_OUT
        try:
            if card.images.any_size:
                size = probe(path)
                shape_id = int(nearest([(size.width, size.height)], card.images.shapes)[0])
                shape = card.images.shapes[shape_id]
            return decode(path, card.images, shape), shape_id
        except UnreadableImage as error:
            return str(error)

    names: list[str] = []
    images: list[tuple[Pixels, int]] = []

    def batch() -> tuple[list[str], Pixels, IntArray]:
        return names, np.stack([pixels for pixels, _ in images]), np.array([shape_id for _, shape_id in images])

    for name, image in zip(files, map_in_threads(read, files, "images", listener.progress), strict=True):
        if isinstance(image, str):
            unreadable[name] = image
            _log.warning("Left out %s: %s", name, image)
            continue
        names.append(name)
        images.append(image)
        if len(images) == _BATCH:
            yield batch()
            names, images = [], []
    if images:
        yield batch()


def _squares(pixels: Pixels, image_format: ImageFormat, shape_ids: IntArray) -> Any:
    """The images as the outlier detector takes them: an array of squares, or what looks like one."""
    if not image_format.any_size:
        return pixels
    return Squares(pixels, image_format.shapes, shape_ids, square_side(image_format.image_size))


def without_offset(probabilities: FloatArray, offset: np.ndarray) -> FloatArray:
    """Return probabilities `(n, K)` float32 without the decision offset `(K,)` that was added to their logarithms."""
    raw = probabilities * np.exp(-(offset - offset.min()))
    return np.asarray(raw / raw.sum(axis=1, keepdims=True), np.float32)


def _cell(text: str) -> str:
    """Return text with an apostrophe before what a spreadsheet would take for a formula and run (OWASP).

    >>> _cell("=cmd|' /C calc'!A0.png"), _cell("a.png")
    ("'=cmd|' /C calc'!A0.png", 'a.png')
    """
    return f"'{text}" if text[:1] in _FORMULA else text


def _numbers(values: Iterable[float]) -> list[str]:
    return [f"{value:.6g}" for value in values]


def _right(files: Sequence[str], predicted: Sequence[int], card: Card) -> tuple[int, int] | None:
    """Images predicted as the class of their folder, and all images; None unless all lie in folders of classes."""
    folders = [composed(file.partition("/")[0]) for file in files]
    if not set(folders) <= set(card.classes):
        return None
    return sum(card.classes[label] == folder for label, folder in zip(predicted, folders, strict=True)), len(files)
