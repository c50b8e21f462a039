"""What is known of a device's memory serves networks of the same size with the same batch, and no others."""

from __future__ import annotations

import pytest

from search.records import PARTS, FitOutcome, Verdict
from search.training.job import FitJob
from search.workers.microbatching import MicrobatchMemory
from tests.factories import configuration, fit_job


def job(**changes) -> FitJob:
    return fit_job(configuration=configuration(**changes))


def outcome(**start: float) -> FitOutcome:
    return FitOutcome(verdict=Verdict.LEARNED, epochs=2, seconds=1.0, start=start)


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({}, 4),
        ({"learning_rate": 1e-2, "initializer": "orthogonal"}, 4),
        ({"width": 64}, 1),
        ({"batch_size": 32}, 1),
    ],
)
def test_the_size_of_the_network_and_the_batch_decide(changes, parts):
    room = MicrobatchMemory()
    room.learn(job(), outcome(**{PARTS: 4.0}))
    assert room.parts(job(**changes)) == parts


def test_a_fit_that_found_room_whole_tells_nothing():
    room = MicrobatchMemory()
    room.learn(job(), outcome())
    assert room.parts(job()) == 1
