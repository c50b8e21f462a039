"""From a `best_config.yaml` and a folder of images to a model that is delivered."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import sqlalchemy as sa

from search.data.decode import RECIPE
from search.data.images import ImageSet
from search.delivery import card as cards
from search.delivery.card import Card
from search.delivery.model_files import draft
from search.delivery.outlier_detector import fit_detector
from search.delivery.single_worker import single_worker
from search.delivery.summaries import Trained
from search.delivery.tasks import BuildModel, KeepNetwork
from search.delivery.train_job import TrainJob, TrainRequest, make_train_job
from search.errors import UserError
from search.events import Listener
from search.fit_checks import Check
from search.fits.runner import FitRunner
from search.metric_definitions import METRICS
from search.records import Fit, Verdict
from search.request import weight_files
from search.selection import metrics
from search.selection.offset import offset_probabilities
from search.stages.final_fit import TRIES, train_until_learned
from search.storage.ledger import Ledger
from search.training.job import FitSpec
from search.workers import devices
from search.workers.interfaces import MakePool, Worker
from search.workers.pool import WorkerProcessPool, worker_resources
from search.workers.protocol import TrainingData
from spaces.best_config import BestConfig


def train(request: TrainRequest, listener: Listener, make_pool: MakePool = WorkerProcessPool) -> Trained:
    """Train the configuration on all images by the search's protocol; write the model and its card.

    Args:
        request: what to train on what.
        listener: told how far it is.
        make_pool: makes the worker.

    Raises:
        UserError: something that the user can mend; nothing is written.
    """
    order = make_train_job(request, listener)
    images, gpus = order.images, devices.gpus()
    with tempfile.TemporaryDirectory(prefix="steadynet-") as name:
        folder = Path(name)
        (resources,) = worker_resources(folder, 1, gpus)
        with single_worker(resources, gpus, make_pool, listener) as worker:
            worker.set_data(TrainingData.of(images, order.config.metric, weight_files(order.weights)))
            fitter = FitRunner(order.terms, Ledger(_nowhere(), "train"))
            kept = [_kept(worker, spec, fitter, folder, len(order.specs), listener) for spec in order.specs]
            listener.stage(f"Writing {request.model}")
            return _deliver(order, kept, worker)


def _nowhere() -> sa.Engine:
    """A database in memory: a training belongs to no study."""
    return sa.create_engine("sqlite://", poolclass=sa.pool.StaticPool)


def _kept(
    worker: Worker, spec: FitSpec, fitter: FitRunner, folder: Path, members: int, listener: Listener
) -> tuple[Fit, Path]:
    """A fit that learned, and the file that its network was kept in.

    Raises:
        UserError: none did, with any seed.
    """
    epochs, images = fitter.setup.protocol.epochs, len(spec.train)
    which = "all" if members == 1 else f"fold {spec.fold + 1} of {members}:"
    listener.stage(f"Training on {which} {images:,} images, {epochs} epochs")

    def show(check: Check) -> None:
        listener.progress("epochs", check.epoch, epochs)

    fit = train_until_learned(worker, spec, fitter, on_check=show)
    if fit.verdict is not Verdict.LEARNED:
        why = "The labels or the images may be at fault" if fit.verdict is Verdict.COLLAPSED else "See above"
        raise UserError(
            f"the training {fit.verdict} with each of {TRIES} seeds, last because of {fit.reason}: there is no model. "
            f"{why}; another --seed may help, or a new search on these images."
        )
    path = folder / f"{spec.fold}.keras"
    worker.run_task(KeepNetwork(path))
    return fit, path


def _deliver(order: TrainJob, kept: Sequence[tuple[Fit, Path]], worker: Worker) -> Trained:
    request, config, images = order.request, order.config, order.images
    fits = [fit for fit, _ in kept]
    likeness = fit_detector(images.squares(), images.groups)
    held_out = _held_out(config, images, fits) if request.ensemble else None
    card = Card(
        classes=config.classes,
        images=config.images,
        recipe=RECIPE,
        offset=config.offset,
        facts=_facts(config, images, fits, held_out, worker.ready.versions if worker.ready else {}),
    )
    with draft(request.model) as part:
        weights = worker.run_task(BuildModel(tuple(path for _, path in kept), config.offset, part))
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
        notes=(*order.notes, *_seeds_note(fits)),
    )


def _held_out(config: BestConfig, images: ImageSet, fits: Sequence[Fit]) -> float:
    """The metric on every image by the member that did not see it, with the offset."""
    if not METRICS[config.metric].is_pooled:
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
        "images": config.images.recipe(),
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


def _seeds_note(fits: Sequence[Fit]) -> list[str]:
    return [
        f"The training on {f'fold {fit.fold + 1}' if len(fits) > 1 else 'all images'} needed {fit.attempt + 1} seeds: "
        "before, it collapsed or failed."
        for fit in fits
        if fit.attempt
    ]
