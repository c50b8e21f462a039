"""What has to be known before the first fit: images, what reports need of them, protocol, plan, folds, baselines."""

from __future__ import annotations

import logging
import platform
from dataclasses import asdict, dataclass, replace
from importlib import metadata
from typing import Final

import numpy as np
import optuna

from search.data.buckets import LEAST_SIDE
from search.data.folds import fold_warnings
from search.data.format_choice import FormatChoice
from search.data.images import ImageSet, load_images
from search.data.scanned_folder import ScannedFolder, scan_folder
from search.errors import MismatchError, UserError
from search.events import Listener
from search.fits.runner import StudySetup
from search.inspection import folder_check
from search.inspection.findings import KINDS, Severity
from search.records import CONFIRM, NEIGHBOUR
from search.request import (
    SearchDesign,
    SearchRequest,
    bound_space,
    planned_design,
    start_configurations,
    weight_digests,
)
from search.schedule.plan import CONFIRM_SHARE, auto_epochs, make_plan
from search.selection import metrics
from search.selection.baselines import baselines
from search.selection.shortlist import REPEATS
from search.settings import Plan, TrainingProtocol
from search.storage.ledger import Ledger
from search.workers.protocol import Timing, TimingJob
from spaces.backbones import BACKBONES, NO_BACKBONE
from spaces.config import Configuration
from spaces.space import Space

SIDES: Final = (8, 1024)
"""Smallest and largest side in pixels that may be asked for."""

SIZE_CAP_CPU: Final = 64  # pixels that --image-size auto takes at most
SIZE_CAP_GPU: Final = 128
SIZE_CAPS_PRETRAINED: Final = (128, 224)
"""On a CPU and a GPU, where all networks are pretrained: they know 224 pixels, and frozen ones run only once."""
SNAPSHOTS: Final = "paused"  # folder in the run folder: fits that were cut off between two epochs
_ANOTHER: Final = 1.2  # times what finalists took so far: that much they may take again, if they are others
_MOST: Final = 0.5  # of a session is kept back while there is nobody to confirm
_PRICED_STEPS: Final = 16  # that an epoch has at most where it is timed
_PACKAGES: Final = ("optuna", "numpy", "scikit-learn", "pillow")

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LoadedImages:
    """The images of a search, the test images if there are any, and the folders that they were read from."""

    images: ImageSet
    test: ImageSet | None
    folder: ScannedFolder
    test_folder: ScannedFolder | None


def load(
    request: SearchRequest,
    image_size: int | None,
    on_gpu: bool,
    listener: Listener,
    shapes: tuple[tuple[int, int], ...] = (),
) -> LoadedImages:
    """Read the images and, if there are any, the test images in the same format.

    Args:
        request: names the folders.
        image_size: pixels a side, None picks one.
        on_gpu: whether there is a GPU, which allows larger images.
        listener: told how far it is.
        shapes: (height, width) that the study's images were brought to in earlier sessions, if they keep their sizes.

    Raises:
        UserError: the images can't be used, or not with these options.
    """
    if image_size is not None and not SIDES[0] <= image_size <= SIDES[1]:
        option = "--max-side" if request.native else "--image-size"
        raise UserError(f"{option} lies between {SIDES[0]} and {SIDES[1]} pixels; got {image_size}.")
    cap = SIZE_CAP_GPU if on_gpu else SIZE_CAP_CPU
    if request.space.backbones and NO_BACKBONE not in request.space.definitions["backbone"]:
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
            shortest_side=max([LEAST_SIDE, *(BACKBONES[name].smallest for name in request.space.backbones)]),
        ),
        listener,
        folds=request.folds,
        copies_in=0 if request.split_copies else request.folds,
    )
    test = request.test or folder.files.test
    if test is None:
        return LoadedImages(images, None, folder, None)
    test_folder = scan_folder(
        test, listener, classes=folder.files.classes, labels=request.labels, follow_links=request.follow_links
    )
    test_images = load_images(test_folder, images.format, listener)
    return LoadedImages(images, test_images, folder, test_folder)


def record_findings(ledger: Ledger, loaded: LoadedImages, *, native: bool) -> None:
    """Log what is wrong with the images and store it for the report, if that has not been done for this study.

    Args:
        ledger: of the study.
        loaded: the images.
        native: the images keep their sizes.
    """
    if ledger.fact("findings") is not None:
        return
    findings = folder_check.check_briefly(loaded.folder, loaded.test_folder, native=native)
    for one in findings:
        if one.severity is not Severity.NOTE:
            _log.warning("%s: %s", KINDS[one.kind], one.detail)
    ledger.set_fact("findings", [[one.kind, str(one.severity), one.detail, len(one.files)] for one in findings])


def describe(ledger: Ledger, request: SearchRequest, images: ImageSet) -> None:
    """Keep what a report needs, so that it can be made again without images and without TensorFlow."""
    ledger.set_fact("settings", {**request.settings, "command": request.command})
    if ledger.fact("data") is None:
        ledger.set_fact("data", asdict(images.summary))
        ledger.set_fact("labels", images.labels.tolist())
        ledger.set_fact("groups", None if images.groups is None else images.groups.tolist())
        ledger.set_fact("files", list(images.files))
        ledger.set_fact("device", "none yet")
    ours = {"python": platform.python_version(), **{name: metadata.version(name) for name in _PACKAGES}}
    ledger.set_fact("versions", {**(ledger.fact("versions") or {}), **ours})


def make_terms(
    request: SearchRequest,
    images: ImageSet,
    design: SearchDesign,
    ledger: Ledger,
    listener: Listener,
    *,
    asked: TrainingProtocol,
    workers: int,
    priced: Timing | None,
    told: tuple[str, ...] = (),
    seconds: float | None,
    usual: float | None = None,
    test: bool,
) -> tuple[StudySetup, SearchDesign]:
    """What all fits of the study share: protocol, plan, folds; kept in the ledger with the baselines' scores.

    Args:
        request: what was asked for.
        images: to train on.
        design: from `check_request`.
        ledger: of the study; what stands there stays.
        listener: told how far it is.
        asked: from `protocol`.
        workers: that train at the same time.
        priced: what the reference configuration costs; None if it was not timed.
        told: what else the plan of a new study notes.
        seconds: left of the budget, None without a limit.
        usual: that a session of the study has, by which epochs and folds are chosen; None: as this one.
        test: whether a final training and a test follow.

    Returns:
        These, and the design for the folds and epochs of the plan.
    """
    if usual is not None and usual != seconds and kept_plan(ledger) is None:
        plan = _timed_plan(request, ledger, asked, usual, priced or Timing(0.0, 0.0), workers=workers, test=test)
        _settled(ledger, asked, plan)
    plan = _timed_plan(request, ledger, asked, seconds, priced or Timing(0.0, 0.0), workers=workers, test=test)
    asked, plan = _settled(ledger, asked, plan)
    design = planned_design(request, images, design, plan.folds, plan.epochs)
    sentences = fold_warnings(images.labels, design.folds, tuple(images.summary.classes))
    for sentence in sentences:
        _log.warning("%s", sentence)
    terms = StudySetup(
        labels=images.labels,
        folds=design.folds,
        fingerprint=images.summary.fingerprint,
        protocol=replace(asked, epochs=plan.epochs),
        plan=replace(plan, notes=tuple(dict.fromkeys((*told, *plan.notes, *sentences)))),
        metric=request.metric,
        chance=metrics.chance(request.metric, images.labels),
        seed=request.seed,
        checkpoints=request.out / SNAPSHOTS,
    )
    if ledger.fact("baselines") is None:
        listener.stage("Scoring the baselines")
        pairs = [(fold.train, fold.val) for fold in design.folds]
        ledger.set_fact("baselines", baselines(images.squares(), images.labels, pairs, request.metric))
    keep_plan(ledger, terms.protocol, terms.plan)
    return terms, design


def kept_shapes(ledger: Ledger | None) -> tuple[tuple[int, int], ...]:
    """That images of every size are brought to; none before the study's first fit, and where all are squares."""
    stored = None if ledger is None else ledger.fact("protocol")
    return () if stored is None else TrainingProtocol.from_stored(stored).images.shapes


def settle_side(ledger: Ledger, request: SearchRequest) -> None:
    """Keep the longest side of images of every size. Raises MismatchError where another is asked for than is kept."""
    if not request.native:
        return
    kept = ledger.settle_fact("max_side", request.image_size)
    if request.image_size is not None and request.image_size != kept:
        raise MismatchError(
            f"{request.out} holds a study of another --max-side (there: {kept or 'auto'}, now: {request.image_size}). "
            "Pass another --out for a new study, or the same options to go on with it."
        )


def without_time(request: SearchRequest, images: ImageSet, ledger: Ledger) -> None:
    """Keep a plan for the report of a study whose time was over before it could be made."""
    asked = protocol(request, images, ledger, "float32")
    note = "The time was over before the first epochs were timed: give it more --timeout."
    plan = Plan(
        epochs=asked.epochs,
        folds=request.folds,
        search_seconds=0.0,
        final_seconds=0.0,
        fit_seconds=None,
        notes=(note,),
    )
    keep_plan(ledger, asked, plan)


def _settled(ledger: Ledger, protocol: TrainingProtocol, plan: Plan) -> tuple[TrainingProtocol, Plan]:
    """With the epochs and folds of the study's fits, whichever host was the first to have a plan."""
    first = ledger.settle_fact("plan", asdict(plan))
    plan = replace(plan, epochs=first["epochs"], folds=first["folds"])
    stored = ledger.settle_fact("protocol", replace(protocol, epochs=plan.epochs).as_stored())
    return TrainingProtocol.from_stored(stored), plan


def keep_plan(ledger: Ledger, protocol: TrainingProtocol, plan: Plan) -> None:
    """The plan and the protocol that it belongs to."""
    ledger.set_fact("protocol", protocol.as_stored())
    ledger.set_fact("plan", asdict(plan))


def kept_plan(ledger: Ledger) -> Plan | None:
    """The study's plan, None if it has none yet."""
    stored = ledger.fact("plan")
    return None if stored is None else Plan(**{**stored, "notes": tuple(stored["notes"])})


def protocol(request: SearchRequest, images: ImageSet, ledger: Ledger, precision: str) -> TrainingProtocol:
    """The one that the study's fits were trained by; a new study's own, before the plan has its say on the epochs.

    Args:
        request: what was asked for.
        images: to train on.
        ledger: of the study.
        precision: that this device would take.
    """
    stored = ledger.fact("protocol")
    if stored is not None:
        kept = TrainingProtocol.from_stored(stored)
        if kept.precision != precision:
            _log.warning("The study is trained in %s; this device would rather take %s.", kept.precision, precision)
        return kept
    return TrainingProtocol(
        epochs=request.epochs or auto_epochs(images.summary.images),
        images=images.format,
        classes=len(images.summary.classes),
        precision=precision,
        weights=weight_digests(request.weights),
    )


def reference(request: SearchRequest, images: ImageSet, asked: TrainingProtocol) -> tuple[TimingJob, float]:
    """What is timed: the first configuration on so many rows as a fold has, on fewer of many images.

    Returns:
        The configuration and rows, and how much longer an epoch of a whole fold is.
    """
    rows = np.arange(len(images.labels))
    val = rows[:: request.folds]
    train = np.setdiff1d(rows, val)
    space = bound_space(request, len(train), asked.epochs)
    known = sorted(
        start_configurations(request, space), key=lambda one: one.backbone != NO_BACKBONE
    )  # others cost less, or far more
    first = next(iter(known), None) or _drawn(space, request.seed)
    share = min(1.0, _PRICED_STEPS * first.batch_size / len(train))
    few = [part[: round(share * len(part))] for part in (train, val)]
    return TimingJob(configuration=first, protocol=asked, train=few[0], val=few[1], seconds=None), len(train) / len(
        few[0]
    )


def _drawn(space: Space, seed: int) -> Configuration:
    return space.sample(optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed)).ask())


def _to_confirm(request: SearchRequest, ledger: Ledger, seconds: float | None, workers: int) -> float | None:
    """Seconds of the finalists' share of the whole limit that they have not had yet; None without a limit.

    While there is nobody to confirm, the search has its half of each session: a share that only grows would leave it
    none.
    """
    if request.budget.seconds is None or seconds is None:
        return None
    had = ledger.seconds((CONFIRM, NEIGHBOUR)) / workers
    share = max(0.0, CONFIRM_SHARE * request.budget.seconds - had)
    known = ledger.fact("confirmation")
    if known is None:
        return min(share, _MOST * seconds)
    if known["repeats"] < REPEATS and set(known["dropped"]) != set(known["finalists"]):
        return share
    return min(share, _ANOTHER * had, _MOST * seconds)


def _timed_plan(
    request: SearchRequest,
    ledger: Ledger,
    asked: TrainingProtocol,
    seconds: float | None,
    priced: Timing,
    *,
    workers: int,
    test: bool,
) -> Plan:
    """The plan for the time that is left.

    Epochs and folds of a plan that was kept stay, since fits were done by them; what a fit may take and what is kept
    back are worked out anew, as the budget may have been raised.
    """
    kept = kept_plan(ledger)
    plan = make_plan(
        epochs=asked.epochs if kept is None else kept.epochs,
        epochs_fixed=request.epochs is not None or kept is not None,
        folds=request.folds if kept is None else kept.folds,
        seconds=seconds,
        confirm=_to_confirm(request, ledger, seconds, workers),
        workers=workers,
        epoch_seconds=priced.epoch,
        trace_seconds=priced.trace,
        test=test,
    )
    return plan if kept is None else replace(plan, epochs=kept.epochs, folds=kept.folds, notes=kept.notes)
