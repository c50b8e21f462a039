"""The job of a fit on a fold, for benchmarks that train without a study."""

from __future__ import annotations

from search.collapse.rules import FitContext
from search.data.folds import Fold
from search.records import SEARCH
from search.settings import TrainingProtocol
from search.training.job import FitJob
from spaces.config import Configuration


def fold_job(
    configuration: Configuration, protocol: TrainingProtocol, context: FitContext, fold: Fold, seed: int
) -> FitJob:
    """Return the job of training `configuration` on the fold, as the first trial of a search would."""
    return FitJob(
        trial=0,
        stage=SEARCH,
        configuration=configuration,
        protocol=protocol,
        context=context,
        train=fold.train,
        val=fold.val,
        seed=seed,
    )
