"""A finished run asked again: what separates a configuration of the user's from the recommended one."""

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
    """Follow the changes from `start` to the recommended configuration of the run in `out`; kept with the study.

    Args:
        out: run folder.
        start: the user's configuration; it need not lie in the run's space.
        listener: told the cost and how far it is.
        clock: says when to end.
        data: the run's images, if they are no longer where they were.
        workers: asked for, None for auto.
        storage: database of the study, if not in the run folder.
        study: its name.
        make_pool: makes the workers.

    Returns:
        The run's results with the way in them; unchanged where nothing is recommended.

    Raises:
        UserError: no such run, other images, or a configuration that they are too few for.
    """
    results = analyse(open_study(out, storage, study))
    if results.recommended is None:
        return results
    with lock_folder(out, storage) as hold, explain_write_errors(out, storage):
        hold.keep()
        images = _images(results.study, out, data, listener)
        terms = _terms(results, images)
        smallest = min(len(fold.train) for fold in terms.folds)
        if start.batch_size > smallest:
            raise UserError(
                f"--from: batch_size {start.batch_size} is more than the {smallest} images that a fit of this run "
                f"trains on. Allow at most {smallest}."
            )
        opened = open_storage(out, storage, create=False, should_stop=clock.past_end)
        ledger = Ledger(ledger_engine(opened), study)
        metric = results.study.identity.metric
        weights = _weights(results.study)
        gpus, known = devices.gpus(), worker_count.load_worker_count(ledger)
        count = known.chosen if workers is None and known is not None and not gpus else workers
        pool = make_pool(worker_resources(out, count, gpus), clock.phase_over)
        pool.set_data(TrainingData.of(images, metric, weight_files(weights)))
        try:
            with pool.worker() as worker:
                goal, trials = results.recommended.ranked.trial, results.study.trials
                found = ablate(start, goal, trials, terms, ledger, worker, listener, clock.left)
        finally:
            pool.close()
        ledger.set_fact("ablation", asdict(found))
        return analyse(read_study(ledger, optuna.load_study(study_name=study, storage=opened)))


def _images(study: StudyRecord, out: Path, data: Path | None, listener: Listener) -> ImageSet:
    """The run's own images, and no others."""
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
    same = images.summary.fingerprint == study.identity.fingerprint
    if not same or groups_hash(images.groups) != study.identity.groups:
        raise MismatchError(
            f"the run in {out} was made with {'other groups' if same else 'other images'} than {folder} holds now. "
            "Pass --data with the images of that run."
        )
    return images


def _weights(study: StudyRecord) -> dict[str, Weights]:
    """The run's own."""
    known = study.identity.weights
    found = find_weights(study.settings.get("weights", IMAGENET), [name for name, _ in known]) if known else {}
    if weight_digests(found) != known:
        raise MismatchError("the run was made with other weights of backbones than there are now. Put them back.")
    return found


def _terms(results: Results, images: ImageSet) -> StudySetup:
    """As the run's fits were made, but with as much time as they take."""
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
