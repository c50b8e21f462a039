"""Sensitivity of the recommended configuration: fits of slightly changed variants on the search's first folds."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Sequence

from search.events import Listener
from search.fit_checks import Check
from search.fits.executor import Executor
from search.fits.runner import StudySetup
from search.records import NEIGHBOUR, FitOutcome, Sensitivity, Trial, Variant
from search.schedule.budget import typical_fit_seconds
from search.selection.scores import JUDGED
from search.stages.first_folds import FirstFolds
from search.storage.ledger import Ledger
from search.training.job import FitJob
from search.workers.errors import Stopped
from search.workers.interfaces import FitWorker

_log = logging.getLogger(__name__)


def fit_variants(
    best_trial: Trial,
    variants: Sequence[Variant],
    setup: StudySetup,
    ledger: Ledger,
    executor: Executor,
    listener: Listener,
    trials: Sequence[Trial],
    left: float | None,
    folds: int,
) -> Sensitivity:
    """Fit the variants of the recommended configuration, in order, as far as time allows.

    Args:
        best_trial: the recommended trial, judged on all folds.
        variants: variants of its configuration, the most informative first.
        setup: settings that all fits of the study share.
        ledger: where fits are recorded; what it has costs no time.
        executor: runs the fits; a worker fits one variant at a time.
        listener: notified of the cost and the progress.
        trials: trials of the study; their fits protect similar ones from collapse rules.
        left: seconds available; None without a limit. A fit that would probably not end in time is not started.
        folds: each variant is fitted on this many of the study's first folds.

    Returns:
        The variants that were judged on all these folds, in the order of `variants`.
    """
    expected = typical_fit_seconds(best_trial)
    first_folds = FirstFolds(setup, ledger, stage=NEIGHBOUR, trial=best_trial.number, folds=folds, trials=trials)
    fits = len(first_folds.folds)
    deadline = _Deadline(None if left is None else time.monotonic() + left - expected)
    progress = _Progress(listener, len(variants))
    if variants:
        noun = "variant" if len(variants) == 1 else "variants"
        cost = f"at most {len(variants)} x {fits} fits, about {len(variants) * fits * expected:.0f} s"
        listener.stage(f"Trying {len(variants)} {noun} of the recommended configuration: {cost}")

    judged: dict[int, bool] = {}

    def judge(worker: FitWorker, number: int) -> None:
        judged[number] = _is_judged(first_folds, _TimedWorker(worker, deadline), variants[number], deadline)
        progress.add(judged[number])

    with contextlib.suppress(Stopped):  # variants that were judged count
        executor.run(f"copies of {best_trial.configuration.hash} on {fits}", range(len(variants)), judge)
    return Sensitivity(
        centre=best_trial.configuration.hash,
        folds=fits,
        variants=tuple(variant for number, variant in enumerate(variants) if judged.get(number)),
    )


def seconds_needed(best_trial: Trial, variants: int, workers: int, folds: int) -> float:
    """Return the seconds that fitting variants takes, if their fits take as long as the recommended trial's.

    Args:
        best_trial: the recommended trial.
        variants: number of variants.
        workers: number of fits at the same time.
        folds: number of folds on which each variant is fitted.
    """
    return -(-variants // workers) * folds * typical_fit_seconds(best_trial)


def _is_judged(first_folds: FirstFolds, worker: FitWorker, variant: Variant, deadline: _Deadline) -> bool:
    """Fit a variant; return whether all its fits were judged."""
    try:
        fits = [first_folds.fits(worker, variant.configuration, fold)[-1] for fold in first_folds.folds]
    except Stopped:
        deadline.pass_now()
        return False
    _log.info("variant with %s: %s", dict(variant.changes), [(str(fit.verdict), fit.score) for fit in fits])
    return all(fit.verdict in JUDGED for fit in fits)


class _Progress:
    """Counts the variants that were judged, from several threads."""

    def __init__(self, listener: Listener, total: int) -> None:
        self._listener, self._total, self._judged = listener, total, 0
        self._lock = threading.Lock()

    def add(self, judged: bool) -> None:
        with self._lock:
            self._judged += judged
            self._listener.progress("configurations", self._judged, self._total)


class _Deadline:
    """The moment after which no fit begins, by the monotonic clock; None without one, until a fit was stopped."""

    def __init__(self, moment: float | None) -> None:
        self._moment = moment

    def pass_now(self) -> None:
        self._moment = time.monotonic() - 1.0

    def is_over(self) -> bool:
        return self._moment is not None and time.monotonic() > self._moment


class _TimedWorker:
    """A worker that begins no fit after the deadline; fits that are recorded are not asked of it."""

    def __init__(self, worker: FitWorker, deadline: _Deadline) -> None:
        self._worker, self._deadline = worker, deadline

    def run(
        self, job: FitJob, on_check: Callable[[Check], None] = lambda check: None, *, alone: bool = False
    ) -> FitOutcome:
        if self._deadline.is_over():
            raise Stopped
        return self._worker.run(job, on_check, alone=alone)
