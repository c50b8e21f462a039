"""Features that are made before the first trial, shared by the workers."""

from __future__ import annotations

from dataclasses import replace

import pytest

from search.data.block_file import BLOCK
from search.session.features import make_features
from search.settings import TrainingProtocol
from search.workers.errors import Stopped, WorkerError
from spaces.image_format import ImageFormat
from spaces.presets import DEFAULT, KNOWN_GOOD, known_good, with_weights
from tests.stand_ins import FakePool, RecordingListener, outcome

PROTOCOL = TrainingProtocol(epochs=4, images=ImageFormat(image_size=32, channels=3), classes=2)
STARTS = known_good(with_weights(DEFAULT, ["mobilenet_v2", "efficientnet_lite0"]))
IMAGES = BLOCK + 1


@pytest.fixture
def pool() -> FakePool:
    return FakePool(outcome)


def made(pool: FakePool) -> list[tuple[str, int, int]]:
    jobs = [(job.configuration, job.block) for job in pool.one.embedded]
    return [(configuration.backbone, configuration.resolution, block) for configuration, block in jobs]


def test_each_backbone_and_resolution_once_block_by_block(pool: FakePool) -> None:
    listener = RecordingListener()
    make_features(STARTS, PROTOCOL, IMAGES, pool, listener, None)
    names = ("mobilenet_v2", "efficientnet_lite0")
    assert sorted(made(pool)) == sorted((name, 224, block) for name in names for block in (0, 1))


def test_networks_from_scratch_and_fine_tuned_ones_need_none(pool: FakePool) -> None:
    tuned = [replace(one, trainable="all") for one in STARTS if one.embeds]
    make_features([*KNOWN_GOOD, *tuned], PROTOCOL, IMAGES, pool, RecordingListener(), None)
    assert made(pool) == []


def test_the_first_is_made_and_no_further_one_begun_when_the_time_is_over(pool: FakePool) -> None:
    make_features(STARTS, PROTOCOL, IMAGES, pool, RecordingListener(), -1.0)
    assert made(pool) == []
    make_features(STARTS, PROTOCOL, IMAGES, pool, RecordingListener(), 1e-9)
    assert {name for name, _, _ in made(pool)} <= {"mobilenet_v2"}


def test_an_error_is_left_to_the_trial_and_a_stop_ends_all(pool: FakePool) -> None:
    pool.one.embedding_error = WorkerError("out of memory")
    make_features(STARTS, PROTOCOL, IMAGES, pool, RecordingListener(), None)
    assert len(made(pool)) == 4

    pool.one.embedding_error = Stopped()
    with pytest.raises(Stopped):
        make_features(STARTS, PROTOCOL, IMAGES, pool, RecordingListener(), None)
