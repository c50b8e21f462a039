"""What the parts of a session work with."""

from __future__ import annotations

from dataclasses import dataclass

from search.events import Listener
from search.selection.analyse import analyse
from search.selection.results import Results
from search.study.clock import Clock
from search.study.fitting import Terms
from search.study.ledger import Ledger
from search.study.opening import Opened
from search.study.pool import Pool
from search.study.reading import read_study
from search.study.request import Request
from search.study.reserves import Reserves


@dataclass(frozen=True, kw_only=True, slots=True)
class Workshop:
    """Everything is ready for fits."""

    request: Request
    opened: Opened
    terms: Terms
    pool: Pool
    clock: Clock
    listener: Listener
    reserves: Reserves

    @property
    def ledger(self) -> Ledger:
        """Of the study."""
        return self.opened.ledger

    def note_time(self) -> None:
        """Keep the seconds spent so far."""
        self.ledger.set_fact("seconds", self.clock.seconds)

    def results(self) -> Results:
        """What the study amounts to now."""
        return analyse(read_study(self.ledger, self.opened.study))
