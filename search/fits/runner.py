"""One fit from what it is to what came of it: ledger, else worker, then ledger."""

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
"""Reasons of fits whose process died twice, the second time with the machine to itself, or stalled twice: the
configuration has its part in it."""

PROCESS_LOST: Final = "process-lost"
"""Reason of a fit that took the whole search down with it again and again."""

_TRIES: Final = 2  # of a fit that fails by our or the machine's fault
_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class StudySetup:
    """What all fits of the study share."""

    labels: IntArray
    folds: tuple[Fold, ...]
    fingerprint: str
    protocol: settings.TrainingProtocol
    plan: settings.Plan
    metric: str
    chance: float
    seed: int
    snapshots: Path | None = None  # folder for fits that are cut off; None: they begin anew


def deserves_second_chance(fit: Fit) -> bool:
    """Whether a second seed is to have a say on the fold: a collapse without structural evidence may be bad luck."""
    return fit.verdict is Verdict.COLLAPSED and fit.reason not in HARD_REASONS


def is_cut(fit: Fit) -> bool:
    """Whether a rung ended the fit: enough to race a configuration, not to know it."""
    return fit.verdict is Verdict.STOPPED and fit.reason == CUT_BY_RUNG


class FitRunner:
    """Does fits. What stands in the ledger is not done again.

    Args:
        terms: what all fits share.
        ledger: where fits are kept.
    """

    def __init__(self, terms: StudySetup, ledger: Ledger) -> None:
        self.terms = terms
        self._ledger = ledger

    def fit(
        self,
        worker: FitWorker,
        spec: FitSpec,
        protection: Protection,
        on_check: Callable[[Check], None] = lambda check: None,
    ) -> Fit:
        """The fit from the ledger, or trained now and written there. A failed one is tried again.

        Raises:
            Stopped: the search is to end; nothing is written.
        """
        known = self._ledger.fit(self._blank(spec).key)
        if known is not None and known.verdict is not Verdict.FAILED and (spec.bars or not is_cut(known)):
            return known
        return self.train(worker, spec, protection, on_check)

    def fold(
        self,
        worker: FitWorker,
        spec: FitSpec,
        protection: Protection,
        on_check: Callable[[Check], None] = lambda check: None,
        on_fit: Callable[[Fit], None] = lambda fit: None,
    ) -> list[Fit]:
        """The fits of a fold: one, and after a soft collapse, which may be bad luck, a second one with a new seed.

        Raises:
            Stopped: the search is to end; fits that are done stand in the ledger.
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
        """Train whatever the ledger says, write, and predict the images of `predict` if it learned."""
        fit = self._run(worker, spec, protection, on_check, predict)
        self._ledger.write(fit)
        _log.info(
            "fit %s: %s of trial %d, repeat %d, fold %d, attempt %d: %s, score %s, reason %s, %d epochs, %.1f s",
            *(fit.key, fit.stage, fit.trial, fit.repeat, fit.fold, fit.attempt),
            *(fit.verdict, fit.score, fit.reason, fit.epochs, fit.seconds),
        )
        return fit

    def give_up(self, spec: FitSpec, reason: str) -> Fit:
        """Write that the fit failed, without trying it."""
        fit = replace(self._blank(spec), reason=reason)
        self._ledger.write(fit)
        _log.warning("A fit of trial %d, fold %d, is given up: %s", spec.trial, spec.fold, reason)
        return fit

    def knows(self, spec: FitSpec) -> bool:
        """Whether the fit stands in the ledger."""
        return self._ledger.fit(self._blank(spec).key) is not None

    def pass_over(self, spec: FitSpec, reason: str, evidence: Mapping[str, float]) -> Fit:
        """Write that the fit was stopped before it began."""
        fit = replace(self._blank(spec), verdict=Verdict.STOPPED, reason=reason, evidence=evidence)
        self._ledger.write(fit)
        _log.info("a fit of trial %d, fold %d, is passed over: %s", spec.trial, spec.fold, reason)
        return fit

    def _blank(self, spec: FitSpec) -> Fit:
        name, split = spec.configuration.hash, spec.split or spec.stage
        seed = seeds.child(self.terms.seed, "fit", name, split, spec.repeat, spec.fold, spec.attempt)
        key = FitKey(
            configuration=name,
            split=split,
            repeat=spec.repeat,
            fold=spec.fold,
            seed=seed,
            fingerprint=self.terms.fingerprint,
            protocol=self.terms.protocol,
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
            epochs_planned=self.terms.protocol.epochs,
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
        blank, reason, died = self._blank(spec), "", False
        job = self._job(spec, blank, protection, predict)
        for _ in range(_TRIES):
            try:
                outcome = worker.run(job, on_check, alone=died)
            except WorkerError as error:
                _log.warning("A fit of trial %d failed: %s", spec.trial, error)
                died = isinstance(error, WorkerDied)  # perhaps for want of memory, which others took
                if not (died and reason):  # one death says less than whatever else it failed by
                    reason = FAULTS.get(type(error)) or last_line(str(error))[:64]
                continue
            evidence = {"epoch": float(outcome.epochs), **outcome.evidence} if outcome.reason else {}
            causes, shown = self._explained(job, outcome)
            values = field_values(outcome) | {"evidence": evidence}
            return replace(blank, **values, causes=causes, symptom=shown)
        return replace(blank, reason=reason)

    def _explained(self, job: FitJob, outcome: FitOutcome) -> tuple[tuple[Cause, ...], str | None]:
        """Likely causes of a collapse or of an end at chance, and the symptom of a fit that ran to its end."""
        learned = outcome.verdict is Verdict.LEARNED
        shown = symptom(outcome.checks, outcome.shares, self.terms.chance) if learned else None
        if outcome.verdict is not Verdict.COLLAPSED and shown not in (CHANCE, SLOW):
            return (), shown
        known = job.context
        causes = likely_causes(
            job.configuration, outcome.checks, outcome.layers, outcome.start, known.prior_entropy, known.imbalance
        )
        return causes, shown

    def _job(self, spec: FitSpec, blank: Fit, protection: Protection, predict: ImageSet | None) -> FitJob:
        terms, configuration = self.terms, spec.configuration
        counts = np.bincount(terms.labels[spec.train], minlength=terms.protocol.classes)
        images = spec.shortest or (min(len(fold.train) for fold in terms.folds) if len(spec.val) else len(spec.train))
        effective = balance_of(counts, configuration)
        return FitJob(
            **field_values(spec),
            protocol=terms.protocol,
            seed=blank.seed,
            context=FitContext(
                epochs=terms.protocol.epochs,
                updates_per_epoch=len(spec.train) // configuration.batch_size,
                imbalance=float(counts.max() / counts.min()),
                batchnorm=configuration.normalized,
                prior_entropy=effective.entropy,
                chance=terms.chance,
                protected=protection,
            ),
            audited=len(spec.val) > 0 and is_audited(terms.seed, configuration.hash, spec.repeat, spec.fold),
            updates=terms.protocol.epochs * (images // configuration.batch_size),
            limit_seconds=terms.plan.fit_seconds if spec.stage in ON_SEARCH_FOLDS else None,
            predict=None if predict is None else predict.path,
            predict_shape_ids=None if predict is None else predict.shape_ids,
            checkpoint=None if terms.snapshots is None else terms.snapshots / f"{blank.key}.npz",
        )
