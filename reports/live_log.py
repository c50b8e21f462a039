"""A run in its log: enough to tell afterwards what happened when."""

from __future__ import annotations

import logging

from reports.live_lines import budget_line, data_line
from reports.wording import moment
from search.events import Silent
from search.records import DataSummary, Fit
from search.settings import Plan

_log = logging.getLogger("search.run")


class EventLog(Silent):
    """One line a stage and a fit; trials are told to the log by those who judge them."""

    def stage(self, text: str) -> None:
        """One line."""
        _log.info("%s", text)

    def waiting(self, until: float) -> None:
        """One line."""
        _log.info("waiting until %s", moment(until))

    def data(self, summary: DataSummary) -> None:
        """One line."""
        _log.info("%s, fingerprint %s", data_line(summary), summary.fingerprint)

    def planned(self, plan: Plan, trials: int | None, seconds: float | None, trials_done: int) -> None:
        """One line."""
        _log.info("%s", " ".join([budget_line(plan, trials, seconds, trials_done) + ".", *plan.notes]))

    def fit_finished(self, fit: Fit) -> None:
        """One line."""
        _log.info(
            "fit %s: trial %d, fold %d, attempt %d: %s, score %s, reason %s, %d epochs, %.1f s",
            *(fit.key, fit.trial, fit.fold, fit.attempt, fit.verdict, fit.score, fit.reason, fit.epochs, fit.seconds),
        )
