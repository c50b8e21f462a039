"""What is known of a device's memory serves networks of the same size with the same batch, and no others."""

from __future__ import annotations

import pytest

from search.records import MICROBATCHES, FitOutcome, Verdict
from search.training.job import FitJob
from search.workers.microbatching import MicrobatchMemory
from tests.factories import configuration, fit_job


def job(**changes) -> FitJob:
    return fit_job(configuration=configuration(**changes))


def outcome(**start: float) -> FitOutcome:
    return FitOutcome(verdict=Verdict.LEARNED, epochs=2, seconds=1.0, start=start)


@pytest.mark.parametrize(
    ("changes", "microbatches"),
    [
        ({}, 4),
        ({"learning_rate": 1e-2, "initializer": "orthogonal"}, 4),
        ({"width": 64}, 1),
        ({"batch_size": 32}, 1),
    ],
)
def test_the_size_of_the_network_and_the_batch_decide(changes, microbatches):
    memory = MicrobatchMemory()
    memory.learn(job(), outcome(**{MICROBATCHES: 4.0}))
    assert memory.microbatches(job(**changes)) == microbatches


def test_a_fit_with_whole_batches_leaves_nothing_to_remember():
    memory = MicrobatchMemory()
    memory.learn(job(), outcome())
    assert memory.microbatches(job()) == 1
