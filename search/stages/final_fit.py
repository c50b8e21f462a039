"""Training on all images: watched by the training batches' own signals, with a new seed after a collapse."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Final

import numpy as np

from search.collapse.protection import Protection
from search.data.images import ImageSet
from search.fit_checks import Check
from search.fits.runner import FitRunner
from search.records import FINAL, Fit, TestScore, Verdict
from search.selection import metrics
from search.selection.offset import offset_probabilities
from search.selection.results import Recommendation
from search.training.job import FitSpec
from search.workers.errors import Stopped
from search.workers.interfaces import FitWorker

TRIES: Final = 3
"""Number of seeds that are tried if trainings collapse."""

_log = logging.getLogger(__name__)


def test_recommendation(best: Recommendation, test: ImageSet, fitter: FitRunner, worker: FitWorker) -> TestScore | None:
    """Train the recommendation on all images, by the search's protocol, and score it on images never used before.

    Args:
        best: the recommendation.
        test: images that no fit has seen.
        fitter: runs the fits.
        worker: trains.

    Returns:
        None if the training was cut off or did not succeed with any seed.
    """
    trial = best.ranked.trial
    rows = np.arange(len(fitter.setup.labels))
    spec = FitSpec(trial=trial.number, stage=FINAL, configuration=trial.configuration, train=rows, val=rows[:0])
    try:
        fit = train_until_learned(worker, spec, fitter, predict=test)
    except Stopped:
        _log.warning("The final training was cut off: there is no test score.")
        return None
    if fit.predicted is None or fit.verdict is not Verdict.LEARNED:
        return None
    return TestScore(
        score=metrics.score(fitter.setup.metric, test.labels, offset_probabilities(fit.predicted, best.offset)),
        n=len(test.labels),
        configuration=trial.configuration.hash,
        seed=fit.seed,
        fingerprint=test.summary.fingerprint,
        offset=best.offset,
    )


def train_until_learned(
    worker: FitWorker,
    spec: FitSpec,
    fitter: FitRunner,
    *,
    predict: ImageSet | None = None,
    on_check: Callable[[Check], None] = lambda check: None,
) -> Fit:
    """Train with one seed after the other until a fit neither collapses nor fails, at most `TRIES` times.

    Args:
        worker: holds the last fit's network afterwards.
        spec: what to train; its attempts are counted up.
        fitter: runs the fits.
        predict: images to predict after a fit that learned.
        on_check: told of every check.

    Returns:
        The last fit.

    Raises:
        Stopped: it was told to end.
    """
    for attempt in range(spec.attempt, spec.attempt + TRIES):
        fit = fitter.train(worker, replace(spec, attempt=attempt), Protection(calibrating=False), on_check, predict)
        if fit.verdict is Verdict.LEARNED:
            break
        left = spec.attempt + TRIES - 1 - attempt
        then = f"trying a new seed ({left} left)" if left else "no seed is left"
        _log.warning("The final training %s (%s): %s.", fit.verdict, fit.reason, then)
    return fit
