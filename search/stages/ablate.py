"""From the user's configuration to the recommended one: every step of the way by real fits on the first folds.

The fits have the search's own folds, seeds and keys: what a trial has done is not done again, and a later trial finds
what was done here.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Final

import numpy as np

from search import seeds
from search.collapse.protection import Protection
from search.events import Listener
from search.fits.runner import FitRunner, StudySetup
from search.records import ABLATION, SEARCH, Ablation, Fit, Trial, Verdict, Waypoint
from search.schedule.budget import typical_fit_seconds
from search.selection.ablation import FOLDS, SPARE, AblationPath
from search.selection.differences import difference
from search.selection.scores import JUDGED, fit_score
from search.selection.surrogate_model import MIN_TRIALS, Surrogate, observed_scores
from search.storage.ledger import Ledger
from search.training.job import FitSpec
from search.workers.errors import Stopped
from search.workers.interfaces import FitWorker
from spaces.config import Configuration

FOLDS_AT_LEAST: Final = 2  # when time is short: with one there would be no telling gain from noise

SAME: Final = "Your configuration is the recommended one: there is nothing to change."
_GO_ON: Final = "run_search.py explain does it without a limit of time."
NO_TIME: Final = f"No time was left to train what lies between your configuration and the recommended one; {_GO_ON}"
CUT_SHORT: Final = f"There was no time for every change by itself: the last step holds all that were left; {_GO_ON}"
NO_WAY: Final = (
    "Too many configurations on the way could not be trained: the last step holds all changes that were left."
)

_log = logging.getLogger(__name__)


def ablate(
    start: Configuration,
    goal: Trial,
    trials: Sequence[Trial],
    terms: StudySetup,
    ledger: Ledger,
    worker: FitWorker,
    listener: Listener,
    left: float | None = None,
) -> Ablation:
    """Follow the changes from `start` to the configuration of `goal`, one at a time, as far as time allows.

    Args:
        start: the user's configuration.
        goal: the recommended trial, judged on all folds.
        trials: of the study, from which the order of the changes is learned.
        terms: what all fits share.
        ledger: where fits are kept.
        worker: trains; its time over, the rest of the way is one step.
        listener: told the cost and how far it is.
        left: seconds that it may take, None without a limit.
    """
    ahead = difference(start, goal.configuration)
    known = observed_scores(trials, terms.chance)
    surrogate = None
    if len(known) >= MIN_TRIALS:
        surrogate = Surrogate(known, seeds.child(terms.seed, "ablation"))
    folds = affordable_folds(len(ahead.names), typical_fit_seconds(goal), left, len(terms.folds))
    bench = _WaypointFitter(worker, goal.number, folds, terms, ledger, Protection.of(f for t in trials for f in t.fits))
    if ahead.names:
        bench.announce(
            listener, most=len(ahead.names) + SPARE, changes=len(ahead.names), seconds=typical_fit_seconds(goal)
        )
    here, there = bench.measure(start), bench.measure(goal.configuration)
    walk, note = None, SAME
    if here is None or there is None:
        note = NO_TIME
    elif not here.scores:
        note = f"Your configuration could not be trained here ({here.reasons[0]})."
    elif ahead.names:
        walk = AblationPath(start, goal.configuration, (here, there), bench.measure, surrogate)
        note = "" if walk.run() else CUT_SHORT if bench.stopped else NO_WAY
    return Ablation(
        start=here or Waypoint(configuration=start.hash, scores=()),
        steps=tuple(walk.steps) if walk else (),
        goal=goal.configuration.hash,
        folds=folds,
        trials=len(known) if surrogate else 0,
        trained=len(bench.trained),
        seconds=sum(bench.trained.values()),
        cut_short=bench.stopped,
        note=note,
    )


def affordable_folds(changes: int, seconds: float, left: float | None, folds: int) -> int:
    """How many of the study's folds each configuration gets.

    Args:
        changes: on the way.
        seconds: of a fit.
        left: for all of it, None without a limit.
        folds: of the study.
    """
    enough = left is None or changes * FOLDS * seconds <= left
    return min(folds, FOLDS if enough else FOLDS_AT_LEAST)


class _WaypointFitter:
    """Fits configurations on the first folds, as a trial would."""

    def __init__(
        self, worker: FitWorker, trial: int, folds: int, terms: StudySetup, ledger: Ledger, protection: Protection
    ) -> None:
        self._worker, self._trial, self._folds, self._terms = worker, trial, folds, terms
        self._fitter, self._protection = FitRunner(terms, ledger), protection
        self._listener: Listener | None = None
        self._most = 0
        self.trained: dict[str, float] = {}  # key -> seconds, of the fits that the search had not done
        self._seen: set[str] = set()
        self.stopped = False

    def announce(self, listener: Listener, *, most: int, changes: int, seconds: float) -> None:
        """Say what it will cost."""
        self._listener, self._most = listener, most
        noun = "change" if changes == 1 else "changes"
        fits = f"at most {most} x {self._folds} fits, about {most * self._folds * seconds:.0f} s"
        text = f"Following {changes} {noun} from your configuration: {fits}"
        _log.info("%s", text)
        listener.stage(text)

    def measure(self, configuration: Configuration) -> Waypoint | None:
        """What the first folds show; None when the time is over, no scores where a fold could not be judged."""
        scores, reasons = [], []
        for fold in range(self._folds):
            try:
                fits = self._fold(configuration, fold)
            except Stopped:
                self.stopped = True
                return None
            last = fits[-1]
            if last.verdict not in JUDGED:
                reason = last.reason or str(last.verdict)
                return Waypoint(configuration=configuration.hash, scores=(), reasons=(reason,))
            scores.append(float(np.mean([fit_score(fit, self._terms.chance) for fit in fits])))
            if last.verdict is Verdict.COLLAPSED:
                reasons.append(last.reason or "unknown")
        self._seen.add(configuration.hash)
        if self._listener is not None:
            self._listener.progress("configurations", len(self._seen), self._most + 1)
        _log.info("on the way: %s, folds %s %s", configuration.canonical(), scores, reasons)
        return Waypoint(configuration=configuration.hash, scores=tuple(scores), reasons=tuple(reasons))

    def _fold(self, configuration: Configuration, fold: int) -> list[Fit]:
        split = self._terms.folds[fold]
        spec = FitSpec(
            trial=self._trial,
            stage=ABLATION,
            split=SEARCH,
            configuration=configuration,
            train=split.train,
            val=split.val,
            fold=fold,
        )
        return self._fitter.fold(self._worker, spec, self._protection, on_fit=self._count)

    def _count(self, fit: Fit) -> None:
        if fit.stage == ABLATION:
            self.trained[fit.key] = fit.seconds
