"""Confirmation: finalists fitted again on fresh splits with fresh seeds; those clearly behind stop early."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace

import numpy as np

from search.arrays import FloatArray, IntArray
from search.collapse.protection import Protection
from search.data.folds import Fold
from search.data.fresh_splits import fresh_folds
from search.events import Listener
from search.fits.executor import Executor
from search.fits.runner import FitRunner, StudySetup
from search.records import COLLAPSES, CONFIRM, DROPPED_BEHIND, NO_TIME, NOT_JUDGED, Confirmation, Fit, Verdict
from search.selection import robust_score
from search.selection.results import Ranked
from search.selection.scores import JUDGED, fit_score
from search.stages.confirmation_plan import ConfirmationCost, confirmed_fits
from search.storage.ledger import Ledger
from search.training.job import FitSpec
from search.workers.errors import Stopped
from search.workers.interfaces import Worker
from spaces.config import Configuration

_log = logging.getLogger(__name__)


def confirm(
    plan: Confirmation,
    ranking: Sequence[Ranked],
    groups: IntArray | None,
    setup: StudySetup,
    ledger: Ledger,
    executor: Executor,
    listener: Listener,
    left: Callable[[], float | None],
) -> Confirmation:
    """Fit the finalists, repeat after repeat, until the plan is done or the time is over.

    Only whole repeats count: where the time is over in the middle of a repeat, those before it count, and in the first
    repeat the finalists that have all its folds. What counts is recorded in the ledger after each repeat.

    Args:
        plan: from `plan_confirmation`, or one that was cut off.
        ranking: of the search: holds every finalist.
        groups: `(n,)` group of each image, or None.
        setup: what all fits of the study share.
        ledger: where fits are recorded, and what became of the plan.
        executor: runs the fits.
        listener: told the progress.
        left: returns the seconds that are left for it, None without a limit.
    """
    return _ConfirmationRun(plan, ranking, groups, setup, ledger, executor, listener).run(left)


class _ConfirmationRun:
    """The finalists and their fits. Which finalists go on is judged anew after each repeat, from all fits."""

    def __init__(
        self,
        plan: Confirmation,
        ranking: Sequence[Ranked],
        groups: IntArray | None,
        setup: StudySetup,
        ledger: Ledger,
        executor: Executor,
        listener: Listener,
    ) -> None:
        by_hash = {one.trial.configuration.hash: one for one in ranking}
        self.plan = plan
        self._finalists = {name: by_hash[name] for name in plan.finalists}
        self._groups, self._setup, self._ledger = groups, setup, ledger
        self._executor, self._listener = executor, listener
        self._fitter = FitRunner(setup, ledger)
        self._protection = Protection.of(fit for one in ranking for fit in one.trial.fits)
        self._cost = ConfirmationCost(ranking, plan.folds, confirmed_fits(ledger), executor.workers)
        self._fits: dict[str, list[Fit]] = {name: [] for name in plan.finalists}
        self._repeats = dict.fromkeys(plan.finalists, 0)  # whole ones
        self._dropped: dict[str, str] = {}
        self._lock = threading.Lock()

    def run(self, left: Callable[[], float | None]) -> Confirmation:
        self._announce()
        while names := self._next():
            repeat = self._repeats[names[0]]
            needed = self._cost.of([self._finalists[name] for name in names], [repeat])
            seconds = left()
            if repeat and needed and seconds is not None and needed > seconds:
                return self._cut_short()
            splits = fresh_folds(
                self._setup.labels, self._groups, folds=self.plan.folds, seed=self._setup.seed, repeat=repeat
            )
            try:
                self._repeat(names, repeat, splits)
            except Stopped:
                return self._cut_short()
            self._judge()
            if all(self._repeats[name] > repeat for name in self._in()):
                self._record(repeat + 1)
        self._record(self.plan.planned if self._in() else max(self._repeats.values()))
        return self.plan

    def _in(self) -> list[str]:
        return [name for name in self.plan.finalists if name not in self._dropped]

    def _next(self) -> list[str]:
        """Finalists that go on and have the fewest repeats: one that came back makes up for what it has missed."""
        open_ones = [name for name in self._in() if self._repeats[name] < self.plan.planned]
        fewest = min((self._repeats[name] for name in open_ones), default=0)
        return [name for name in open_ones if self._repeats[name] == fewest]

    def _repeat(self, names: Sequence[str], repeat: int, splits: Sequence[Fold]) -> None:
        """Fit these finalists on all folds of one fresh split."""
        count = self._executor.split(len(names), len(splits))
        tasks = [(name, range(first, len(splits), count)) for name in names for first in range(count)]
        shortest = min(len(split.train) for split in splits)

        def fit(worker: Worker, task: tuple[str, range]) -> None:
            name, folds = task
            for fold in folds:
                if name not in self._dropped:
                    self._fit(worker, name, repeat, fold, splits[fold], shortest)

        try:
            self._executor.run(f"confirm {repeat} of {self.plan.planned}: {' '.join(names)}", tasks, fit)
        finally:  # where the time is over, some finalists may have all folds
            for name in names:
                fits = self._fits[name]
                fits.sort(key=lambda fit: (fit.repeat, fit.fold))
                self._repeats[name] += sum(fit.repeat == repeat for fit in fits) == len(splits)

    def _fit(self, worker: Worker, name: str, repeat: int, fold: int, split: Fold, shortest: int) -> None:
        one = self._finalists[name]
        spec = FitSpec(
            trial=one.trial.number,
            stage=CONFIRM,
            configuration=one.trial.configuration,
            train=split.train,
            val=split.val,
            repeat=repeat,
            fold=fold,
            shortest=shortest,
            corrupt=_tries_corrupted(one.trial.configuration, repeat, self.plan.planned),
        )
        fit = self._fitter.fit(worker, spec, self._protection)
        if fit.verdict in JUDGED:
            self._add(name, fit)
        else:
            self._dropped[name] = NOT_JUDGED

    def _judge(self) -> None:
        """Drop those that collapse too often or are clearly behind the best; both may change with more fits."""
        planned = max(robust_score.VETO_FITS, self.plan.planned * self.plan.folds)
        dropped = {name: why for name, why in self._dropped.items() if why == NOT_JUDGED}
        for name in self.plan.finalists:
            if sum(fit.verdict is Verdict.COLLAPSED for fit in self._fits[name]) > robust_score.VETO_RATE * planned:
                dropped.setdefault(name, COLLAPSES)
        sound = [name for name in self.plan.finalists if name not in dropped and self._repeats[name]]
        most = max((self._repeats[name] for name in sound), default=0)
        if most:
            ahead = [name for name in sound if self._repeats[name] == most]
            best = ahead[robust_score.leader(self._scores(ahead, most), self.plan.folds)]
            for name in sound:
                if self._repeats[name] == self.plan.planned:
                    continue  # there is nothing left to save
                both = self._scores([best, name], self._repeats[name])
                if robust_score.clearly_behind(both, self.plan.folds, best=0)[1]:
                    dropped[name] = DROPPED_BEHIND
            _log.info("after %d fresh splits %s leads; out: %s", most, best, dropped)
        self._dropped = dropped

    def _scores(self, names: Sequence[str], repeats: int) -> FloatArray:
        """Scores `(m, J)` of m finalists' fits of the first `repeats` repeats."""
        fits = repeats * self.plan.folds
        return np.array([[fit_score(fit, self._setup.chance) for fit in self._fits[n][:fits]] for n in names])

    def _cut_short(self) -> Confirmation:
        """Count the repeats that all finalists have, when the time is over; of the first repeat, what there is.

        A finalist that came back late and has not caught up is left out, rather than the others' repeats.
        """
        remaining = self._in()
        never_out = [name for name in remaining if name not in self.plan.dropped]
        whole = max(1, min((self._repeats[name] for name in never_out or remaining), default=0))
        for name in remaining:
            if self._repeats[name] < whole:
                self._dropped[name] = NO_TIME
        if any(self._repeats.values()):
            self._record(whole)
        _log.warning("The time for the finalists was over after %d of %d repeats.", whole, self.plan.planned)
        return self.plan

    def _record(self, repeats: int) -> None:
        """Record what counts so far, unless another host has recorded more repeats."""
        self.plan = replace(self.plan, repeats=repeats, dropped=dict(self._dropped))
        recorded = self._ledger.fact("confirmation")
        same = recorded is not None and tuple(recorded["finalists"]) == self.plan.finalists
        if not (same and recorded["repeats"] > repeats):
            self._ledger.set_fact("confirmation", asdict(self.plan))

    def _announce(self) -> None:
        count, fits = len(self.plan.finalists), self.plan.planned * self.plan.folds
        noun = "finalist" if count == 1 else "finalists"
        self._listener.stage(f"Confirming {count} {noun}: up to {fits} fits each, on fresh splits with fresh seeds")

    def _add(self, name: str, fit: Fit) -> None:
        whole = self.plan.planned * self.plan.folds
        with self._lock:
            self._fits[name].append(fit)
            expected = sum(len(self._fits[n]) if n in self._dropped else whole for n in self.plan.finalists)
            self._listener.progress("fits", sum(map(len, self._fits.values())), expected)


def _tries_corrupted(configuration: Configuration, repeat: int, planned: int) -> bool:
    """Whether the fits of a repeat are also scored on corrupted images: those of the first repeat, as a rule.

    For a head on a backbone that costs a hundred times what the fit does, since all copies have to go through the
    backbone: it comes last, when everything else is known, and never in the only repeat.
    """
    return 0 < repeat == planned - 1 if configuration.embeds else repeat == 0
