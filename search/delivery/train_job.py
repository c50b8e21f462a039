"""The job of `train`: reading and checking a `best_config.yaml` and a folder of images before any training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from search.data.folds import Fold, make_folds
from search.data.images import ImageSet, load_images
from search.data.scanned_folder import scan_folder
from search.data.weight_files import RANDOM_DIGEST, Weights, find_weights
from search.delivery.model_files import check_target
from search.errors import MismatchError, UserError
from search.events import Listener
from search.fits.runner import StudySetup
from search.metric_definitions import METRICS
from search.records import FINAL, SEARCH
from search.selection import metrics
from search.settings import ENGINE, Plan, TrainingProtocol
from search.training.job import FitSpec
from spaces.backbones import IMAGENET, NO_BACKBONE, RANDOM
from spaces.best_config import BestConfig, load_best_config
from spaces.config import ConfigurationError


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainRequest:
    """The user's request for a training."""

    config: Path  # best_config.yaml
    data: Path  # image folder with one sub-folder per class
    model: Path  # .keras file to write
    seed: int | None = None  # root seed; None: the seed of the search
    ensemble: bool = False  # train one network per fold of the search and average them in one model
    groups: Path | None = None  # CSV file: groups stay together in the folds of an ensemble and of the outlier detector
    labels: Path | None = None  # CSV file with the labels; None: sub-folders are the classes
    weights: str | None = None  # source of pretrained weights, see `find_weights`; None: as in the search
    follow_links: bool = False  # also read images outside the folder that links in it point to


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainJob:
    """A training whose configuration and images were read and checked.

    Attributes:
        request: the user's request.
        config: the content of `best_config.yaml`.
        images: the training images.
        setup: settings that all fits share.
        specs: one per fit: a single one, or one per fold for an ensemble.
        weights: name of the configuration's backbone -> pretrained weights; empty without a backbone.
        notes: sentences for the user.
    """

    request: TrainRequest
    config: BestConfig
    images: ImageSet
    setup: StudySetup
    specs: tuple[FitSpec, ...]
    weights: Mapping[str, Weights]
    notes: tuple[str, ...]


def make_train_job(request: TrainRequest, listener: Listener) -> TrainJob:
    """Read the configuration and the images, and check that they match. May download pretrained weights.

    Args:
        request: the user's request.
        listener: notified of stages and progress.

    Raises:
        UserError: the configuration, images, weights or model path can't be used.
        MismatchError: the images have other classes, or the weights differ from those of the search.
    """
    config = _config(request.config)
    check_target(request.model)
    weights = _weights(request, config, listener)
    images = _images(request, config, listener)
    setup = _setup(request, config, images)
    return TrainJob(
        request=request,
        config=config,
        images=images,
        setup=setup,
        specs=tuple(_specs(request, config, setup)),
        weights=weights,
        notes=tuple(_notes(request, config, images)),
    )


def _config(path: Path) -> BestConfig:
    try:
        config = load_best_config(path)
    except ConfigurationError as error:
        raise UserError(str(error)) from None
    if config.engine != ENGINE:
        raise UserError(
            f"{path} was written for training engine {config.engine}; this version uses engine {ENGINE}, so the result "
            "would differ. Use the version of Steadynet that wrote the file, or search again."
        )
    if config.metric not in METRICS:
        raise UserError(
            f"{path}: metric is {config.metric!r}. Expected one of {', '.join(METRICS)}. Use best_config.yaml as the "
            "search wrote it."
        )
    return config


def _weights(request: TrainRequest, config: BestConfig, listener: Listener) -> dict[str, Weights]:
    name = config.configuration.backbone
    if name == NO_BACKBONE:
        if request.weights is not None:
            raise UserError(f"--weights: the network of {request.config} has no pretrained weights. Leave it out.")
        return {}
    if config.weights is None:
        raise UserError(
            f"{request.config}: training.weights, the digest of the pretrained weights of {name}, is missing. Use "
            "best_config.yaml as the search wrote it."
        )
    source = request.weights or (RANDOM if config.weights == RANDOM_DIGEST else IMAGENET)
    weights = find_weights(source, [name], listener.stage)
    if name not in weights:
        raise UserError(f"--weights {source}: there are no weights of {name}. Pass --weights {IMAGENET}, or a file.")
    if weights[name].digest != config.weights:
        raise MismatchError(
            f"the search used other weights of {name} (digest {config.weights}, now {weights[name].digest}). "
            "Pass --weights with the file or folder of the search."
        )
    return weights


def _images(request: TrainRequest, config: BestConfig, listener: Listener) -> ImageSet:
    scanned = scan_folder(
        request.data, listener, labels=request.labels, groups=request.groups, follow_links=request.follow_links
    )
    images = load_images(
        scanned,
        config.images,
        listener,
        folds=1,
        copies_in=0 if config.groups is None else config.folds,
        named_by=config.named_by,
    )
    listener.data(images.summary)
    classes = tuple(images.summary.classes)
    if classes != config.classes:
        raise MismatchError(
            f"--data {request.data} has the classes {', '.join(classes)}, but {request.config} was searched for "
            f"{', '.join(config.classes)}. Pass images of these classes, in sub-folders with these names."
        )
    rare, count = min(images.summary.classes.items(), key=lambda item: item[1])
    if request.ensemble and count < config.folds:
        raise UserError(
            f"--ensemble: class {rare!r} has {count} readable image(s) in {request.data}, but the search's "
            f"{config.folds} folds need at least {config.folds}. Add images, or leave out --ensemble."
        )
    return images


def _setup(request: TrainRequest, config: BestConfig, images: ImageSet) -> StudySetup:
    """The setup of the search's fits, but without a time limit, and with folds only for an ensemble."""
    folds: tuple[Fold, ...] = ()
    if request.ensemble:
        folds = make_folds(
            images.labels,
            folds=config.folds,
            seed=config.seed,
            groups=images.groups,
            class_names=config.classes,
        )
    return StudySetup(
        labels=images.labels,
        folds=folds,
        fingerprint=images.summary.fingerprint,
        protocol=TrainingProtocol(
            epochs=config.epochs,
            images=config.images,
            classes=len(config.classes),
            precision=config.precision,
            engine=config.engine,
            weights=() if config.weights is None else ((config.configuration.backbone, config.weights),),
        ),
        plan=Plan(epochs=config.epochs, folds=config.folds, search_seconds=None, final_seconds=0.0, fit_seconds=None),
        metric=config.metric,
        chance=metrics.chance(config.metric, images.labels),
        seed=config.seed if request.seed is None else request.seed,
    )


def _specs(request: TrainRequest, config: BestConfig, setup: StudySetup) -> list[FitSpec]:
    """One fit on all images, or one per fold of the search for an ensemble.

    Raises:
        UserError: a fit has fewer images than a batch.
    """
    rows = np.arange(len(setup.labels))
    parts = [(fold.train, fold.val) for fold in setup.folds] or [(rows, rows[:0])]
    smallest, batch = min(len(part) for part, _ in parts), config.configuration.batch_size
    if batch > smallest and not config.configuration.is_closed_form:
        raise UserError(
            f"{request.config}: batch_size is {batch}, but a fit has only {smallest} images of {request.data}. Add "
            "images, or search again on these."
        )
    stage = SEARCH if request.ensemble else FINAL
    return [
        FitSpec(trial=0, stage=stage, configuration=config.configuration, train=train, val=val, fold=fold)
        for fold, (train, val) in enumerate(parts)
    ]


def _notes(request: TrainRequest, config: BestConfig, images: ImageSet) -> list[str]:
    notes = []
    if images.summary.fingerprint != config.fingerprint:
        notes.append(
            "These are not exactly the images of the search. Its promise only holds if they are of the same kind."
        )
    if config.edited:
        notes.append("The configuration was changed after the search, so its promise does not apply.")
    if request.ensemble and config.groups != images.summary.groups:
        notes.append(
            f"The search had {config.groups or 'no'} groups of images, these have {images.summary.groups or 'none'}. "
            "For the same folds, pass the --groups of the search, if it had any."
        )
    return notes
