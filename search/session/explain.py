"""The ablation of a finished run: what each change from the user's configuration to the recommended one contributes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import optuna

from search.data.folds import make_folds
from search.data.groups import groups_hash
from search.data.images import ImageSet, load_images
from search.data.scanned_folder import scan_folder
from search.data.weight_files import RANDOM_DIGEST, Weights, find_weights
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
from spaces.backbones import IMAGENET, NO_BACKBONE, RANDOM
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
    """Measure the effect of each change from `start` to the recommended configuration, and store it with the study.

    Args:
        out: run folder.
        start: the user's configuration, which may lie outside the run's search space.
        listener: notified of the expected cost and of progress.
        clock: says when the session has to end.
        data: folder of the run's images; None: where they were in the search.
        workers: number of workers; None: as in the search, or chosen.
        storage: database URL of the study; None: the database in the run folder.
        study: name of the study.
        make_pool: creates a worker pool from the resources of its workers and a function that tells fits to stop.

    Returns:
        The run's results with the ablation; without it if the run recommends no configuration.

    Raises:
        UserError: there is no such run, the images or weights are missing, or there are too few images for a batch.
        MismatchError: the images, groups or weights differ from those of the run.
    """
    results = analyse(open_study(out, storage, study))
    if results.recommended is None:
        return results
    with lock_folder(out, storage) as hold, explain_write_errors(out, storage):
        hold.keep()
        goal = results.recommended.ranked.trial
        sides = sorted({start.resolution, goal.configuration.resolution} - {0})
        images = _images(results.study, out, data, listener, sides)
        setup = _setup(results, images)
        smallest = min(len(fold.train) for fold in setup.folds)
        if start.batch_size > smallest and not start.is_closed_form:
            raise UserError(
                f"--from: batch_size must be at most {smallest}, the number of training images of a fit in this run, "
                f"got {start.batch_size}."
            )
        opened = open_storage(out, storage, create=False, should_stop=clock.past_end)
        ledger = Ledger(ledger_engine(opened), study)
        metric = results.study.identity.metric
        weights = _weights(results.study)
        if start.backbone not in (NO_BACKBONE, *weights):
            raise UserError(
                f"--from: backbone: the run has no weights of {start.backbone}. Expected one of "
                f"{', '.join((NO_BACKBONE, *weights))}."
            )
        gpus, measured = devices.gpus(), worker_count.load_worker_count(ledger)
        count = measured.chosen if workers is None and measured is not None and not gpus else workers
        pool = make_pool(worker_resources(out, count, gpus), clock.phase_over)
        pool.set_data(TrainingData.of(images, metric, weight_files(weights)))
        try:
            with pool.worker() as worker:
                ablation = ablate(start, goal, results.study.trials, setup, ledger, worker, listener, clock.left)
        finally:
            pool.close()
        ledger.set_fact("ablation", asdict(ablation))
        return analyse(read_study(ledger, optuna.load_study(study_name=study, storage=opened)))


def _images(
    study: StudyRecord, out: Path, data: Path | None, listener: Listener, resolutions: Sequence[int]
) -> ImageSet:
    """The images of the run. Raises UserError if they are gone, MismatchError if they have changed."""
    folder = data or Path(study.data.folder)
    groups, labels = (study.settings.get(name) for name in ("groups", "labels"))
    if data is None and not folder.is_dir():
        raise UserError(f"the images of the run in {out} are no longer in {folder}. Pass --data with their folder.")
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
        resolutions=resolutions,
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
    source = study.settings.get("weights", IMAGENET)
    if any(digest == RANDOM_DIGEST for _, digest in digests):  # once said with another word
        source = RANDOM
    weights = find_weights(source, [name for name, _ in digests]) if digests else {}
    if weight_digests(weights) != digests:
        raise MismatchError("the pretrained weights differ from those of the run. Restore the files of that run.")
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
