"""A run in its log: enough to tell afterwards what happened when."""

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
    """One line a stage and a trial that begins; what comes of fits and trials is told by those who judge them."""

    def trial_started(self, number: int, configuration: Configuration, folds: int) -> None:
        """One line: after a crash, what was going on."""
        _log.info("trial %d begins", number)

    def stage(self, text: str) -> None:
        """One line."""
        _log.info("%s", text)

    def waiting(self, until: float) -> None:
        """One line."""
        _log.info("waiting until %s", moment(until))

    def data(self, summary: DataSummary) -> None:
        """One line."""
        _log.info("%s, fingerprint %s", data_line(summary), summary.fingerprint)

    def planned(self, plan: Plan, trials: int | None, seconds: float | None, before: EarlierProgress) -> None:
        """One line."""
        _log.info("%s", " ".join([budget_line(plan, trials, seconds, before.trials) + ".", *plan.notes]))
