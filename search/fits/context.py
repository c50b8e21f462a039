"""What the parts of a session work with."""

from __future__ import annotations

from dataclasses import dataclass

import optuna

from search.data.images import ImageSet
from search.events import Listener
from search.fits.executor import Executor
from search.fits.runner import StudySetup
from search.request import SearchDesign, SearchRequest
from search.schedule.budget import Clock, ReservedTime
from search.selection.analyse import analyse
from search.selection.results import Results
from search.storage.database import StudyStorage
from search.storage.hosts import HostRegistry
from search.storage.ledger import Ledger
from search.storage.load import read_study
from search.workers.interfaces import WorkerPool


@dataclass(frozen=True, slots=True)
class OpenStudy:
    """Images and database of a session."""

    images: ImageSet
    test: ImageSet | None
    storage: StudyStorage
    study: optuna.Study
    ledger: Ledger
    design: SearchDesign  # as the request alone has it, before there is a plan
    used_up: bool  # the trials asked for are done, so that nothing is left to search
    is_shared: bool  # other hosts may be at work on the study


@dataclass(frozen=True, kw_only=True, slots=True)
class Context:
    """Everything is ready for fits."""

    request: SearchRequest
    opened: OpenStudy
    terms: StudySetup
    design: SearchDesign  # folds as in `terms`
    pool: WorkerPool  # of this host's workers
    executor: Executor  # who does fits that belong together
    hosts: HostRegistry
    clock: Clock
    listener: Listener
    reserves: ReservedTime

    @property
    def ledger(self) -> Ledger:
        """Of the study."""
        return self.opened.ledger

    def results(self, after: Results | None = None, *, draft: bool = False) -> Results:
        """What the study amounts to now.

        Args:
            after: earlier results: what they were made of is not read again.
            draft: quick, with a promise and offset that are worth nothing.
        """
        known = () if after is None else after.study.trials
        return analyse(read_study(self.ledger, self.opened.study, known), draft=draft)
