"""The progress of a run in its log file."""

from __future__ import annotations

import logging

from reports.live_lines import budget_line, data_line
from reports.wording import moment
from search.events import EarlierProgress, SilentListener
from search.records import DataSummary
from search.settings import Plan
from spaces.config import Configuration

_log = logging.getLogger("search.run")


class EventLog(SilentListener):
    """A listener that logs stages, waiting, the images, the budget and the start of each trial.

    The ends of fits and trials are logged where they are decided.
    """

    def trial_started(self, number: int, configuration: Configuration, folds: int) -> None:
        """Log the start of a trial, which shows after a crash what was running."""
        _log.info("trial %d starts", number)

    def stage(self, text: str) -> None:
        """Log the stage."""
        _log.info("%s", text)

    def waiting(self, until: float) -> None:
        """Log when the run continues."""
        _log.info("waiting until %s", moment(until))

    def data(self, summary: DataSummary) -> None:
        """Log the images with their fingerprint."""
        _log.info("%s, fingerprint %s", data_line(summary), summary.fingerprint)

    def planned(self, plan: Plan, trials: int | None, seconds: float | None, before: EarlierProgress) -> None:
        """Log the budget and the notes of the plan."""
        _log.info("%s", " ".join([budget_line(plan, trials, seconds, before.trials) + ".", *plan.notes]))
