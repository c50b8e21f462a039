"""The parts of a session that the search and all later stages work with."""

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
    """The images of a session, and its study in the database."""

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
    """Everything that the stages of a session share: the study, the workers, the clock."""

    request: SearchRequest
    opened: OpenStudy
    setup: StudySetup
    design: SearchDesign  # folds as in `setup`
    pool: WorkerPool  # of this host's workers
    executor: Executor  # of this host's workers, or of all hosts'
    hosts: HostRegistry
    clock: Clock
    listener: Listener
    reserves: ReservedTime

    @property
    def ledger(self) -> Ledger:
        """The ledger of the study's fits."""
        return self.opened.ledger

    def results(self, after: Results | None = None, *, draft: bool = False) -> Results:
        """Read the study as it is now, and rank its configurations.

        Args:
            after: earlier results, whose trials are not read again.
            draft: skip what takes long: promise and offset are worth nothing then.
        """
        known = () if after is None else after.study.trials
        return analyse(read_study(self.ledger, self.opened.study, known), draft=draft)
