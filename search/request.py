"""The request of a search, and whether it can be done with these images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from search.data.folds import Fold, make_folds
from search.data.fresh_splits import smallest_part
from search.data.groups import groups_hash
from search.data.images import ImageSet
from search.data.layout import layout, test_part
from search.data.weight_files import Weights
from search.errors import UserError
from search.schedule.plan import auto_epochs
from search.selection.shortlist import REPEATS
from search.settings import Budget, Identity
from spaces.backbones import BACKBONES
from spaces.config import Configuration
from spaces.definitions import SpaceError
from spaces.presets import known_good
from spaces.space import Space


@dataclass(frozen=True, kw_only=True, slots=True)
class SearchRequest:
    """A search as the user asks for it.

    `settings` holds the command's options for reports and later commands: values of JSON, paths as text, no secrets.
    """

    data: Path
    out: Path
    space: Space  # its backbones all have weights
    budget: Budget
    starts: Sequence[Configuration] = ()
    test: Path | None = None
    groups: Path | None = None
    labels: Path | None = None  # CSV file, where sub-folders are no classes
    follow_links: bool = False
    split_copies: bool = False  # images that show the same may be on both sides of a split
    folds: int = 5
    epochs: int | None = None
    weights: Mapping[str, Weights] = field(default_factory=dict)  # by backbone
    image_size: int | None = None  # pixels a side; with `native` at most, on the longer one
    native: bool = False  # images keep their sizes, as well as a few shapes allow
    seed: int = 0
    metric: str = "balanced_accuracy"
    workers: int | None = None
    storage: str | None = None
    study: str = "steadynet"
    command: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)


def refuse_overlapping_folders(request: SearchRequest) -> None:
    """Check that run folder, images and test images do not lie in each other.

    Raises:
        UserError: the run folder would be taken for a class, or training images would be test images too.
    """
    data, out = request.data.resolve(), request.out.resolve()
    if out == data or data in out.parents:
        raise UserError(
            f"--out {request.out} lies in the image folder {request.data}, where it would be taken for a class. "
            "Pass an --out elsewhere."
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
            "Pass a --test folder that lies apart."
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class SearchDesign:
    """Folds of a search, the space bound to them, and the configurations that are tried first."""

    folds: tuple[Fold, ...]
    smallest_train: int  # images in the smallest training part of any fit
    epochs: int  # of a fit
    space: Space  # the request's, bound to `smallest_train` and `epochs`
    starts: tuple[Configuration, ...]  # the user's own, then the known-good ones, each network once


def check_request(request: SearchRequest, images: ImageSet) -> SearchDesign:
    """Compute the folds, the bound space and the first configurations of a search; nothing is written.

    Raises:
        UserError: the images allow no such folds, or the space or a start configuration does not fit them.
    """
    smallest_side = min((min(shape) for shape in images.format.shapes), default=images.format.image_size)
    design = _design(request, images, request.folds, request.epochs or auto_epochs(images.summary.images))
    for name in request.space.backbones:
        if smallest_side < (least := BACKBONES[name].smallest):
            raise UserError(
                f"--space: {name} needs images of at least {least} pixels a side; these have {smallest_side}. "
                f"Pass {'--max-side' if request.native else '--image-size'} {least}, or leave it out of the space."
            )
    return design


def planned_design(
    request: SearchRequest, images: ImageSet, design: SearchDesign, folds: int, epochs: int
) -> SearchDesign:
    """Return the design for the folds and epochs of a plan; what these do not change is taken from `design`.

    Args:
        request: of the search.
        images: to train on.
        design: from `check_request`.
        folds: of the plan.
        epochs: of a fit, by the plan.

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
    """Return the identity that the run folder gets, or must have already."""
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
    """Return pairs of backbone and digest of its weights, sorted: the form of protocol and identity."""
    return tuple((name, file.digest) for name, file in sorted(weights.items()))


def weight_files(weights: Mapping[str, Weights]) -> dict[str, Path | None]:
    """Return the file of each backbone's weights, for the workers; None: random weights."""
    return {name: file.path for name, file in weights.items()}


def bound_space(request: SearchRequest, images: int, epochs: int) -> Space:
    """Return the request's space, limited to what works with so many training images and epochs.

    Args:
        request: of the search.
        images: in the smallest training part of any fit.
        epochs: of a fit.

    Raises:
        UserError: nothing of the space is left.
    """
    try:
        space = request.space.for_every_size() if request.native else request.space
        return space.bound_to(images, epochs)
    except SpaceError as error:
        raise UserError(f"--space: {error}") from None


def start_configurations(request: SearchRequest, space: Space) -> list[Configuration]:
    """Return what is tried first: the user's configurations, then the known-good ones, each network once.

    Raises:
        UserError: a configuration of the user's does not lie in the space.
    """
    own = []
    for configuration in request.starts:
        try:
            space.parameters(configuration)
            own.append(configuration)
        except SpaceError as error:
            raise UserError(f"--start: {error} Widen the space, or change the configuration.") from None
    return list({c.hash: c for c in (*own, *known_good(space))}.values())
