"""Events of a run, in the order in which they happen: the live display listens to them, and so can a test."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from search.fit_checks import Check
from search.records import DataSummary, Fit, Trial
from search.settings import Plan
from spaces.config import Configuration


@dataclass(frozen=True, slots=True)
class EarlierProgress:
    """Results that exist before this session begins: of earlier sessions, or of other hosts."""

    trials: int = 0
    best: float | None = None  # pooled score
    best_trial: Trial | None = None


class Listener(Protocol):
    """Receiver of a run's events. Methods are called from several threads; they must return at once and never raise."""

    def stage(self, text: str) -> None:
        """Report that a new part of the run begins, such as "Scanning ./images" or "Training the recommendation"."""

    def progress(self, what: str, done: int, total: int) -> None:
        """Report progress within a part of known length, such as hashing or decoding.

        Args:
            what: name of the part.
            done: finished pieces, 0..`total`.
            total: pieces in all.
        """

    def waiting(self, until: float) -> None:
        """Report that nothing is done before the moment `until` (seconds since 1970), when working hours begin."""

    def data(self, summary: DataSummary) -> None:
        """Report that the images are read."""

    def planned(self, plan: Plan, trials: int | None, seconds: float | None, before: EarlierProgress) -> None:
        """Report the budget.

        Args:
            plan: epochs, folds and shares of the time.
            trials: largest number of trials in all; None without a limit.
            seconds: left of the budget; None without a limit.
            before: results of earlier sessions and other hosts.
        """

    def trial_started(self, number: int, configuration: Configuration, folds: int) -> None:
        """Report that a trial begins, or goes on after an interruption.

        Args:
            number: place of the trial in the study, from 0.
            configuration: of the trial.
            folds: fits that the trial is made of.
        """

    def check(self, number: int, fold: int, check: Check, epochs: int) -> None:
        """Report that a fit has reached the epoch of a check.

        Args:
            number: of the trial, from 0.
            fold: of the fit, from 0.
            check: measured after `check.epoch` epochs.
            epochs: planned for the fit.
        """

    def fit_finished(self, fit: Fit) -> None:
        """Report that a fit is recorded."""

    def trial_finished(self, trial: Trial, pooled: float | None, best: float | None) -> None:
        """Report that a trial is recorded.

        In a study that hosts share, trials of other hosts are reported too, without a `trial_started` before them.

        Args:
            trial: with its fits.
            pooled: its pooled score; None unless all folds were judged.
            best: the study's best pooled score so far; None while there is none.
        """


class SilentListener:
    """Listener that ignores every event."""

    def stage(self, text: str) -> None: ...  # noqa: D102

    def progress(self, what: str, done: int, total: int) -> None: ...  # noqa: D102

    def waiting(self, until: float) -> None: ...  # noqa: D102

    def data(self, summary: DataSummary) -> None: ...  # noqa: D102

    def planned(self, plan: Plan, trials: int | None, seconds: float | None, before: EarlierProgress) -> None: ...  # noqa: D102

    def trial_started(self, number: int, configuration: Configuration, folds: int) -> None: ...  # noqa: D102

    def check(self, number: int, fold: int, check: Check, epochs: int) -> None: ...  # noqa: D102

    def fit_finished(self, fit: Fit) -> None: ...  # noqa: D102

    def trial_finished(self, trial: Trial, pooled: float | None, best: float | None) -> None: ...  # noqa: D102


class Listeners:
    """Listener that passes every event on to several listeners, in the order given."""

    def __init__(self, *listeners: Listener) -> None:
        self._listeners = listeners

    def stage(self, text: str) -> None:  # noqa: D102
        for listener in self._listeners:
            listener.stage(text)

    def progress(self, what: str, done: int, total: int) -> None:  # noqa: D102
        for listener in self._listeners:
            listener.progress(what, done, total)

    def waiting(self, until: float) -> None:  # noqa: D102
        for listener in self._listeners:
            listener.waiting(until)

    def data(self, summary: DataSummary) -> None:  # noqa: D102
        for listener in self._listeners:
            listener.data(summary)

    def planned(self, plan: Plan, trials: int | None, seconds: float | None, before: EarlierProgress) -> None:  # noqa: D102
        for listener in self._listeners:
            listener.planned(plan, trials, seconds, before)

    def trial_started(self, number: int, configuration: Configuration, folds: int) -> None:  # noqa: D102
        for listener in self._listeners:
            listener.trial_started(number, configuration, folds)

    def check(self, number: int, fold: int, check: Check, epochs: int) -> None:  # noqa: D102
        for listener in self._listeners:
            listener.check(number, fold, check, epochs)

    def fit_finished(self, fit: Fit) -> None:  # noqa: D102
        for listener in self._listeners:
            listener.fit_finished(fit)

    def trial_finished(self, trial: Trial, pooled: float | None, best: float | None) -> None:  # noqa: D102
        for listener in self._listeners:
            listener.trial_finished(trial, pooled, best)
