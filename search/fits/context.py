"""Objects that the stages of a session share: the open study, the workers, the clock."""

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
    """The images of a session and its study in the database."""

    request: SearchRequest  # the user's, with the weights that the study began with
    images: ImageSet  # training images
    test: ImageSet | None  # held-out test images; None if there are none
    storage: StudyStorage
    study: optuna.Study
    ledger: Ledger
    design: SearchDesign  # from the request alone, before the study is planned
    used_up: bool  # all requested trials are done: there is nothing left to search
    is_shared: bool  # other hosts may be working on the study


@dataclass(frozen=True, kw_only=True, slots=True)
class Context:
    """The study, the workers and the clock of a session, shared by all its stages."""

    request: SearchRequest
    opened: OpenStudy
    setup: StudySetup
    design: SearchDesign  # with the folds of `setup`
    pool: WorkerPool  # this host's workers
    executor: Executor  # runs batches on this host's workers, or on those of all hosts
    hosts: HostRegistry
    clock: Clock
    listener: Listener
    reserves: ReservedTime

    @property
    def ledger(self) -> Ledger:
        """Ledger of the study's fits."""
        return self.opened.ledger

    def results(self, after: Results | None = None, *, draft: bool = False) -> Results:
        """Read the current state of the study and rank its configurations.

        Args:
            after: earlier results; their finished trials are not read from the database again.
            draft: skip the slow steps; the promise and the decision offset are then meaningless.
        """
        earlier_trials = () if after is None else after.study.trials
        return analyse(read_study(self.ledger, self.opened.study, earlier_trials), draft=draft)
