"""Fits of further configurations on the search's first folds, as a trial of the search would fit them.

The fits have the search's own folds, seeds and keys: they can be compared with a trial's fold by fold, what a trial has
done is not done again, and a later trial finds what was done here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from search.collapse.protection import Protection
from search.fits.runner import FitRunner, StudySetup
from search.records import SEARCH, Fit, Trial
from search.storage.ledger import Ledger
from search.training.job import FitSpec
from search.workers.interfaces import FitWorker
from spaces.config import Configuration


class FirstFolds:
    """Fits configurations on the first folds of the study.

    Args:
        setup: what all fits of the study share.
        ledger: where fits are recorded.
        stage: of the fits.
        trial: number of the trial that they are compared with.
        folds: number of folds, at most those of the study.
        trials: of the study, whose fits protect similar ones from collapse rules.
    """

    def __init__(
        self, setup: StudySetup, ledger: Ledger, *, stage: str, trial: int, folds: int, trials: Iterable[Trial]
    ) -> None:
        self._setup, self._stage, self._trial = setup, stage, trial
        self._runner = FitRunner(setup, ledger)
        self._protection = Protection.of(fit for trial in trials for fit in trial.fits)
        self.folds = range(min(folds, len(setup.folds)))

    def fits(
        self,
        worker: FitWorker,
        configuration: Configuration,
        fold: int,
        on_fit: Callable[[Fit], None] = lambda fit: None,
    ) -> list[Fit]:
        """The fits of a configuration on a fold: one, or two where the first one may have collapsed by bad luck.

        Args:
            worker: trains what is not recorded.
            configuration: to fit.
            fold: one of `folds`.
            on_fit: called with each fit.

        Raises:
            Stopped: the time is over.
        """
        split = self._setup.folds[fold]
        spec = FitSpec(
            trial=self._trial,
            stage=self._stage,
            split=SEARCH,
            configuration=configuration,
            train=split.train,
            val=split.val,
            fold=fold,
        )
        return self._runner.fold(worker, spec, self._protection, on_fit=on_fit)
