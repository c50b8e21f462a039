"""Ablation from the user's configuration to the recommended one, each change measured by fits on the first folds."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Final

import numpy as np

from search import seeds
from search.events import Listener
from search.fits.runner import StudySetup
from search.records import ABLATION, Ablation, Fit, Trial, Verdict, Waypoint
from search.schedule.budget import typical_fit_seconds
from search.selection.ablation import FOLDS, SPARE, AblationPath
from search.selection.differences import difference
from search.selection.scores import JUDGED, fit_score
from search.selection.surrogate_model import MIN_TRIALS, Surrogate, observed_scores
from search.stages.first_folds import FirstFolds
from search.storage.ledger import Ledger
from search.workers.errors import Stopped
from search.workers.interfaces import FitWorker
from spaces.config import Configuration

LEAST_FOLDS: Final = 2  # when time is short: with one, a gain could not be told from noise

SAME: Final = "Your configuration is the recommended one: there is nothing to change."
_WITHOUT_LIMIT: Final = "run_search.py explain does it without a time limit."
NO_TIME: Final = f"No time was left to train the configurations between yours and the recommended one; {_WITHOUT_LIMIT}"
CUT_SHORT: Final = f"Time was too short to try every change by itself: the last step makes the rest; {_WITHOUT_LIMIT}"
UNTRAINABLE: Final = (
    "Too many configurations between yours and the recommended one could not be trained: the last step makes all "
    "changes that were left."
)

_log = logging.getLogger(__name__)


def ablate(
    start: Configuration,
    goal: Trial,
    trials: Sequence[Trial],
    setup: StudySetup,
    ledger: Ledger,
    worker: FitWorker,
    listener: Listener,
    left: float | None = None,
) -> Ablation:
    """Measure the changes from `start` to the configuration of `goal`, one at a time, as far as time allows.

    Args:
        start: the user's configuration.
        goal: the recommended trial, judged on all folds.
        trials: of the study, from which the order of the changes is learned.
        setup: what all fits of the study share.
        ledger: where fits are recorded.
        worker: trains; where it stops because the time is over, the changes that are left become one step.
        listener: told the cost and the progress.
        left: seconds that it may take, None without a limit.
    """
    changes = difference(start, goal.configuration).names
    scores = observed_scores(trials, setup.chance)
    surrogate = None
    if len(scores) >= MIN_TRIALS:
        surrogate = Surrogate(scores, seeds.child(setup.seed, "ablation"))
    folds = affordable_folds(len(changes), typical_fit_seconds(goal), left, len(setup.folds))
    first_folds = FirstFolds(setup, ledger, stage=ABLATION, trial=goal.number, folds=folds, trials=trials)
    fitter = _WaypointFitter(worker, first_folds, setup.chance)
    if changes:
        fitter.announce(listener, most=len(changes) + SPARE, changes=len(changes), seconds=typical_fit_seconds(goal))
    here, there = fitter.measure(start), fitter.measure(goal.configuration)
    path, note = None, SAME
    if here is None or there is None:
        note = NO_TIME
    elif not here.scores:
        note = f"Your configuration could not be trained here ({here.reasons[0]})."
    elif changes:
        path = AblationPath(start, goal.configuration, (here, there), fitter.measure, surrogate)
        note = "" if path.run() else CUT_SHORT if fitter.stopped else UNTRAINABLE
    return Ablation(
        start=here or Waypoint(configuration=start.hash, scores=()),
        steps=tuple(path.steps) if path else (),
        goal=goal.configuration.hash,
        folds=folds,
        trials=len(scores) if surrogate else 0,
        trained=len(fitter.trained),
        seconds=sum(fitter.trained.values()),
        cut_short=fitter.stopped,
        note=note,
    )


def affordable_folds(changes: int, seconds: float, left: float | None, folds: int) -> int:
    """The number of first folds on which each configuration of an ablation is fitted.

    Args:
        changes: from the user's configuration to the recommended one.
        seconds: that a fit takes.
        left: seconds for all of it, None without a limit.
        folds: of the study.
    """
    enough = left is None or changes * FOLDS * seconds <= left
    return min(folds, FOLDS if enough else LEAST_FOLDS)


class _WaypointFitter:
    """Measures configurations by fits on the first folds."""

    def __init__(self, worker: FitWorker, first_folds: FirstFolds, chance: float) -> None:
        self._worker, self._first_folds, self._chance = worker, first_folds, chance
        self._listener: Listener | None = None
        self._most = 0
        self.trained: dict[str, float] = {}  # seconds by key, of the fits that the search had not done
        self._measured: set[str] = set()
        self.stopped = False

    def announce(self, listener: Listener, *, most: int, changes: int, seconds: float) -> None:
        """Tell the listener the cost, and later the progress."""
        self._listener, self._most = listener, most
        noun, folds = "change" if changes == 1 else "changes", len(self._first_folds.folds)
        fits = f"at most {most} x {folds} fits, about {most * folds * seconds:.0f} s"
        text = f"Following {changes} {noun} from your configuration: {fits}"
        _log.info("%s", text)
        listener.stage(text)

    def measure(self, configuration: Configuration) -> Waypoint | None:
        """Scores of the first folds; None when the time is over, no scores where a fold could not be judged."""
        scores, reasons = [], []
        for fold in self._first_folds.folds:
            try:
                fits = self._first_folds.fits(self._worker, configuration, fold, self._count)
            except Stopped:
                self.stopped = True
                return None
            last = fits[-1]
            if last.verdict not in JUDGED:
                reason = last.reason or str(last.verdict)
                return Waypoint(configuration=configuration.hash, scores=(), reasons=(reason,))
            scores.append(float(np.mean([fit_score(fit, self._chance) for fit in fits])))
            if last.verdict is Verdict.COLLAPSED:
                reasons.append(last.reason or "unknown")
        self._measured.add(configuration.hash)
        if self._listener is not None:
            self._listener.progress("configurations", len(self._measured), self._most + 1)
        _log.info("ablation: %s, fold scores %s, collapses %s", configuration.canonical(), scores, reasons)
        return Waypoint(configuration=configuration.hash, scores=tuple(scores), reasons=tuple(reasons))

    def _count(self, fit: Fit) -> None:
        if fit.stage == ABLATION:
            self.trained[fit.key] = fit.seconds
