"""Settings of a study that are fixed before its first fit: protocol, plan and folds; also the baselines' scores."""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass, replace
from typing import Final

import numpy as np
import optuna

from search.data.folds import fold_warnings
from search.data.images import ImageSet
from search.events import Listener
from search.fits.runner import StudySetup
from search.records import CONFIRM, NEIGHBOUR
from search.request import (
    SearchDesign,
    SearchRequest,
    bound_space,
    planned_design,
    start_configurations,
    weight_digests,
)
from search.schedule.plan import CONFIRM_SHARE, auto_epochs, make_plan
from search.selection import metrics
from search.selection.baselines import baselines
from search.selection.shortlist import REPEATS
from search.settings import Plan, TrainingProtocol
from search.storage.ledger import Ledger
from search.workers.protocol import Timing, TimingJob
from spaces.backbones import NO_BACKBONE
from spaces.config import LAYERS, Configuration
from spaces.definitions import Fixed
from spaces.space import Space

CHECKPOINTS: Final = "paused"
"""Folder in the run folder for the checkpoints of interrupted fits."""

_REPLACED_FINALISTS: Final = 1.2  # times the time of the finalists so far: what others in their place may need
_UNKNOWN_FINALISTS: Final = 0.5  # share of a session that is kept back at most while there are no finalists
_TIMED_STEPS: Final = 16  # steps of a timed epoch at most

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class PlanInputs:
    """The inputs of a plan besides the request and the images.

    Attributes:
        protocol: the training protocol, from `study_protocol`.
        timing: measured seconds of a fit of the reference configuration; zeros if it was not timed.
        workers: number of fits that run at the same time.
        seconds: seconds left of the budget; None without a limit.
        usual_seconds: seconds of a usual session of the study, from which epochs and folds are chosen; None: the same
            as `seconds`.
        test: whether a final training and a test follow the search.
        notes: sentences for the report, placed before the plan's own notes.
    """

    protocol: TrainingProtocol
    timing: Timing
    workers: int
    seconds: float | None
    usual_seconds: float | None = None
    test: bool
    notes: tuple[str, ...] = ()


def make_setup(
    request: SearchRequest,
    images: ImageSet,
    design: SearchDesign,
    inputs: PlanInputs,
    ledger: Ledger,
    listener: Listener,
) -> tuple[StudySetup, SearchDesign]:
    """Fix the settings that all fits of the study share, and store them with the scores of the baselines.

    Args:
        request: the user's request.
        images: the training images.
        design: the search design from `check_request`.
        inputs: the other inputs of the plan.
        ledger: the study's ledger; epochs and folds that are stored there are kept.
        listener: notified of stages.

    Returns:
        The setup, and the search design for the plan's folds and epochs.
    """
    if inputs.usual_seconds not in (None, inputs.seconds) and stored_plan(ledger) is None:
        _settle(ledger, inputs.protocol, _plan(request, ledger, inputs, inputs.usual_seconds))
    protocol, plan = _settle(ledger, inputs.protocol, _plan(request, ledger, inputs, inputs.seconds))
    design = planned_design(request, images, design, plan.folds, plan.epochs)
    warnings = fold_warnings(images.labels, design.folds, tuple(images.summary.classes))
    for warning in warnings:
        _log.warning("%s", warning)
    setup = StudySetup(
        labels=images.labels,
        folds=design.folds,
        fingerprint=images.summary.fingerprint,
        protocol=replace(protocol, epochs=plan.epochs),
        plan=replace(plan, notes=tuple(dict.fromkeys((*inputs.notes, *plan.notes, *warnings)))),
        metric=request.metric,
        chance=metrics.chance(request.metric, images.labels),
        seed=request.seed,
        checkpoints=request.out / CHECKPOINTS,
    )
    if ledger.fact("baselines") is None:
        listener.stage("Scoring the baselines")
        pairs = [(fold.train, fold.val) for fold in design.folds]
        ledger.set_fact("baselines", baselines(images.squares(), images.labels, pairs, request.metric))
    _store_plan(ledger, setup.protocol, setup.plan)
    return setup, design


def store_empty_plan(request: SearchRequest, images: ImageSet, ledger: Ledger) -> None:
    """Store a plan without any search time, for the report of a study whose time ended before a plan could be made."""
    protocol = study_protocol(request, images, ledger, "float32")
    plan = Plan(
        epochs=protocol.epochs,
        folds=request.folds,
        search_seconds=0.0,
        final_seconds=0.0,
        fit_seconds=None,
        notes=("The time ended before the first epochs were timed. Pass a longer --timeout.",),
    )
    _store_plan(ledger, protocol, plan)


def stored_plan(ledger: Ledger) -> Plan | None:
    """Return the plan that is stored for the study; None if there is none yet."""
    stored = ledger.fact("plan")
    return None if stored is None else Plan(**{**stored, "notes": tuple(stored["notes"])})


def study_protocol(request: SearchRequest, images: ImageSet, ledger: Ledger, precision: str) -> TrainingProtocol:
    """Return the study's training protocol: the stored one, or a new one whose number of epochs is provisional.

    Args:
        request: the user's request.
        images: the training images.
        ledger: the study's ledger.
        precision: the best precision for the device, such as "float32"; a stored protocol keeps its own.
    """
    stored = ledger.fact("protocol")
    if stored is not None:
        protocol = TrainingProtocol.from_stored(stored)
        if protocol.precision != precision:
            _log.warning("The study continues in %s, although %s suits this device.", protocol.precision, precision)
        return protocol
    return TrainingProtocol(
        epochs=request.epochs or auto_epochs(images.summary.images),
        images=images.format,
        classes=len(images.summary.classes),
        precision=precision,
        weights=weight_digests(request.weights),
    )


def timing_job(request: SearchRequest, images: ImageSet, protocol: TrainingProtocol) -> tuple[TimingJob, float]:
    """Return a job that times the first configuration, on a part of the images if there are many.

    Args:
        request: the user's request.
        images: the training images.
        protocol: the study's training protocol.

    Returns:
        The job, and the ratio (at least 1) of a whole epoch's duration to that of a timed one.
    """
    rows = np.arange(len(images.labels))
    val = rows[:: request.folds]
    train = np.setdiff1d(rows, val)
    space = bound_space(request, len(train), protocol.epochs)
    # Networks with a backbone cost less, or far more: the others come first.
    trained = [start for start in start_configurations(request, space) if not start.is_closed_form]
    starts = sorted(trained, key=lambda start: start.backbone != NO_BACKBONE)
    configuration = starts[0] if starts else _random_configuration(space, request.seed)
    share = min(1.0, _TIMED_STEPS * configuration.batch_size / len(train))
    few_train, few_val = (part[: round(share * len(part))] for part in (train, val))
    job = TimingJob(configuration=configuration, protocol=protocol, train=few_train, val=few_val, seconds=None)
    return job, len(train) / len(few_train)


def _random_configuration(space: Space, seed: int) -> Configuration:
    trained = space.changed({"classifier": Fixed(LAYERS)})
    return trained.sample(optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed)).ask())


def _settle(ledger: Ledger, protocol: TrainingProtocol, plan: Plan) -> tuple[TrainingProtocol, Plan]:
    """Protocol and plan with the epochs and folds of the study's fits, whichever host was the first to have a plan."""
    first = ledger.settle_fact("plan", asdict(plan))
    plan = replace(plan, epochs=first["epochs"], folds=first["folds"])
    stored = ledger.settle_fact("protocol", replace(protocol, epochs=plan.epochs).as_stored())
    return TrainingProtocol.from_stored(stored), plan


def _store_plan(ledger: Ledger, protocol: TrainingProtocol, plan: Plan) -> None:
    ledger.set_fact("protocol", protocol.as_stored())
    ledger.set_fact("plan", asdict(plan))


def _plan(request: SearchRequest, ledger: Ledger, inputs: PlanInputs, seconds: float | None) -> Plan:
    """The plan for so many seconds.

    Epochs and folds of a stored plan stay, since fits were done by them; the limit of a fit and what is kept back are
    worked out again, as the budget may have been raised.
    """
    stored = stored_plan(ledger)
    plan = make_plan(
        epochs=inputs.protocol.epochs if stored is None else stored.epochs,
        epochs_fixed=request.epochs is not None or stored is not None,
        folds=request.folds if stored is None else stored.folds,
        seconds=seconds,
        confirm=_seconds_to_confirm(request, ledger, seconds, inputs.workers),
        workers=inputs.workers,
        epoch_seconds=inputs.timing.epoch,
        trace_seconds=inputs.timing.trace,
        test=inputs.test,
    )
    return plan if stored is None else replace(plan, epochs=stored.epochs, folds=stored.folds, notes=stored.notes)


def _seconds_to_confirm(request: SearchRequest, ledger: Ledger, seconds: float | None, workers: int) -> float | None:
    """Seconds of the finalists' share of the whole limit that they have not had yet; None without a limit.

    While there are no finalists, the search has its half of each session: a share that only grows would leave it none.
    """
    if request.budget.seconds is None or seconds is None:
        return None
    used = ledger.seconds((CONFIRM, NEIGHBOUR)) / workers
    share = max(0.0, CONFIRM_SHARE * request.budget.seconds - used)
    confirmation = ledger.fact("confirmation")
    if confirmation is None:
        return min(share, _UNKNOWN_FINALISTS * seconds)
    if confirmation["repeats"] < REPEATS and set(confirmation["dropped"]) != set(confirmation["finalists"]):
        return share
    return min(share, _REPLACED_FINALISTS * used, _UNKNOWN_FINALISTS * seconds)
