"""Events of a run, and listeners that receive them, such as the live display."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from search.fit_checks import Check
from search.records import DataSummary, Fit, Trial
from search.settings import Plan
from spaces.config import Configuration


@dataclass(frozen=True, slots=True)
class EarlierProgress:
    """Results of earlier sessions and of other hosts, at the beginning of a session."""

    trials: int = 0  # number of finished trials
    best: float | None = None  # highest pooled score; None if there is none
    best_trial: Trial | None = None  # the trial with that score


class Listener(Protocol):
    """Receiver of a run's events. Methods are called from several threads; they must return at once and never raise."""

    def stage(self, text: str) -> None:
        """Called when a stage of the run begins; `text` is its title, such as "Scanning ./images"."""

    def progress(self, what: str, done: int, total: int) -> None:
        """Called as work of known length advances, such as hashing or decoding.

        Args:
            what: name of the work.
            done: number of finished pieces, 0..`total`.
            total: number of all pieces.
        """

    def waiting(self, until: float) -> None:
        """Called when the run pauses until the next working hours begin.

        Args:
            until: time at which they begin, in seconds since 1970.
        """

    def data(self, summary: DataSummary) -> None:
        """Called when the images have been read; `summary` describes them."""

    def planned(self, plan: Plan, trials: int | None, seconds: float | None, before: EarlierProgress) -> None:
        """Called when the study has a plan, with what is left of its budget.

        Args:
            plan: epochs, folds and shares of the time.
            trials: largest number of trials of the study, earlier ones included; None for no limit.
            seconds: seconds left of the time budget; None for no limit.
            before: results of earlier sessions and other hosts.
        """

    def trial_started(self, number: int, configuration: Configuration, folds: int) -> None:
        """Called when a trial begins, or goes on after an interruption.

        Args:
            number: number of the trial, from 0.
            configuration: configuration of the trial.
            folds: number of folds on which it is fitted.
        """

    def check(self, number: int, fold: int, check: Check, epochs: int) -> None:
        """Called when a fit has reached the epoch of a check.

        Args:
            number: number of the trial, from 0.
            fold: number of the fold, from 0.
            check: measurements after `check.epoch` epochs.
            epochs: planned epochs of the fit.
        """

    def fit_finished(self, fit: Fit) -> None:
        """Called when a fit has ended, however it ended, and `fit` is stored."""

    def trial_finished(self, trial: Trial, pooled: float | None, best: float | None) -> None:
        """Called when a trial has ended and is stored.

        If several hosts share the study, it is also called for trials of other hosts, without a `trial_started`.

        Args:
            trial: the trial with its fits.
            pooled: pooled score of the trial; None unless all folds were judged.
            best: highest pooled score of the study so far; None while there is none.
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
