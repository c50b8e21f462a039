"""The ablation of a finished run: the changes that lead from a configuration of the user's to the recommended one."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import optuna

from search.data.folds import make_folds
from search.data.groups import groups_hash
from search.data.images import ImageSet, load_images
from search.data.scanned_folder import scan_folder
from search.data.weight_files import Weights, find_weights
from search.errors import MismatchError, UserError
from search.events import Listener
from search.fits.runner import StudySetup
from search.records import StudyRecord
from search.request import weight_digests, weight_files
from search.schedule.budget import Clock
from search.selection.analyse import analyse
from search.selection.results import Results
from search.session import worker_count
from search.stages.ablate import ablate
from search.storage.database import explain_write_errors, ledger_engine, open_storage
from search.storage.ledger import Ledger
from search.storage.load import open_study, read_study
from search.storage.run_folder import lock_folder
from search.workers import devices
from search.workers.interfaces import MakePool
from search.workers.pool import WorkerProcessPool, worker_resources
from search.workers.protocol import TrainingData
from spaces.backbones import IMAGENET
from spaces.config import Configuration


def explain(
    out: Path,
    start: Configuration,
    listener: Listener,
    clock: Clock,
    *,
    data: Path | None = None,
    workers: int | None = None,
    storage: str | None = None,
    study: str = "steadynet",
    make_pool: MakePool = WorkerProcessPool,
) -> Results:
    """Measure the changes from `start` to the recommended configuration of a run, and store them with the study.

    Args:
        out: run folder.
        start: the user's configuration; it need not lie in the run's space.
        listener: notified of the cost and of progress.
        clock: knows when to end.
        data: the run's images, if they are no longer where they were.
        workers: number of workers; None: chosen.
        storage: database of the study, if it is not in the run folder.
        study: name of the study.
        make_pool: makes a pool of the resources of its workers and of a function that says whether fits have to stop.

    Returns:
        The run's results with the ablation; unchanged where nothing is recommended.

    Raises:
        UserError: no such run, other images, or too few images for the configuration.
    """
    results = analyse(open_study(out, storage, study))
    if results.recommended is None:
        return results
    with lock_folder(out, storage) as hold, explain_write_errors(out, storage):
        hold.keep()
        images = _images(results.study, out, data, listener)
        setup = _setup(results, images)
        smallest = min(len(fold.train) for fold in setup.folds)
        if start.batch_size > smallest:
            raise UserError(
                f"--from: batch_size {start.batch_size} is more than the {smallest} images that a fit of this run "
                f"trains on. Pass a configuration with at most {smallest}."
            )
        opened = open_storage(out, storage, create=False, should_stop=clock.past_end)
        ledger = Ledger(ledger_engine(opened), study)
        metric = results.study.identity.metric
        weights = _weights(results.study)
        gpus, measured = devices.gpus(), worker_count.load_worker_count(ledger)
        count = measured.chosen if workers is None and measured is not None and not gpus else workers
        pool = make_pool(worker_resources(out, count, gpus), clock.phase_over)
        pool.set_data(TrainingData.of(images, metric, weight_files(weights)))
        try:
            with pool.worker() as worker:
                goal, trials = results.recommended.ranked.trial, results.study.trials
                ablation = ablate(start, goal, trials, setup, ledger, worker, listener, clock.left)
        finally:
            pool.close()
        ledger.set_fact("ablation", asdict(ablation))
        return analyse(read_study(ledger, optuna.load_study(study_name=study, storage=opened)))


def _images(study: StudyRecord, out: Path, data: Path | None, listener: Listener) -> ImageSet:
    """The images of the run. Raises UserError or MismatchError where they are gone or have changed."""
    folder = data or Path(study.data.folder)
    groups, labels = (study.settings.get(name) for name in ("groups", "labels"))
    if data is None and not folder.is_dir():
        raise UserError(
            f"the images of the run in {out} are no longer in {folder}. Pass --data with the folder that they are in."
        )
    scanned = scan_folder(
        folder,
        listener,
        labels=None if labels is None else Path(labels),
        groups=None if groups is None else Path(groups),
        follow_links=bool(study.settings.get("follow_links")),
    )
    images = load_images(
        scanned,
        replace(study.protocol.images, white=study.data.white),
        listener,
        folds=study.identity.folds,
        copies_in=0 if study.settings.get("split_copies") else study.identity.folds,
    )
    are_same = images.summary.fingerprint == study.identity.fingerprint
    if not are_same or groups_hash(images.groups) != study.identity.groups:
        raise MismatchError(
            f"the run in {out} was made with {'other groups' if are_same else 'other images'} than {folder} holds now. "
            "Pass --data with the images of that run."
        )
    return images


def _weights(study: StudyRecord) -> dict[str, Weights]:
    """The pretrained weights of the run."""
    digests = study.identity.weights
    weights = find_weights(study.settings.get("weights", IMAGENET), [name for name, _ in digests]) if digests else {}
    if weight_digests(weights) != digests:
        raise MismatchError("the run was made with other pretrained weights than there are now. Put them back.")
    return weights


def _setup(results: Results, images: ImageSet) -> StudySetup:
    """The setup of the run's fits, without their time limit."""
    study = results.study
    names = tuple(images.summary.classes)
    return StudySetup(
        labels=images.labels,
        folds=make_folds(
            images.labels, folds=study.plan.folds, seed=study.identity.seed, groups=images.groups, class_names=names
        ),
        fingerprint=study.identity.fingerprint,
        protocol=study.protocol,
        plan=replace(study.plan, fit_seconds=None),
        metric=study.identity.metric,
        chance=results.chance,
        seed=study.identity.seed,
    )
