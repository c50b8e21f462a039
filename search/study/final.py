"""The recommendation, trained once on all images and scored on images that were never touched."""

from __future__ import annotations

import logging
from typing import Final

import numpy as np

from search import seeds
from search.collapse.protection import Protection
from search.data.images import ImageSet
from search.records import FloatArray, TestScore, Verdict
from search.selection import metrics
from search.selection.results import Recommendation
from search.study.objective import Terms, context
from search.study.pool import Pool, Stopped, WorkerFault
from search.study.worker import Job

_TRIES: Final = 3  # seeds, if a training collapses
_log = logging.getLogger(__name__)


def test_recommendation(best: Recommendation, test: ImageSet, terms: Terms, pool: Pool) -> TestScore | None:
    """Train and score; None if that was cut off or did not succeed with any seed.

    The protocol is that of the search's fits; there is no validation split, so the training batches' own signals
    are watched.
    """
    configuration = best.ranked.trial.configuration
    rows = np.arange(len(terms.labels))
    for attempt in range(_TRIES):
        seed = seeds.child(terms.seed, "final", configuration.hash, attempt)
        job = Job(
            configuration=configuration,
            protocol=terms.protocol,
            train=rows,
            val=rows[:0],
            seed=seed,
            context=context(configuration, terms, rows, Protection()),
            audited=False,
            predict=test.path,
        )
        try:
            with pool.worker() as worker:
                done = worker.run(job)
        except Stopped:
            _log.warning("The final training was cut off: there is no test score.")
            return None
        except WorkerFault as error:
            _log.warning("The final training failed and is tried again: %s", str(error).strip().splitlines()[-1])
            continue
        if done.predicted is not None and done.outcome.verdict is Verdict.LEARNED:
            score = metrics.score(terms.metric, test.labels, offset_probabilities(done.predicted, best.offset))
            return TestScore(score=score, n=len(test.labels), configuration=configuration.hash, seed=seed)
        _log.warning("The final training collapsed (%s) and is tried with a new seed.", done.outcome.reason)
    return None


def offset_probabilities(probabilities: FloatArray, offset: tuple[float, ...]) -> FloatArray:
    """Probabilities `(n, K)` after adding the decision offset to the logits, as the delivered model gives them."""
    moved = np.log(np.maximum(probabilities, 1e-30)) + np.asarray(offset)
    moved = np.exp(moved - moved.max(1, keepdims=True))
    return np.asarray(moved / moved.sum(1, keepdims=True), dtype=np.float32)
