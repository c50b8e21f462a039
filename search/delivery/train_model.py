"""Training of the model that is delivered, from a `best_config.yaml` and a folder of images."""

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
from search.delivery.train_job import TrainJob, TrainRequest, make_train_job
from search.delivery.worker_tasks import BuildModel, SaveNetwork
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
    """Train a configuration on all images as in the search, and write the model and its card. May download weights.

    Args:
        request: configuration, images and path of the model.
        listener: notified of stages and progress.
        make_pool: creates a worker pool from the resources of its workers and a function that tells fits to stop.

    Raises:
        UserError: the request can't be fulfilled, or the network did not learn with any seed; nothing is written.
    """
    job = make_train_job(request, listener)
    images, gpus = job.images, devices.gpus()
    with tempfile.TemporaryDirectory(prefix="steadynet-") as name:
        folder = Path(name)
        (resources,) = worker_resources(folder, 1, gpus)
        with single_worker(resources, gpus, make_pool, listener) as worker:
            worker.set_data(TrainingData.of(images, job.config.metric, weight_files(job.weights)))
            runner = FitRunner(job.setup, Ledger(_database_in_memory(), "train"))
            members = [_train_member(worker, spec, runner, folder, len(job.specs), listener) for spec in job.specs]
            listener.stage(f"Writing {request.model}")
            return _deliver(job, members, worker)


def _database_in_memory() -> sa.Engine:
    """An empty database for the ledger, as a training belongs to no study."""
    return sa.create_engine("sqlite://", poolclass=sa.pool.StaticPool)


def _train_member(
    worker: Worker, spec: FitSpec, runner: FitRunner, folder: Path, members: int, listener: Listener
) -> tuple[Fit, Path]:
    """Train a network, with new seeds until it learns, and save it; returns the fit and the file.

    Raises:
        UserError: the network did not learn with any seed.
    """
    epochs, images = runner.setup.protocol.epochs, len(spec.train)
    which = "all" if members == 1 else f"fold {spec.fold + 1} of {members}:"
    length = "" if spec.configuration.is_closed_form else f", {epochs} epochs"
    listener.stage(f"Training on {which} {images:,} images{length}")

    def show(check: Check) -> None:
        listener.progress("epochs", check.epoch, epochs)

    fit = train_until_learned(worker, spec, runner, on_check=show)
    if fit.verdict is not Verdict.LEARNED:
        why = "The labels or the images may be wrong" if fit.verdict is Verdict.COLLAPSED else "See above"
        raise UserError(
            f"the training {fit.verdict} with each of {TRIES} seeds (last reason: {fit.reason}), so no model was "
            f"written. {why}. Try another --seed, or search again on these images."
        )
    path = folder / f"{spec.fold}.keras"
    worker.run_task(SaveNetwork(path))
    return fit, path


def _deliver(job: TrainJob, members: Sequence[tuple[Fit, Path]], worker: Worker) -> Trained:
    request, config, images = job.request, job.config, job.images
    fits = [fit for fit, _ in members]
    detector = fit_detector(images.squares(), images.groups)
    held_out = _held_out(config, images, fits) if request.ensemble else None
    card = Card(
        classes=config.classes,
        images=config.images,
        recipe=RECIPE,
        offset=config.offset,
        facts=_facts(config, images, fits, held_out, worker.ready.versions if worker.ready else {}),
    )
    with draft(request.model) as part:
        weights = worker.run_task(BuildModel(tuple(path for _, path in members), config.offset, part))
        cards.put_in(part, card, None if detector is None else detector.to_bytes())
    with draft(cards.beside(request.model)) as part:
        part.write_text(card.text(), encoding="utf-8")
    return Trained(
        model=request.model,
        card=cards.beside(request.model),
        images=images.summary.images,
        members=len(members),
        weights=weights,
        metric=config.metric,
        held_out=held_out,
        notes=(*job.notes, *_seeds_note(fits)),
    )


def _held_out(config: BestConfig, images: ImageSet, fits: Sequence[Fit]) -> float:
    """Score of an ensemble's members on their validation images, with the decision offset."""
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
        "it collapsed or failed with the others."
        for fit in fits
        if fit.attempt
    ]
