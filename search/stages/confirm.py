"""The finalists: the search's best fitted again, on fresh splits and seeds; who is clearly behind stops early."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Final

import numpy as np

from search.arrays import FloatArray, IntArray
from search.collapse.protection import Protection
from search.data.folds import Fold
from search.data.fresh_splits import fresh_count, fresh_folds
from search.events import Listener
from search.fits.executor import Executor, best_split, longest_queue
from search.fits.runner import FitRunner, StudySetup
from search.records import COLLAPSES, CONFIRM, DROPPED_BEHIND, NO_TIME, NOT_JUDGED, Confirmation, Fit, Verdict
from search.selection import robust_score
from search.selection.results import Ranked
from search.selection.scores import JUDGED, fit_score
from search.selection.shortlist import REPEATS, ConfirmationSize, affordable, shortlist
from search.storage.ledger import Ledger
from search.training.job import FitSpec
from search.workers.errors import Stopped
from search.workers.interfaces import Worker
from spaces.config import Configuration

SHARE_OF_FITS: Final = 0.43
"""Without a time limit: fits of the finalists, of those that the search has done; 30 % of all."""

_CORRUPTED: Final = 1.15  # times as long take fits that are also tried on corrupted images, but for those of heads

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ConfirmationCost:
    """What is still to be paid for finalists: what stands in the ledger is free.

    Attributes:
        ranking: of the search, best first.
        folds: k of the fresh splits.
        done: (configuration, repeat, fold) of the confirmed fits that stand in the ledger.
        workers: that fit at the same time.
        in_fits: count fits instead of seconds.
    """

    ranking: Sequence[Ranked]
    folds: int
    done: frozenset[tuple[str, int, int]]
    workers: int = 1
    in_fits: bool = False

    def of(self, finalists: Iterable[Ranked], repeats: Iterable[int]) -> float:
        """Seconds, or fits, of these repeats of these finalists, each fitted by as many workers as there are for it."""
        each = [sum(self._repeat(one, repeat) for repeat in repeats) for one in finalists]
        if self.in_fits or not each:
            return sum(each)
        parts = best_split(self.workers, len(each), self.folds)
        row = longest_queue(self.workers, len(each), self.folds, parts) / self.folds * sum(each) / len(each)
        return max(row, sum(each) / self.workers, max(each) * -(-self.folds // parts) / self.folds)

    def _repeat(self, one: Ranked, repeat: int) -> float:
        name = one.trial.configuration.hash
        missing = sum((name, repeat, fold) not in self.done for fold in range(self.folds))
        if self.in_fits or not missing:
            return float(missing)
        seconds = [fit.seconds for fit in one.trial.fits if fit.verdict is Verdict.LEARNED]
        typical = float(np.median(seconds)) if seconds else 0.0
        trace = max(0.0, seconds[0] - typical) if seconds and repeat == 0 else 0.0  # the first fit also builds
        embeds = one.trial.configuration.embeds
        return missing * typical * (_CORRUPTED if repeat == 0 and not embeds else 1.0) + trace


def confirmed_fits(ledger: Ledger) -> frozenset[tuple[str, int, int]]:
    """(configuration, repeat, fold) of what was confirmed so far."""
    return frozenset(
        (fit.configuration, fit.repeat, fit.fold) for fit in ledger.fits(stages=(CONFIRM,)) if fit.verdict in JUDGED
    )


def plan_confirmation(
    ranking: Sequence[Ranked],
    labels: IntArray,
    groups: IntArray | None,
    folds: int,
    *,
    seconds: float | None,
    searched: int,
    done: frozenset[tuple[str, int, int]] = frozenset(),
    workers: int = 1,
) -> Confirmation | None:
    """Who is to be fitted again, and how often; None where the search found nothing healthy.

    Args:
        ranking: of the search, best first.
        labels: `(n,)` of all images.
        groups: `(n,)` group of each image, or None.
        folds: of the search.
        seconds: that it may take, None without a limit.
        searched: fits of the search, which bound those of the finalists where there is no limit of time.
        done: confirmed fits that stand in the ledger.
        workers: that fit at the same time.
    """
    best = shortlist(ranking)
    if not best:
        return None
    k = fresh_count(labels, groups, folds)
    prices = ConfirmationCost(ranking, k, done, workers, in_fits=seconds is None)
    budget = SHARE_OF_FITS * searched - len(done) if seconds is None else seconds  # of all fits: some are done
    size = affordable(len(best), lambda count, repeats: prices.of(best[:count], range(repeats)), budget)
    notes = []
    if size != ConfirmationSize(len(best), REPEATS):
        what = "Time is short" if seconds is not None else "The trials asked for are few"
        splits = "one fresh split" if size.repeats == 1 else f"at most {size.repeats} fresh splits"
        notes.append(f"{what}: {size.finalists} of {len(best)} finalists, {splits} each instead of {REPEATS}.")
    if k < folds:
        notes.append(f"Groups are few: the fresh splits have {k} folds instead of {folds}, so that they can differ.")
    return Confirmation(
        finalists=tuple(one.trial.configuration.hash for one in best[: size.finalists]),
        folds=k,
        repeats=0,
        planned=size.repeats,
        notes=tuple(notes),
    )


def confirm(
    plan: Confirmation,
    ranking: Sequence[Ranked],
    groups: IntArray | None,
    terms: StudySetup,
    ledger: Ledger,
    executor: Executor,
    listener: Listener,
    left: Callable[[], float | None],
) -> Confirmation:
    """Fit the finalists, repeat after repeat, until all is done or the time is over.

    Whole repeats count: when the time is over in the middle of one, those before it do, and of the first one those
    finalists that have all its folds. What counts is kept in the ledger after each repeat.

    Args:
        plan: from `plan_confirmation`, or one that was cut off.
        ranking: of the search: holds every finalist.
        groups: `(n,)` group of each image, or None.
        terms: what all fits share.
        ledger: where fits are kept, and what became of the plan.
        executor: who trains.
        listener: told how far it is.
        left: seconds that are left for it, None without a limit.
    """
    return _Race(plan, ranking, groups, terms, ledger, executor, listener).run(left)


class _Race:
    """The finalists and their fits. Who is in is judged anew after each repeat, from all fits."""

    def __init__(
        self,
        plan: Confirmation,
        ranking: Sequence[Ranked],
        groups: IntArray | None,
        terms: StudySetup,
        ledger: Ledger,
        executor: Executor,
        listener: Listener,
    ) -> None:
        by_hash = {one.trial.configuration.hash: one for one in ranking}
        self.plan = plan
        self._finalists = {name: by_hash[name] for name in plan.finalists}
        self._groups, self._terms, self._ledger, self._executor, self._listener = (
            groups,
            terms,
            ledger,
            executor,
            listener,
        )
        self._fitter = FitRunner(terms, ledger)
        self._protection = Protection.of(fit for one in ranking for fit in one.trial.fits)
        self._prices = ConfirmationCost(ranking, plan.folds, confirmed_fits(ledger), executor.workers)
        self._fits: dict[str, list[Fit]] = {name: [] for name in plan.finalists}
        self._repeats = dict.fromkeys(plan.finalists, 0)  # whole ones
        self._dropped: dict[str, str] = {}
        self._lock = threading.Lock()

    def run(self, left: Callable[[], float | None]) -> Confirmation:
        self._announce()
        while names := self._next():
            repeat = self._repeats[names[0]]
            needed = self._prices.of([self._finalists[name] for name in names], [repeat])
            seconds = left()
            if repeat and needed and seconds is not None and needed > seconds:
                return self._cut_short()
            splits = fresh_folds(
                self._terms.labels, self._groups, folds=self.plan.folds, seed=self._terms.seed, repeat=repeat
            )
            try:
                self._repeat(names, repeat, splits)
            except Stopped:
                return self._cut_short()
            self._judge()
            if all(self._repeats[name] > repeat for name in self._in()):
                self._keep(repeat + 1)
        self._keep(self.plan.planned if self._in() else max(self._repeats.values()))
        return self.plan

    def _in(self) -> list[str]:
        return [name for name in self.plan.finalists if name not in self._dropped]

    def _next(self) -> list[str]:
        """Those that are in and have the fewest repeats: one that came back makes up for what it has missed."""
        open_ones = [name for name in self._in() if self._repeats[name] < self.plan.planned]
        fewest = min((self._repeats[name] for name in open_ones), default=0)
        return [name for name in open_ones if self._repeats[name] == fewest]

    def _repeat(self, names: Sequence[str], repeat: int, splits: Sequence[Fold]) -> None:
        """These finalists on all folds of one fresh split."""
        share = self._executor.split(len(names), len(splits))
        parts = [(name, range(first, len(splits), share)) for name in names for first in range(share)]
        shortest = min(len(split.train) for split in splits)

        def fit(worker: Worker, part: tuple[str, range]) -> None:
            name, folds = part
            for fold in folds:
                if name not in self._dropped:
                    self._fit(worker, name, repeat, fold, splits[fold], shortest)

        try:
            self._executor.run(f"confirm {repeat} of {self.plan.planned}: {' '.join(names)}", parts, fit)
        finally:  # where the time is over some may be whole
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
        """Who collapses too often, and who is clearly behind the best of the others; both may change with more fits."""
        planned = max(robust_score.VETO_FITS, self.plan.planned * self.plan.folds)
        lost = {name: why for name, why in self._dropped.items() if why == NOT_JUDGED}
        for name in self.plan.finalists:
            if sum(fit.verdict is Verdict.COLLAPSED for fit in self._fits[name]) > robust_score.VETO_RATE * planned:
                lost.setdefault(name, COLLAPSES)
        sound = [name for name in self.plan.finalists if name not in lost and self._repeats[name]]
        most = max((self._repeats[name] for name in sound), default=0)
        if most:
            ahead = [name for name in sound if self._repeats[name] == most]
            best = ahead[robust_score.leader(self._scores(ahead, most), self.plan.folds)]
            for name in sound:
                if self._repeats[name] == self.plan.planned:
                    continue  # there is nothing left to save
                both = self._scores([best, name], self._repeats[name])
                if robust_score.clearly_behind(both, self.plan.folds, best=0)[1]:
                    lost[name] = DROPPED_BEHIND
            _log.info("after %d fresh splits %s leads; out: %s", most, best, lost)
        self._dropped = lost

    def _scores(self, names: Sequence[str], repeats: int) -> FloatArray:
        """Of the fits of so many repeats `(m, J)`."""
        fits = repeats * self.plan.folds
        return np.array([[fit_score(fit, self._terms.chance) for fit in self._fits[n][:fits]] for n in names])

    def _cut_short(self) -> Confirmation:
        """The time is over: what all have done counts, of the first repeat what there is.

        One that came back late and has not caught up is left out rather than the others' repeats.
        """
        still = self._in()
        never_out = [name for name in still if name not in self.plan.dropped]
        whole = max(1, min((self._repeats[name] for name in never_out or still), default=0))
        for name in still:
            if self._repeats[name] < whole:
                self._dropped[name] = NO_TIME
        if any(self._repeats.values()):
            self._keep(whole)
        _log.warning("The time for the finalists was over after %d of %d repeats.", whole, self.plan.planned)
        return self.plan

    def _keep(self, repeats: int) -> None:
        """What counts so far; what another host has brought further stays."""
        self.plan = replace(self.plan, repeats=repeats, dropped=dict(self._dropped))
        known = self._ledger.fact("confirmation")
        same = known is not None and tuple(known["finalists"]) == self.plan.finalists
        if not (same and known["repeats"] > repeats):
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
    """Whether the fits of a repeat are also tried on corrupted images: in the first repeat, most often.

    Those of a head cost a hundred times what the fit does, since all copies have to go through the backbone: they come
    last, when everything else is known, and never in the only repeat.
    """
    return 0 < repeat == planned - 1 if configuration.embeds else repeat == 0
