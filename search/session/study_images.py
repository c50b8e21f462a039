"""The images of a study: reading them, checking them for problems, and storing facts about them for the report."""

from __future__ import annotations

import logging
import platform
from dataclasses import asdict, dataclass
from importlib import metadata
from typing import Final

from search.data.buckets import LEAST_SIDE
from search.data.format_choice import FormatChoice
from search.data.images import ImageSet, load_images
from search.data.scanned_folder import ScannedFolder, scan_folder
from search.errors import MismatchError, UserError
from search.events import Listener
from search.inspection import folder_check
from search.inspection.findings import KINDS, Severity
from search.request import SearchRequest
from search.settings import TrainingProtocol
from search.storage.ledger import Ledger
from spaces.backbones import BACKBONES, NO_BACKBONE

SIDES: Final = (8, 1024)
"""Smallest and largest allowed side of images, in pixels."""

SIZE_CAP_CPU: Final = 64
"""Largest side in pixels that `--image-size auto` chooses on a CPU."""

SIZE_CAP_GPU: Final = 128
"""Largest side in pixels that `--image-size auto` chooses on a GPU."""

SIZE_CAPS_PRETRAINED: Final = (128, 224)
"""Largest sides in pixels that `--image-size auto` chooses on a CPU and on a GPU if all networks are pretrained.

Pretrained networks expect 224 pixels, and a frozen one processes each image only once.
"""

_PACKAGES: Final = ("optuna", "numpy", "scikit-learn", "pillow")  # their versions are stored

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LoadedImages:
    """The images of a search, the test images if there are any, and the folders that they were read from."""

    images: ImageSet
    test: ImageSet | None
    folder: ScannedFolder
    test_folder: ScannedFolder | None


def load_study_images(
    request: SearchRequest,
    listener: Listener,
    *,
    image_size: int | None,
    on_gpu: bool,
    shapes: tuple[tuple[int, int], ...] = (),
) -> LoadedImages:
    """Read the training images, and the test images (if there are any) in the same format.

    Args:
        request: the user's request, with the folders and CSV files.
        listener: notified of stages and progress.
        image_size: side in pixels; None: chosen from the sizes of the files.
        on_gpu: whether there is a GPU, which allows larger images.
        shapes: (height, width) in pixels of the shapes of earlier sessions; only used if images keep their own sizes.

    Raises:
        UserError: `image_size` is out of range, or the images can't be used with these options.
    """
    if image_size is not None and not SIDES[0] <= image_size <= SIDES[1]:
        option = "--max-side" if request.native else "--image-size"
        raise UserError(f"{option} must be between {SIDES[0]} and {SIDES[1]} pixels, got {image_size}.")
    cap = SIZE_CAP_GPU if on_gpu else SIZE_CAP_CPU
    if request.space.backbones_on_study and NO_BACKBONE not in request.space.definitions["backbone"]:
        cap = SIZE_CAPS_PRETRAINED[on_gpu]
    folder = scan_folder(
        request.data, listener, labels=request.labels, groups=request.groups, follow_links=request.follow_links
    )
    images = load_images(
        folder,
        FormatChoice(
            size_cap=cap,
            image_size=image_size,
            native=request.native,
            shapes=shapes if request.native else (),
            shortest_side=max([LEAST_SIDE, *(BACKBONES[name].smallest for name in request.space.backbones_on_study)]),
        ),
        listener,
        folds=request.folds,
        copies_in=0 if request.split_copies else request.folds,
        resolutions=request.space.resolutions,
    )
    test = request.test or folder.files.test
    if test is None:
        return LoadedImages(images, None, folder, None)
    test_folder = scan_folder(
        test, listener, classes=folder.files.classes, labels=request.labels, follow_links=request.follow_links
    )
    test_images = load_images(test_folder, images.format, listener, resolutions=request.space.resolutions)
    return LoadedImages(images, test_images, folder, test_folder)


def record_findings(ledger: Ledger, loaded: LoadedImages, *, native: bool) -> None:
    """Check the images, log the findings and store them for the report, unless this was done for the study before.

    Args:
        ledger: the study's ledger.
        loaded: the images.
        native: whether the images nearly keep their own sizes.
    """
    if ledger.fact("findings") is not None:
        return
    findings = folder_check.check_briefly(loaded.folder, loaded.test_folder, native=native)
    for finding in findings:
        if finding.severity is not Severity.NOTE:
            _log.warning("%s: %s", KINDS[finding.kind], finding.detail)
    rows = [[finding.kind, str(finding.severity), finding.detail, len(finding.files)] for finding in findings]
    ledger.set_fact("findings", rows)


def record_images(ledger: Ledger, request: SearchRequest, images: ImageSet) -> None:
    """Store the facts about images and request that a report needs, so that it can be rewritten without the images."""
    ledger.set_fact("settings", {**request.settings, "command": request.command})
    if ledger.fact("data") is None:
        ledger.set_fact("data", asdict(images.summary))
        ledger.set_fact("labels", images.labels.tolist())
        ledger.set_fact("groups", None if images.groups is None else images.groups.tolist())
        ledger.set_fact("files", list(images.files))
        ledger.set_fact("device", "none yet")
    versions = {"python": platform.python_version(), **{name: metadata.version(name) for name in _PACKAGES}}
    ledger.set_fact("versions", {**(ledger.fact("versions") or {}), **versions})


def stored_shapes(ledger: Ledger | None) -> tuple[tuple[int, int], ...]:
    """Return the stored shapes (height, width) of a study's images; empty for squares, or before the first fit."""
    stored = None if ledger is None else ledger.fact("protocol")
    return () if stored is None else TrainingProtocol.from_stored(stored).images.shapes


def settle_max_side(ledger: Ledger, request: SearchRequest) -> None:
    """Store the `--max-side` of a study whose images keep their own sizes; does nothing for other studies.

    Raises:
        MismatchError: the study was begun with another `--max-side`.
    """
    if not request.native:
        return
    stored = ledger.settle_fact("max_side", request.image_size)
    if request.image_size is not None and request.image_size != stored:
        raise MismatchError(
            f"{request.out} has a study with --max-side {stored or 'auto'}, now it is {request.image_size}."
            " Pass another --out for a new study, or the same options to continue it."
        )
