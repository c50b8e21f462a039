"""Runner of fits: returns a fit from the ledger, or trains it on a worker and writes it to the ledger."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np

from search import seeds, settings
from search.arrays import IntArray
from search.causes import CHANCE, SLOW, Cause
from search.collapse.audit import is_audited
from search.collapse.likely_causes import likely_causes
from search.collapse.protection import Protection
from search.collapse.rules import FitContext
from search.collapse.symptoms import symptom
from search.data.folds import Fold
from search.data.images import ImageSet
from search.fit_checks import HARD_REASONS, Check
from search.records import CUT_BY_RUNG, ON_SEARCH_FOLDS, Fit, FitKey, FitOutcome, Verdict, field_values
from search.storage.ledger import Ledger
from search.training.job import FitJob, FitSpec
from search.training.sampling import balance_of
from search.workers.errors import WorkerDied, WorkerError, WorkerStalled, last_line
from search.workers.interfaces import FitWorker

FAULTS: Final[Mapping[type[WorkerError], str]] = {WorkerDied: "worker-died", WorkerStalled: "stalled"}
"""Error class -> reason of a failed fit whose worker died twice (the second time with no other fit running) or stalled
twice. The configuration is the likely cause."""

PROCESS_LOST: Final = "process-lost"
"""Reason of a failed fit during which the process of the whole search ended several times."""

_TRIES: Final = 2  # for a fit that fails because of the worker or the machine
_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class StudySetup:
    """Settings that all fits of a study share."""

    labels: IntArray  # (n,) 0..K-1, class of each image
    folds: tuple[Fold, ...]  # the study's folds
    fingerprint: str  # digest of the images and labels
    protocol: settings.TrainingProtocol
    plan: settings.Plan
    metric: str  # name of the metric
    chance: float  # metric of a predictor without any skill
    seed: int  # root of all seeds of the study
    checkpoints: Path | None = None  # folder of checkpoints; None: an interrupted fit starts again


def deserves_second_chance(fit: Fit) -> bool:
    """Whether to fit the fold again with another seed: the fit collapsed for a reason that may be bad luck."""
    return fit.verdict is Verdict.COLLAPSED and fit.reason not in HARD_REASONS


def is_cut(fit: Fit) -> bool:
    """Whether a rung of successive halving stopped the fit early. Racing can use such a fit; later stages can't."""
    return fit.verdict is Verdict.STOPPED and fit.reason == CUT_BY_RUNG


class FitRunner:
    """Runs the fits of a study. A fit that is in the ledger is not trained again.

    Args:
        setup: settings that all fits of the study share.
        ledger: records of finished fits, read and written.
    """

    def __init__(self, setup: StudySetup, ledger: Ledger) -> None:
        self.setup = setup
        self._ledger = ledger

    def fit(
        self,
        worker: FitWorker,
        spec: FitSpec,
        protection: Protection,
        on_check: Callable[[Check], None] = lambda check: None,
    ) -> Fit:
        """Return the fit from the ledger, or train it and write it to the ledger.

        A recorded fit is trained again if it failed, or if a rung cut it and `spec` has no rungs (`bars`).

        Args:
            worker: trains the fit if it is not in the ledger.
            spec: description of the fit.
            protection: what earlier trials reached by each epoch, for the collapse rules.
            on_check: called with each check during training.

        Raises:
            Stopped: the search was told to stop; nothing is written.
        """
        recorded = self._ledger.fit(self._new_fit(spec).key)
        if recorded is not None and recorded.verdict is not Verdict.FAILED and (spec.bars or not is_cut(recorded)):
            return recorded
        return self.train(worker, spec, protection, on_check)

    def fold(
        self,
        worker: FitWorker,
        spec: FitSpec,
        protection: Protection,
        on_check: Callable[[Check], None] = lambda check: None,
        on_fit: Callable[[Fit], None] = lambda fit: None,
    ) -> list[Fit]:
        """Run the fits of a fold: one, and a second one with another seed if `deserves_second_chance`.

        Args:
            worker: trains the fits that are not in the ledger.
            spec: description of the first fit.
            protection: what earlier trials reached by each epoch, for the collapse rules.
            on_check: called with each check during training.
            on_fit: called with each finished fit.

        Returns:
            One or two fits, in the order of their attempts.

        Raises:
            Stopped: the search was told to stop; finished fits are in the ledger.
        """
        fits: list[Fit] = []
        while not fits or (len(fits) == 1 and deserves_second_chance(fits[0])):
            fits.append(self.fit(worker, replace(spec, attempt=len(fits)), protection, on_check))
            on_fit(fits[-1])
        return fits

    def train(
        self,
        worker: FitWorker,
        spec: FitSpec,
        protection: Protection,
        on_check: Callable[[Check], None] = lambda check: None,
        predict: ImageSet | None = None,
    ) -> Fit:
        """Train a fit, even if it is in the ledger, and write it to the ledger.

        Args:
            worker: trains the fit.
            spec: description of the fit.
            protection: what earlier trials reached by each epoch, for the collapse rules.
            on_check: called with each check during training.
            predict: images to predict if the fit learns; the probabilities become `Fit.predicted`.

        Returns:
            The fit; with verdict FAILED if the worker failed twice.

        Raises:
            Stopped: the search was told to stop; nothing is written.
        """
        fit = self._run(worker, spec, protection, on_check, predict)
        self._ledger.write(fit)
        _log.info(
            "Fit %s: %s of trial %d, repeat %d, fold %d, attempt %d: %s, score %s, reason %s, %d epochs, %.1f s",
            *(fit.key, fit.stage, fit.trial, fit.repeat, fit.fold, fit.attempt),
            *(fit.verdict, fit.score, fit.reason, fit.epochs, fit.seconds),
        )
        return fit

    def is_recorded(self, spec: FitSpec) -> bool:
        """Whether the fit is in the ledger, with any verdict."""
        return self._ledger.fit(self._new_fit(spec).key) is not None

    def record_failed(self, spec: FitSpec, reason: str) -> Fit:
        """Write the fit to the ledger as failed for `reason` (a short code), without training it."""
        fit = replace(self._new_fit(spec), reason=reason)
        self._ledger.write(fit)
        _log.warning(
            "The fit of trial %d, fold %d, is recorded as failed and not trained again: %s",
            spec.trial,
            spec.fold,
            reason,
        )
        return fit

    def record_skipped(self, spec: FitSpec, reason: str, evidence: Mapping[str, float]) -> Fit:
        """Write the fit to the ledger as stopped before its first epoch, without training it.

        Args:
            spec: description of the fit.
            reason: short code of the reason.
            evidence: the numbers behind the decision, by name.
        """
        fit = replace(self._new_fit(spec), verdict=Verdict.STOPPED, reason=reason, evidence=evidence)
        self._ledger.write(fit)
        _log.info("The fit of trial %d, fold %d, is skipped: %s", spec.trial, spec.fold, reason)
        return fit

    def _new_fit(self, spec: FitSpec) -> Fit:
        """The record of a fit without an outcome: its key and seed, with the verdict FAILED for now."""
        name, split = spec.configuration.hash, spec.split or spec.stage
        seed = seeds.child(self.setup.seed, "fit", name, split, spec.repeat, spec.fold, spec.attempt)
        key = FitKey(
            configuration=name,
            split=split,
            repeat=spec.repeat,
            fold=spec.fold,
            seed=seed,
            fingerprint=self.setup.fingerprint,
            protocol=self.setup.protocol,
        )
        return Fit(
            key=key.text,
            trial=spec.trial,
            stage=spec.stage,
            configuration=name,
            repeat=spec.repeat,
            fold=spec.fold,
            attempt=spec.attempt,
            seed=seed,
            verdict=Verdict.FAILED,
            epochs_planned=0 if spec.configuration.is_closed_form else self.setup.protocol.epochs,
            rows=spec.val,
        )

    def _run(
        self,
        worker: FitWorker,
        spec: FitSpec,
        protection: Protection,
        on_check: Callable[[Check], None],
        predict: ImageSet | None,
    ) -> Fit:
        new, reason, died = self._new_fit(spec), "", False
        job = self._job(spec, new, protection, predict)
        for _ in range(_TRIES):
            try:
                outcome = worker.run(job, on_check, alone=died)
            except WorkerError as error:
                _log.warning("A fit of trial %d failed because of its worker or the machine: %s", spec.trial, error)
                died = isinstance(error, WorkerDied)  # perhaps other fits had taken the memory
                if not (died and reason):  # an earlier error says more than one death of a worker
                    reason = FAULTS.get(type(error)) or last_line(str(error))[:64]
                continue
            evidence = {"epoch": float(outcome.epochs), **outcome.evidence} if outcome.reason else {}
            causes, shown = self._causes_and_symptom(job, outcome)
            values = field_values(outcome) | {"evidence": evidence}
            return replace(new, **values, causes=causes, symptom=shown)
        return replace(new, reason=reason)

    def _causes_and_symptom(self, job: FitJob, outcome: FitOutcome) -> tuple[tuple[Cause, ...], str | None]:
        """The likely causes of a collapse or of a score at chance, and the symptom of a fit that ran to its end."""
        learned = outcome.verdict is Verdict.LEARNED
        shown = symptom(outcome.checks, outcome.shares, self.setup.chance) if learned else None
        if outcome.verdict is not Verdict.COLLAPSED and shown not in (CHANCE, SLOW):
            return (), shown
        context = job.context
        causes = likely_causes(
            job.configuration, outcome.checks, outcome.layers, outcome.start, context.prior_entropy, context.imbalance
        )
        return causes, shown

    def _job(self, spec: FitSpec, new: Fit, protection: Protection, predict: ImageSet | None) -> FitJob:
        setup, configuration = self.setup, spec.configuration
        counts = np.bincount(setup.labels[spec.train], minlength=setup.protocol.classes)
        images = spec.shortest or (min(len(fold.train) for fold in setup.folds) if len(spec.val) else len(spec.train))
        effective = balance_of(counts, configuration)
        return FitJob(
            **field_values(spec),
            protocol=setup.protocol,
            seed=new.seed,
            context=FitContext(
                epochs=setup.protocol.epochs,
                updates_per_epoch=len(spec.train) // configuration.batch_size,
                imbalance=float(counts.max() / counts.min()),
                batchnorm=configuration.normalized,
                prior_entropy=effective.entropy,
                chance=setup.chance,
                protected=protection,
            ),
            audited=len(spec.val) > 0 and is_audited(setup.seed, configuration.hash, spec.repeat, spec.fold),
            updates=setup.protocol.epochs * (images // configuration.batch_size),
            limit_seconds=setup.plan.fit_seconds if spec.stage in ON_SEARCH_FOLDS else None,
            predict=None if predict is None else predict.at(configuration.resolution).path,
            predict_shape_ids=None if predict is None else predict.at(configuration.resolution).shape_ids,
            checkpoint=None if setup.checkpoints is None else setup.checkpoints / f"{new.key}.npz",
        )
