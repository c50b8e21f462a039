"""The recommendation, trained once on all images and scored on images that were never touched."""

from __future__ import annotations

import logging
from typing import Final

import numpy as np

from search.collapse.protection import Protection
from search.data.images import ImageSet
from search.records import FINAL, TestScore, Verdict
from search.selection import metrics
from search.selection.offset import offset_probabilities
from search.selection.results import Recommendation
from search.study.fitting import Fitter, Spec
from search.study.pool import Pool, Stopped

_TRIES: Final = 3  # seeds, if a training collapses
_log = logging.getLogger(__name__)


def test_recommendation(best: Recommendation, test: ImageSet, fitter: Fitter, pool: Pool) -> TestScore | None:
    """Train and score; None if that was cut off or did not succeed with any seed.

    The protocol is that of the search's fits; there is no validation split, so the training batches' own signals
    are watched.
    """
    trial = best.ranked.trial
    rows = np.arange(len(fitter.terms.labels))
    for attempt in range(_TRIES):
        spec = Spec(
            trial=trial.number,
            stage=FINAL,
            configuration=trial.configuration,
            train=rows,
            val=rows[:0],
            attempt=attempt,
        )
        try:
            with pool.worker() as worker:
                fit, predicted = fitter.train(worker, spec, Protection(calibrating=False), predict=test.path)
        except Stopped:
            _log.warning("The final training was cut off: there is no test score.")
            return None
        if predicted is not None and fit.verdict is Verdict.LEARNED:
            probabilities = offset_probabilities(predicted, best.offset)
            return TestScore(
                score=metrics.score(fitter.terms.metric, test.labels, probabilities),
                n=len(test.labels),
                configuration=trial.configuration.hash,
                seed=fit.seed,
                fingerprint=test.summary.fingerprint,
            )
        _log.warning("The final training %s (%s) and is tried with a new seed.", fit.verdict, fit.reason)
    return None
