"""Fits of slightly changed copies of the recommended configuration, on the search's first folds.

The fits have the search's own folds, seeds and keys: they are compared with the recommended configuration fold by fold,
what a trial has done is not done again, and a later trial finds what was done here.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Sequence

from search.collapse.protection import Protection
from search.events import Listener
from search.fit_checks import Check
from search.fits.executor import Executor
from search.fits.runner import FitRunner, StudySetup
from search.records import NEIGHBOUR, SEARCH, FitOutcome, PerturbedCopy, Sensitivity, Trial
from search.schedule.budget import typical_fit_seconds
from search.selection.scores import JUDGED
from search.storage.ledger import Ledger
from search.training.job import FitJob, FitSpec
from search.workers.errors import Stopped
from search.workers.interfaces import FitWorker

_log = logging.getLogger(__name__)


def fit_copies(
    best_trial: Trial,
    copies: Sequence[PerturbedCopy],
    terms: StudySetup,
    ledger: Ledger,
    executor: Executor,
    listener: Listener,
    trials: Sequence[Trial],
    left: float | None,
    folds: int,
) -> Sensitivity:
    """Fit the copies, in order, as far as time allows.

    Args:
        best_trial: the recommended trial, judged on all folds.
        copies: of its configuration, the most telling first.
        terms: what all fits share.
        ledger: where fits are kept; what it has costs no time.
        executor: who trains, each worker a copy at a time.
        listener: told the cost and how far it is.
        trials: of the study, whose fits protect those that begin well.
        left: seconds that it may take, None without a limit. No fit is begun that would likely not end in time.
        folds: of the study's, the first ones: for each copy.

    Returns:
        The copies with all their fits, in the order given; those that could not be judged are left out.
    """
    expected = typical_fit_seconds(best_trial)
    ends = None if left is None else time.monotonic() + left - expected
    bench = _CopyFitter(
        best_trial.number,
        min(folds, len(terms.folds)),
        terms,
        FitRunner(terms, ledger),
        Protection.of(fit for trial in trials for fit in trial.fits),
        lambda: ends is not None and time.monotonic() > ends,
    )
    done = _Done(listener, len(copies))
    if copies:
        noun = "copy" if len(copies) == 1 else "copies"
        cost = f"at most {len(copies)} x {bench.folds} fits, about {len(copies) * bench.folds * expected:.0f} s"
        listener.stage(f"Trying {len(copies)} slightly changed {noun} of the recommendation: {cost}")

    judged: dict[int, bool] = {}

    def judge(worker: FitWorker, number: int) -> None:
        judged[number] = bench.judge(worker, copies[number])
        done.tell(judged[number])

    with contextlib.suppress(Stopped):  # what is judged is judged
        executor.run(f"copies of {best_trial.configuration.hash} on {bench.folds}", range(len(copies)), judge)
    return Sensitivity(
        centre=best_trial.configuration.hash,
        folds=bench.folds,
        copies=tuple(copy for number, copy in enumerate(copies) if judged.get(number)),
    )


def seconds_needed(best_trial: Trial, copies: int, workers: int, folds: int) -> float:
    """What so many copies may take, if their fits are like the recommended one's."""
    return -(-copies // workers) * folds * typical_fit_seconds(best_trial)


class _Done:
    """Counts the copies that are done, from several threads."""

    def __init__(self, listener: Listener, total: int) -> None:
        self._listener, self._total, self._done = listener, total, 0
        self._lock = threading.Lock()

    def tell(self, judged: bool) -> None:
        with self._lock:
            self._done += judged
            self._listener.progress("configurations", self._done, self._total)


class _CopyFitter:
    """Fits copies on the first folds, as a trial would."""

    def __init__(
        self,
        trial: int,
        folds: int,
        terms: StudySetup,
        fitter: FitRunner,
        protection: Protection,
        is_over: Callable[[], bool],
    ) -> None:
        self.folds = folds
        self._trial, self._terms, self._fitter, self._protection = trial, terms, fitter, protection
        self._is_over, self._ended = is_over, False

    def judge(self, worker: FitWorker, copy: PerturbedCopy) -> bool:
        """Whether all folds were judged."""
        timed = _Timed(worker, lambda: self._ended or self._is_over())
        try:
            fits = [
                self._fitter.fold(timed, self._spec(copy, fold), self._protection)[-1] for fold in range(self.folds)
            ]
        except Stopped:
            self._ended = True
            return False
        judged = all(fit.verdict in JUDGED for fit in fits)
        _log.info("copy with %s: %s", dict(copy.changes), [(str(fit.verdict), fit.score) for fit in fits])
        return judged

    def _spec(self, copy: PerturbedCopy, fold: int) -> FitSpec:
        split = self._terms.folds[fold]
        return FitSpec(
            trial=self._trial,
            stage=NEIGHBOUR,
            split=SEARCH,
            configuration=copy.configuration,
            train=split.train,
            val=split.val,
            fold=fold,
        )


class _Timed:
    """A worker that begins nothing new when the time is over; what the ledger has is not asked of it."""

    def __init__(self, worker: FitWorker, is_over: Callable[[], bool]) -> None:
        self._worker, self._is_over = worker, is_over

    def run(
        self, job: FitJob, on_check: Callable[[Check], None] = lambda check: None, *, alone: bool = False
    ) -> FitOutcome:
        if self._is_over():
            raise Stopped
        return self._worker.run(job, on_check, alone=alone)
