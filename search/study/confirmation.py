"""The finalists: the search's best fitted again, on fresh splits and seeds; who is clearly behind stops early."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from typing import Final

import numpy as np

from search.collapse.protection import Protection
from search.data.folds import Fold
from search.data.fresh_splits import fresh_count, fresh_folds
from search.events import Listener
from search.records import CONFIRM, Confirmation, Fit, IntArray, Verdict
from search.selection import robust
from search.selection.results import Ranked
from search.selection.scores import JUDGED, fit_score
from search.selection.shortlist import REPEATS, Size, affordable, shortlist
from search.study.fitting import Fitter, Spec, Terms
from search.study.ledger import Ledger
from search.study.pool import Pool, Stopped

SHARE_OF_FITS: Final = 0.43
"""Without a time limit: fits of the finalists, of those that the search has done; 30 % of all."""

BEHIND: Final = "clearly behind"
COLLAPSES: Final = "collapsed too often"
NOT_JUDGED: Final = "could not be fitted"
NO_TIME: Final = "no time"

_log = logging.getLogger(__name__)


def plan_confirmation(
    ranking: Sequence[Ranked],
    labels: IntArray,
    groups: IntArray | None,
    folds: int,
    *,
    seconds: float | None,
    searched: int,
) -> Confirmation | None:
    """Who is to be fitted again, and how often; None where the search found nothing healthy.

    Args:
        ranking: of the search, best first.
        labels: `(n,)` of all images.
        groups: `(n,)` group of each image, or None.
        folds: of the search.
        seconds: that it may take, None without a limit.
        searched: fits of the search, which bound those of the finalists where there is no limit of time.
    """
    best = shortlist(ranking)
    if not best:
        return None
    k = fresh_count(labels, groups, folds)
    if seconds is None:
        size = affordable([float(k)] * len(best), SHARE_OF_FITS * searched)
    else:
        size = affordable([_repeat_seconds(one, k) for one in best], seconds)
    notes = []
    if size != Size(len(best), REPEATS):
        what = "Time is short" if seconds is not None else "The trials asked for are few"
        splits = "one fresh split" if size.repeats == 1 else f"{size.repeats} fresh splits"
        notes.append(f"{what}: {size.finalists} of {len(best)} finalists, fitted on {splits} (at best {REPEATS}) each.")
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
    terms: Terms,
    ledger: Ledger,
    pool: Pool,
    listener: Listener,
    left: Callable[[], float | None],
) -> Confirmation:
    """Fit the finalists, repeat after repeat, until all is done or the time is over; kept in the ledger all the while.

    Args:
        plan: from `plan_confirmation`, or one that was cut off.
        ranking: of the search: holds every finalist.
        groups: `(n,)` group of each image, or None.
        terms: what all fits share.
        ledger: where fits are kept, and what became of the plan.
        pool: who trains.
        listener: told how far it is.
        left: seconds that are left for it, None without a limit.
    """
    return _Race(plan, ranking, groups, terms, ledger, pool, listener).run(left)


class _Race:
    """The finalists that are still in, and their fits."""

    def __init__(
        self,
        plan: Confirmation,
        ranking: Sequence[Ranked],
        groups: IntArray | None,
        terms: Terms,
        ledger: Ledger,
        pool: Pool,
        listener: Listener,
    ) -> None:
        by_hash = {one.trial.configuration.hash: one for one in ranking}
        self.plan = plan
        self._finalists = {name: by_hash[name] for name in plan.finalists}
        self._groups, self._terms, self._ledger, self._pool, self._listener = groups, terms, ledger, pool, listener
        self._fitter = Fitter(terms, ledger)
        self._protection = Protection.of(fit for one in ranking for fit in one.trial.fits)
        self._fits: dict[str, list[Fit]] = {name: [] for name in plan.finalists}
        self._dropped: dict[str, str] = {}
        self._done = 0

    def run(self, left: Callable[[], float | None]) -> Confirmation:
        self._announce()
        for repeat in range(self.plan.planned):
            needed = sum(_repeat_seconds(self._finalists[name], self.plan.folds) for name in self._in())
            seconds = left()
            if repeat and seconds is not None and needed > seconds * len(self._pool):
                return self._cut_short(repeat)
            splits = fresh_folds(
                self._terms.labels, self._groups, folds=self.plan.folds, seed=self._terms.seed, repeat=repeat
            )
            try:
                with ThreadPoolExecutor(len(self._pool)) as threads:
                    list(threads.map(lambda name: self._repeat(name, repeat, splits), self._in()))  # noqa: B023
            except Stopped:
                return self._cut_short(repeat)
            if repeat + 1 < self.plan.planned:
                self._drop()
            self._keep(repeat + 1)
        return self.plan

    def _in(self) -> list[str]:
        return [name for name in self.plan.finalists if name not in self._dropped]

    def _repeat(self, name: str, repeat: int, splits: Sequence[Fold]) -> None:
        """One finalist on all folds of one fresh split: they come in a row, so that its network is traced once."""
        one = self._finalists[name]
        shortest = min(len(split.train) for split in splits)
        with self._pool.worker() as worker:
            for fold, split in enumerate(splits):
                spec = Spec(
                    trial=one.trial.number,
                    stage=CONFIRM,
                    configuration=one.trial.configuration,
                    train=split.train,
                    val=split.val,
                    repeat=repeat,
                    fold=fold,
                    shortest=shortest,
                    corrupt=repeat == 0,
                )
                fit = self._fitter.fit(worker, spec, self._protection)
                if fit.verdict not in JUDGED:
                    self._dropped[name] = NOT_JUDGED
                    return
                self._fits[name].append(fit)
                self._progress()

    def _drop(self) -> None:
        """Leave out who has no hope left."""
        still = self._in()
        allowed = robust.VETO_RATE * max(robust.VETO_FITS, self.plan.planned * self.plan.folds)
        for name in still:
            if sum(fit.verdict is Verdict.COLLAPSED for fit in self._fits[name]) > allowed:
                self._dropped[name] = COLLAPSES
        still = self._in()
        if len(still) < 2:
            return
        scores = np.array([[fit_score(fit, self._terms.chance) for fit in self._fits[name]] for name in still])
        for name in np.array(still)[robust.clearly_behind(scores, self.plan.folds)]:
            self._dropped[str(name)] = BEHIND
        _log.info("after %d fresh fits: %s", scores.shape[1], dict(zip(still, scores.mean(axis=1), strict=True)))

    def _cut_short(self, repeat: int) -> Confirmation:
        """The time is over in the middle of a repeat: what all have done counts, of the first one what there is."""
        if repeat == 0:
            for name in self._in():
                if len(self._fits[name]) < self.plan.folds:
                    self._dropped[name] = NO_TIME
        whole = max(1, repeat)
        self._keep(whole if any(name not in self._dropped for name in self.plan.finalists) else 0)
        _log.warning("The time for the finalists was over after %d of %d repeats.", repeat, self.plan.planned)
        return self.plan

    def _keep(self, repeats: int) -> None:
        self.plan = replace(self.plan, repeats=repeats, dropped=dict(self._dropped))
        self._ledger.set_fact("confirmation", asdict(self.plan))

    def _announce(self) -> None:
        self._ledger.set_fact("confirmation", asdict(self.plan))
        count, fits = len(self.plan.finalists), self.plan.planned * self.plan.folds
        noun = "finalist" if count == 1 else "finalists"
        self._listener.stage(f"Confirming {count} {noun}: up to {fits} fits each, on fresh splits with fresh seeds")

    def _progress(self) -> None:
        self._done += 1
        self._listener.progress("fits", self._done, self._expected())

    def _expected(self) -> int:
        """Fits in all, if nobody else is left out."""
        whole = self.plan.planned * self.plan.folds
        return sum(len(self._fits[name]) if name in self._dropped else whole for name in self.plan.finalists)


def _repeat_seconds(one: Ranked, folds: int) -> float:
    """What one fresh split takes: the first fit of a network is also traced."""
    seconds = [fit.seconds for fit in one.trial.fits if fit.verdict is Verdict.LEARNED]
    return folds * float(np.median(seconds)) + max(0.0, seconds[0] - float(np.median(seconds))) if seconds else 0.0
