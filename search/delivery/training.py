"""From a `best_config.yaml` and a folder of images to a model that is delivered."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, cast

import numpy as np
import sqlalchemy as sa

from search.data.decode import RECIPE
from search.data.folds import Fold, make_folds
from search.data.images import ImageSet, load_images
from search.delivery import card as cards
from search.delivery.card import Card
from search.delivery.errands import Keep, Unite
from search.delivery.likeness import learn
from search.delivery.package import check_target, draft
from search.delivery.records import Trained
from search.errors import MismatchError, UserError
from search.events import Listener
from search.records import FINAL, SEARCH, Check, Fit, Verdict
from search.selection import metrics
from search.selection.offset import offset_probabilities
from search.settings import ENGINE, METRICS, Metric, Plan, Protocol
from search.study import machine
from search.study.final import TRIES, train_until_learned
from search.study.fitting import Fitter, Spec, Terms
from search.study.ledger import Ledger
from search.study.pool import Pool, Worker, WorkerFault, setups
from search.study.worker import Setup
from spaces.best_config import BestConfig, image_recipe, load_best_config
from spaces.config import ConfigurationError

MakePool = Callable[[list[Setup], Callable[[], bool]], Pool]


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """What the user asks for."""

    config: Path  # best_config.yaml
    data: Path  # one sub-folder of images a class
    model: Path  # .keras file to write
    seed: int | None = None  # root of the training's randomness; None takes the search's
    ensemble: bool = False  # one training for each fold of the search, as one model
    groups: Path | None = None  # CSV: kept together in the folds of an ensemble, and in telling unlike images


def train(request: Request, listener: Listener, make_pool: MakePool = Pool) -> Trained:
    """Train the configuration on all images by the search's protocol; write the model and its card.

    Args:
        request: what to train on what.
        listener: told how far it is.
        make_pool: makes the worker.

    Raises:
        UserError: something that the user can mend; nothing is written.
    """
    config = _config(request.config)
    check_target(request.model)
    images = _images(request, config, listener)
    terms = _terms(request, config, images)
    specs = _specs(request, config, terms)
    with tempfile.TemporaryDirectory(prefix="steadynet-") as name:
        folder = Path(name)
        pool = make_pool(setups(images, cast(Metric, config.metric), folder, 1, machine.gpus()), lambda: False)
        try:
            with pool.worker() as worker:
                listener.stage("Starting TensorFlow in its own process")
                _start(worker, folder / "worker.log")
                fitter = Fitter(terms, Ledger(_nowhere(), "train"))
                kept = [_kept(worker, spec, fitter, folder, len(specs), listener) for spec in specs]
                listener.stage(f"Writing {request.model}")
                return _deliver(request, config, images, kept, worker)
        except WorkerFault as error:
            raise RuntimeError(str(error)) from None  # our bug, with the worker's traceback
        finally:
            pool.close()


def _config(path: Path) -> BestConfig:
    try:
        config = load_best_config(path)
    except ConfigurationError as error:
        raise UserError(str(error)) from None
    if config.engine != ENGINE:
        raise UserError(
            f"{path}: training.engine: got {config.engine}, this version trains by {ENGINE} and the result would be "
            "another. Use the version of Steadynet that wrote the file, or search again."
        )
    if config.metric not in METRICS:
        raise UserError(f"{path}: metric: one of {', '.join(METRICS)} is expected, got {config.metric!r}.")
    return config


def _images(request: Request, config: BestConfig, listener: Listener) -> ImageSet:
    images = load_images(
        request.data,
        image_size=config.image_size,
        folds=config.folds if request.ensemble else 1,
        groups=request.groups,
        size_cap=config.image_size,
        channels=config.channels,
        listener=listener,
    )
    listener.data(images.summary)
    found = tuple(images.summary.classes)
    if found != config.classes:
        raise MismatchError(
            f"--data {request.data} has the classes {', '.join(found)}, but {request.config} is about "
            f"{', '.join(config.classes)}. Pass images of these classes, in sub-folders with these names."
        )
    return images


def _terms(request: Request, config: BestConfig, images: ImageSet) -> Terms:
    """The search's protocol, without its time limits; folds for an ensemble only."""
    folds: tuple[Fold, ...] = ()
    if request.ensemble:
        folds = make_folds(
            images.labels,
            folds=config.folds,
            seed=config.seed,
            groups=images.groups,
            class_names=config.classes,
        )
    return Terms(
        labels=images.labels,
        folds=folds,
        fingerprint=images.summary.fingerprint,
        protocol=Protocol(
            epochs=config.epochs,
            image_size=config.image_size,
            channels=config.channels,
            classes=len(config.classes),
            precision=config.precision,
            engine=config.engine,
        ),
        plan=Plan(epochs=config.epochs, folds=config.folds, search_seconds=None, final_seconds=0.0, fit_seconds=None),
        metric=config.metric,
        chance=metrics.chance(config.metric, images.labels),
        seed=config.seed if request.seed is None else request.seed,
    )


def _specs(request: Request, config: BestConfig, terms: Terms) -> list[Spec]:
    """One training on all images, or the search's own fits of this configuration.

    Raises:
        UserError: there are fewer images than the batch has.
    """
    rows = np.arange(len(terms.labels))
    parts = [(fold.train, fold.val) for fold in terms.folds] or [(rows, rows[:0])]
    least, batch = min(len(part) for part, _ in parts), config.configuration.batch_size
    if batch > least:
        raise UserError(
            f"{request.config}: batch_size is {batch}, but a training has {least} images of {request.data}. "
            "Add images, or search again on these."
        )
    stage = SEARCH if request.ensemble else FINAL
    return [
        Spec(trial=0, stage=stage, configuration=config.configuration, train=train, val=val, fold=fold)
        for fold, (train, val) in enumerate(parts)
    ]


def _nowhere() -> sa.Engine:
    """A database in memory: a training belongs to no study."""
    return sa.create_engine("sqlite://", poolclass=sa.pool.StaticPool)


def _start(worker: Worker, log: Path) -> None:
    try:
        worker.start()
    except WorkerFault as error:
        said = log.read_text(errors="replace").strip().splitlines()[-1:] if log.exists() else []
        reason = " ".join([str(error).strip().splitlines()[-1], *said])
        raise UserError(f"TensorFlow does not start: {reason}") from None


def _kept(
    worker: Worker, spec: Spec, fitter: Fitter, folder: Path, members: int, listener: Listener
) -> tuple[Fit, Path]:
    """A fit that learned, and the file that its network was kept in.

    Raises:
        UserError: none did, with any seed.
    """
    epochs, images = fitter.terms.protocol.epochs, len(spec.train)
    which = "all" if members == 1 else f"fold {spec.fold + 1} of {members}:"
    listener.stage(f"Training on {which} {images:,} images, {epochs} epochs")

    def show(check: Check) -> None:
        listener.progress("epochs", check.epoch, epochs)

    fit, _ = train_until_learned(worker, spec, fitter, on_check=show)
    if fit.verdict is not Verdict.LEARNED:
        why = "The labels or the images may be at fault" if fit.verdict is Verdict.COLLAPSED else "See above"
        raise UserError(
            f"the training {fit.verdict} with each of {TRIES} seeds, last because of {fit.reason}: there is no model. "
            f"{why}; another --seed may help, or a new search on these images."
        )
    path = folder / f"{spec.fold}.keras"
    worker.do(Keep(path))
    return fit, path


def _deliver(
    request: Request, config: BestConfig, images: ImageSet, kept: Sequence[tuple[Fit, Path]], worker: Worker
) -> Trained:
    fits = [fit for fit, _ in kept]
    likeness = learn(images.pixels(), images.groups)
    held_out = _held_out(config, images, fits) if request.ensemble else None
    card = Card(
        classes=config.classes,
        image_size=config.image_size,
        channels=config.channels,
        recipe=RECIPE,
        offset=config.offset,
        facts=_facts(config, images, fits, held_out, worker.ready.versions if worker.ready else {}),
    )
    with draft(request.model) as part:
        weights = worker.do(Unite(tuple(path for _, path in kept), config.offset, part))
        cards.put_in(part, card, None if likeness is None else likeness.to_bytes())
    with draft(cards.beside(request.model)) as part:
        part.write_text(card.text(), encoding="utf-8")
    return Trained(
        model=request.model,
        card=cards.beside(request.model),
        images=images.summary.images,
        members=len(kept),
        weights=weights,
        metric=config.metric,
        held_out=held_out,
        notes=tuple(_notes(request, config, images, fits)),
    )


def _held_out(config: BestConfig, images: ImageSet, fits: Sequence[Fit]) -> float:
    """The metric on every image by the member that did not see it, with the offset."""
    if not metrics.is_pooled(config.metric):
        return float(np.mean([fit.score for fit in fits]))
    rows = np.concatenate([fit.rows for fit in fits])
    probabilities = np.concatenate([fit.probabilities for fit in fits])
    return metrics.score(config.metric, images.labels[rows], offset_probabilities(probabilities, config.offset))


def _facts(
    config: BestConfig, images: ImageSet, fits: Sequence[Fit], held_out: float | None, versions: Mapping[str, str]
) -> dict[str, Any]:
    return {
        "model": "float32 images (batch, height, width, channels) of 0 to 255 in, probabilities of the classes out; "
        "scaling, softmax and decision offset are part of it",
        "images": image_recipe(config.image_size, config.channels),
        "configuration": config.configuration.as_dict(),
        "trained": {
            "images": dict(images.summary.classes),
            "fingerprint": images.summary.fingerprint,
            "searched_fingerprint": config.fingerprint,
            "epochs": config.epochs,
            "seeds": [fit.seed for fit in fits],
            "held_out": held_out,
            "metric": config.metric,
        },
        "promise": None if config.edited else config.content.get("promise"),
        "versions": {"numpy": metadata.version("numpy"), "pillow": metadata.version("pillow"), **versions},
    }


def _notes(request: Request, config: BestConfig, images: ImageSet, fits: Sequence[Fit]) -> list[str]:
    notes = []
    if images.summary.fingerprint != config.fingerprint:
        notes.append(
            "These are not the images of the search (or not all, or more): its promise is about those, and holds as "
            "far as these are of the same kind."
        )
    if config.edited:
        notes.append("The configuration was changed since the search, so that its promise says nothing about it.")
    if request.ensemble and config.grouped and request.groups is None:
        notes.append("The search kept groups together; these folds did not. Pass its --groups for the same folds.")
    notes += [
        f"The training on fold {fit.fold + 1} needed {fit.attempt + 1} seeds."
        if request.ensemble
        else f"The training needed {fit.attempt + 1} seeds: the ones before collapsed or failed."
        for fit in fits
        if fit.attempt
    ]
    return notes
