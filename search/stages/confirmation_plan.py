"""Plan of the confirmation: who is fitted again on fresh splits, and how often, by what that costs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from search.arrays import IntArray
from search.data.fresh_splits import fresh_count
from search.fits.executor import best_split, longest_queue
from search.records import CONFIRM, Confirmation, Verdict
from search.selection.results import Ranked
from search.selection.scores import JUDGED
from search.selection.shortlist import REPEATS, ConfirmationSize, confirmation_size, shortlist
from search.storage.ledger import Ledger

SHARE_OF_FITS: Final = 0.43
"""Fits of the finalists without a time limit, as a share of the search's: 30 % of all fits together."""

_CORRUPTED: Final = 1.15  # cost of a fit that is also scored on corrupted images, but for heads on backbones


@dataclass(frozen=True, slots=True)
class ConfirmationCost:
    """The cost of the finalists' fits that are not recorded yet.

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
        """Seconds, or number of fits, that these repeats of these finalists take with all workers."""
        each = [sum(self._repeat(finalist, repeat) for repeat in repeats) for finalist in finalists]
        if self.in_fits or not each:
            return sum(each)
        tasks = best_split(self.workers, len(each), self.folds)
        queue = longest_queue(self.workers, len(each), self.folds, tasks) / self.folds * sum(each) / len(each)
        return max(queue, sum(each) / self.workers, max(each) * -(-self.folds // tasks) / self.folds)

    def _repeat(self, finalist: Ranked, repeat: int) -> float:
        name = finalist.trial.configuration.hash
        missing = sum((name, repeat, fold) not in self.done for fold in range(self.folds))
        if self.in_fits or not missing:
            return float(missing)
        seconds = [fit.seconds for fit in finalist.trial.fits if fit.verdict is Verdict.LEARNED]
        typical = float(np.median(seconds)) if seconds else 0.0
        trace = max(0.0, seconds[0] - typical) if seconds and repeat == 0 else 0.0  # the first fit also builds
        embeds = finalist.trial.configuration.embeds
        return missing * typical * (_CORRUPTED if repeat == 0 and not embeds else 1.0) + trace


def confirmed_fits(ledger: Ledger) -> frozenset[tuple[str, int, int]]:
    """Read (configuration, repeat, fold) of the finalists' fits that were judged so far."""
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
    """Choose the finalists and the number of their fits; None where the search found nothing healthy.

    Args:
        ranking: of the search, best first.
        labels: `(n,)` of all images.
        groups: `(n,)` group of each image, or None.
        folds: of the search.
        seconds: that the confirmation may take, None without a limit.
        searched: fits of the search, which bound those of the finalists where there is no time limit.
        done: confirmed fits that stand in the ledger.
        workers: that fit at the same time.
    """
    best = shortlist(ranking)
    if not best:
        return None
    k = fresh_count(labels, groups, folds)
    cost = ConfirmationCost(ranking, k, done, workers, in_fits=seconds is None)
    budget = SHARE_OF_FITS * searched - len(done) if seconds is None else seconds  # of all fits: some are done
    size = confirmation_size(len(best), lambda count, repeats: cost.of(best[:count], range(repeats)), budget)
    notes = []
    if size != ConfirmationSize(len(best), REPEATS):
        reason = "time is short" if seconds is not None else "the search had few trials"
        splits = "one fresh split" if size.repeats == 1 else f"at most {size.repeats} fresh splits"
        notes.append(
            f"As {reason}, {size.finalists} of {len(best)} finalists are fitted again, on {splits} each instead of "
            f"{REPEATS}."
        )
    if k < folds:
        notes.append(
            f"There are few groups: the fresh splits have {k} folds instead of {folds}, so that they can differ."
        )
    return Confirmation(
        finalists=tuple(one.trial.configuration.hash for one in best[: size.finalists]),
        folds=k,
        repeats=0,
        planned=size.repeats,
        notes=tuple(notes),
    )
