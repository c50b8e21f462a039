"""What is known of a device's memory serves networks of the same size with the same batch, and no others."""

from __future__ import annotations

import numpy as np
import pytest

from search.collapse.rules import FitContext
from search.records import PARTS, Verdict
from search.settings import TrainingProtocol
from search.training.outcome import FitOutcome
from search.workers.microbatching import MicrobatchMemory
from search.workers.protocol import FitJob
from tests.factories import configuration

NOTHING = np.zeros(0, np.int64)


def job(**changes) -> FitJob:
    return FitJob(
        configuration=configuration(**changes),
        protocol=TrainingProtocol(epochs=2, image_size=32, channels=3, classes=3),
        train=NOTHING,
        val=NOTHING,
        seed=1,
        context=FitContext(epochs=2, updates_per_epoch=6, imbalance=3, batchnorm=False, prior_entropy=1.0),
        audited=False,
    )


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
