"""What has to be known and good before the first fit: the request, the images, the identity, the plan."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from importlib import metadata
from pathlib import Path
from typing import Any, Final

import numpy as np

from search.data.folds import make_folds
from search.data.groups import groups_hash
from search.data.images import ImageSet, load_images
from search.errors import UserError
from search.events import Listener
from search.settings import Budget, Identity, Metric, Plan, Protocol
from search.study.ledger import Ledger
from search.study.plan import auto_epochs, make_plan
from search.study.worker import Priced
from spaces.config import Configuration
from spaces.definitions import SpaceError
from spaces.presets import known_good
from spaces.space import Space

SIZE_CAP_CPU: Final = 64  # pixels that --image-size auto takes at most
SIZE_CAP_GPU: Final = 128
_PACKAGES: Final = ("optuna", "numpy", "scikit-learn", "pillow")


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """What the user asks of a search. `settings` is the same for people: the options as given."""

    data: Path
    out: Path
    space: Space
    budget: Budget
    starts: Sequence[Configuration] = ()
    test: Path | None = None
    groups: Path | None = None
    folds: int = 5
    epochs: int | None = None
    image_size: int | None = None
    seed: int = 0
    metric: Metric = "balanced_accuracy"
    workers: int | None = None
    storage: str | None = None
    study: str = "steadynet"
    command: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)


def refuse_tangled(request: Request) -> None:
    """Refuse folders that lie in each other: they would be taken for classes, or test images for training images."""
    data, out = request.data.resolve(), request.out.resolve()
    if out == data or data in out.parents:
        raise UserError(
            f"--out {request.out} lies in the image folder {request.data}, where it would be taken for a class. "
            "Pass an --out elsewhere."
        )
    if request.test is None:
        return
    test = request.test.resolve()
    if test == data or data in test.parents or test in data.parents:
        raise UserError(
            f"--test {request.test} and --data {request.data} share images, so its score would promise too much. "
            "Pass a --test folder that lies apart."
        )


def load(
    request: Request, image_size: int | None, on_gpu: bool, listener: Listener
) -> tuple[ImageSet, ImageSet | None]:
    """The images and, if asked for, the test images in the same form.

    Args:
        request: names the folders.
        image_size: pixels a side, None picks one.
        on_gpu: whether there is a GPU, which allows larger images.
        listener: told how far it is.
    """
    cap = SIZE_CAP_GPU if on_gpu else SIZE_CAP_CPU
    images = load_images(
        request.data,
        image_size=image_size,
        folds=request.folds,
        groups=request.groups,
        size_cap=cap,
        listener=listener,
    )
    if request.test is None:
        return images, None
    test = load_images(
        request.test,
        image_size=images.summary.image_size,
        folds=0,
        groups=None,
        size_cap=cap,
        channels=images.summary.channels,
        classes=tuple(images.summary.classes),
        listener=listener,
    )
    return images, test


def check_request(request: Request, images: ImageSet) -> None:
    """Raise what there is to raise about folds, space and starts before anything is written."""
    folds = make_folds(
        images.labels,
        folds=request.folds,
        seed=request.seed,
        groups=images.groups,
        class_names=tuple(images.summary.classes),
    )
    smallest = min(len(fold.train) for fold in folds)
    starts(request, bound(request, smallest, request.epochs or auto_epochs(images.summary.images)))


def identity(request: Request, images: ImageSet) -> Identity:
    """What the run folder will belong to, or has to belong to already."""
    return Identity(
        fingerprint=images.summary.fingerprint,
        groups=groups_hash(images.groups),
        image_size=images.summary.image_size,
        folds=request.folds,
        epochs=request.epochs,
        seed=request.seed,
        metric=request.metric,
        space=request.space.hash,
    )


def describe(ledger: Ledger, request: Request, images: ImageSet) -> None:
    """Keep what a report needs, so that it can be made again without images and without TensorFlow."""
    ledger.set_fact("settings", {**request.settings, "command": request.command})
    if ledger.fact("data") is None:
        ledger.set_fact("data", asdict(images.summary))
        ledger.set_fact("labels", images.labels.tolist())
        ledger.set_fact("groups", None if images.groups is None else images.groups.tolist())
        ledger.set_fact("device", "none yet")
    ours = {"python": platform.python_version(), **{name: metadata.version(name) for name in _PACKAGES}}
    ledger.set_fact("versions", {**(ledger.fact("versions") or {}), **ours})


def bound(request: Request, images: int, epochs: int) -> Space:
    """The request's space for so many training images and epochs."""
    try:
        return request.space.bound_to(images, epochs)
    except SpaceError as error:
        raise UserError(f"--space: {error}") from None


def starts(request: Request, space: Space) -> list[Configuration]:
    """What is tried first: the user's own, then the known-good ones, each network once."""
    own = []
    for configuration in request.starts:
        try:
            space.parameters(configuration)
            own.append(configuration)
        except SpaceError as error:
            raise UserError(f"--start: {error} Widen the space, or change the configuration.") from None
    return list({c.hash: c for c in (*own, *known_good(space))}.values())


def protocol(request: Request, images: ImageSet, precision: str) -> Protocol:
    """How fits are trained, before the plan has its say on the epochs."""
    summary = images.summary
    return Protocol(
        epochs=request.epochs or auto_epochs(summary.images),
        image_size=summary.image_size,
        channels=summary.channels,
        classes=len(summary.classes),
        precision=precision,
    )


def reference_split(images: ImageSet, folds: int) -> tuple[np.ndarray[Any, np.dtype[np.int64]], ...]:
    """Training and validation rows of the size that a fold has, to time epochs on."""
    rows = np.arange(len(images.labels))
    val = rows[::folds]
    return np.setdiff1d(rows, val), val


def timed_plan(
    request: Request, kept: Plan | None, asked: Protocol, seconds: float | None, priced: Priced, *, test: bool
) -> Plan:
    """The plan for the time that is left.

    Epochs and folds of a plan that was kept stay, since fits were done by them; what a fit may take and what is kept
    back are worked out anew, as the budget may have been raised.
    """
    epochs = asked.epochs if kept is None else kept.epochs
    plan = make_plan(
        epochs=epochs,
        epochs_fixed=request.epochs is not None or kept is not None,
        folds=request.folds if kept is None else kept.folds,
        seconds=seconds,
        epoch_seconds=priced.epoch,
        trace_seconds=priced.trace,
        test=test,
    )
    return plan if kept is None else replace(plan, epochs=kept.epochs, folds=kept.folds, notes=kept.notes)
