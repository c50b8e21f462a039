"""What a run tells while it goes on. The live display listens; so can a test."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from search.fit_checks import Check
from search.records import DataSummary, Fit, Trial
from search.settings import Plan
from spaces.config import Configuration


@dataclass(frozen=True, slots=True)
class EarlierProgress:
    """What earlier sessions, or other hosts, have brought."""

    trials: int = 0
    best: float | None = None  # pooled score
    best_trial: Trial | None = None


class Listener(Protocol):
    """Told of everything a person would like to see. Called from several threads; must return at once and not raise."""

    def stage(self, text: str) -> None:
        """A new part of the run begins: "Scanning ./images", "Training the recommendation on all images"."""

    def progress(self, what: str, done: int, total: int) -> None:
        """`done` of `total` pieces of a part with known length (hashing, decoding) are finished."""

    def waiting(self, until: float) -> None:
        """Nothing is done before that moment (seconds since 1970), when the next hours of work begin."""

    def data(self, summary: DataSummary) -> None:
        """The images are read."""

    def planned(self, plan: Plan, trials: int | None, seconds: float | None, before: EarlierProgress) -> None:
        """The budget is known: at most `trials` trials in all, `seconds` left."""

    def trial_started(self, number: int, configuration: Configuration, folds: int) -> None:
        """A trial begins (or goes on after an interruption)."""

    def check(self, number: int, fold: int, check: Check, epochs: int) -> None:
        """The fit of trial `number` on fold `fold` (from 0) has reached `check.epoch` of `epochs`."""

    def fit_finished(self, fit: Fit) -> None:
        """A fit is recorded."""

    def trial_finished(self, trial: Trial, pooled: float | None, best: float | None) -> None:
        """A trial is recorded, with its pooled score if all folds were judged; `best` is the study's best so far.

        In a study that hosts share, those of the others are told too, though they were not told to begin.
        """


class SilentListener:
    """The listener that keeps quiet."""

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
    """Passes everything on to several listeners."""

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
