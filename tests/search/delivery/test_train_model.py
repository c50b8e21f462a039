"""From a configuration and images to the order of trainings, the files, and what is said."""

import json
import logging
import zipfile
from pathlib import Path

import numpy as np
import pytest

from search import seeds
from search.data.folds import make_folds
from search.data.weight_files import Weights
from search.delivery import card as cards
from search.delivery.outlier_detector import OutlierDetector
from search.delivery.train_job import TrainRequest
from search.delivery.train_model import train
from search.delivery.worker_tasks import BuildModel, SaveNetwork
from search.errors import UserError
from search.events import SilentListener
from search.workers.errors import WorkerDied, WorkerError
from tests.factories import configuration, make_images
from tests.search.delivery.stand_in import StandIn, collapsing, write_config, write_keras
from tests.stand_ins import RecordingListener, outcome

pytestmark = pytest.mark.slow


@pytest.fixture
def request_(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("STEADYNET_CACHE", str(tmp_path / "cache"))
    make_images(tmp_path / "images", 12)

    def make(config=None, **changes) -> TrainRequest:
        values = {
            "config": write_config(tmp_path / "best_config.yaml", **(config or {})),
            "data": tmp_path / "images",
            "model": tmp_path / "model.keras",
        }
        return TrainRequest(**{**values, **changes})

    return make


def test_all_images_are_trained_on_by_the_protocol_of_the_search(request_) -> None:
    pool = StandIn()
    trained = train(request_(), SilentListener(), pool)
    (job,) = pool.jobs
    np.testing.assert_array_equal(job.train, np.arange(24))
    assert len(job.val) == 0
    assert (job.protocol.epochs, job.protocol.images.image_size, job.protocol.images.channels) == (5, 8, 1)
    assert job.limit_seconds is None
    assert not job.audited
    keep, unite = pool.tasks
    assert unite.members == (keep.path,)
    assert unite.offset == (0.5, -0.5)
    assert pool.closed
    assert (trained.images, trained.members, trained.weights, trained.held_out) == (24, 1, 1234, None)


def test_the_seed_is_that_of_the_searchs_final_training_unless_another_is_given(request_) -> None:
    given = []
    for seed in (None, 7, 8):
        pool = StandIn()
        train(request_(seed=seed), SilentListener(), pool)
        given.append(pool.jobs[0].seed)
    hashed = configuration(batch_size=4).hash
    assert given[0] == given[1] == seeds.child(7, "fit", hashed, "final", 0, 0, 0) != given[2]


def test_model_and_card_are_written_and_nothing_else(request_, tmp_path) -> None:
    before = set(tmp_path.iterdir()) | {tmp_path / "cache", tmp_path / "best_config.yaml"}
    trained = train(request_(), SilentListener(), StandIn())
    assert set(tmp_path.iterdir()) - before == {trained.model, trained.card}
    card, likeness = cards.read(trained.model)
    assert card.text() == trained.card.read_text() == cards.Card.of(card.text(), "").text()
    assert card.classes == ("bolt", "nut")
    assert (card.images.image_size, card.images.channels, card.offset) == (8, 1, (0.5, -0.5))
    assert OutlierDetector.of_bytes(likeness, 1, 8).distances(np.zeros((1, 8, 8, 1), np.uint8)) > 1
    facts = json.loads(trained.card.read_text())
    assert facts["trained"]["images"] == {"bolt": 12, "nut": 12}
    assert facts["images"]["steps"][1] == {"convert": "L"}
    assert facts["promise"] == {"value": 0.8}
    assert facts["configuration"]["batch_size"] == 4


def test_an_ensemble_is_the_searchs_own_fits(request_) -> None:
    pool = StandIn()
    trained = train(request_(ensemble=True, seed=None), SilentListener(), pool)
    labels = np.repeat([0, 1], 12)
    folds = make_folds(labels, folds=3, seed=7)
    hashed = configuration(batch_size=4).hash
    for number, (job, fold) in enumerate(zip(pool.jobs, folds, strict=True)):
        np.testing.assert_array_equal(job.train, fold.train)
        np.testing.assert_array_equal(job.val, fold.val)
        assert job.seed == seeds.child(7, "fit", hashed, "search", 0, number, 0)
    kept = [task.path for task in pool.tasks if isinstance(task, SaveNetwork)]
    (united,) = (task for task in pool.tasks if isinstance(task, BuildModel))
    assert united.members == tuple(kept)
    assert len(set(kept)) == trained.members == 3
    assert 0 <= trained.held_out <= 1


def test_a_collapse_is_told_and_tried_with_a_new_seed(request_, caplog) -> None:
    pool = StandIn(collapsing(2))
    with caplog.at_level(logging.WARNING, "search"):
        trained = train(request_(), SilentListener(), pool)
    assert len({job.seed for job in pool.jobs}) == 3
    assert [record.getMessage() for record in caplog.records] == [
        "The final training collapsed (constant-output): trying a new seed (2 left).",
        "The final training collapsed (constant-output): trying a new seed (1 left).",
    ]
    assert any("needed 3 seeds" in note for note in trained.notes)


def test_without_a_training_that_learns_there_is_no_model(request_, tmp_path) -> None:
    pool = StandIn(collapsing(3))
    with pytest.raises(UserError, match=r"collapsed with each of 3 seeds .last reason: constant-output.*--seed"):
        train(request_(), SilentListener(), pool)
    assert len(pool.jobs) == 3
    assert pool.closed
    assert not list(tmp_path.glob("*.keras"))
    assert not (tmp_path / "model.json").exists()


@pytest.mark.parametrize(
    ("config", "changes", "message"),
    [
        (
            {"classes": ["bolt", "screw"]},
            {},
            r"has the classes bolt, nut, but .* was searched for bolt, screw\. Pass images",
        ),
        (
            {"training__engine": 2},
            {},
            r"was written for training engine 2; this version uses engine 1, .* search again",
        ),
        ({"metric": "f1"}, {}, r"metric is 'f1'\. Expected one of balanced_accuracy, "),
        ({"folds": 20}, {"ensemble": True}, r"--ensemble: class 'bolt' has 12 .* 20 folds .* leave out --ensemble"),
        ({}, {"model": Path("model.h5")}, r"--model model\.h5: expected a name that ends in \.keras"),
        ({}, {"data": Path("nowhere")}, r"there is no folder nowhere"),
    ],
)
def test_what_can_not_be_done_is_refused_before_any_training(request_, config, changes, message) -> None:
    pool = StandIn()
    with pytest.raises(UserError, match=message):
        train(request_(config, **changes), SilentListener(), pool)
    assert pool.jobs == []


def test_a_batch_larger_than_the_images_is_refused(request_, tmp_path) -> None:
    large = configuration(batch_size=32)
    section = {"sampled": large.as_dict(), "canonical": large.canonical(), "hash": large.hash}
    with pytest.raises(UserError, match=r"batch_size is 32, but a fit has only 24 images of .*images\. Add images"):
        train(request_({"configuration": section}), SilentListener(), StandIn())


def test_a_classifier_that_is_solved_has_no_batches(request_, monkeypatch) -> None:
    weights = {"mobilenet_v2": Weights(None, "digest")}
    monkeypatch.setattr("search.delivery.train_job.find_weights", lambda *arguments: weights)
    solved = configuration(batch_size=64, backbone="mobilenet_v2", head="average", classifier="ridge")
    section = {"sampled": solved.as_dict(), "canonical": solved.canonical(), "hash": solved.hash}
    pool, listener = StandIn(), RecordingListener()
    train(request_({"configuration": section, "training__weights": "digest"}), listener, pool)
    assert pool.jobs[0].configuration == solved
    assert "Training on all 24 images" in listener.stages


@pytest.mark.parametrize(
    ("config", "changes", "note"),
    [
        ({}, {}, "not exactly the images of the search"),
        ({"configuration__hash": "0" * 12}, {}, "was changed after the search"),
        ({"data__groups": 4}, {"ensemble": True}, "pass the --groups of the search"),
    ],
)
def test_what_the_user_should_know_is_said(request_, config, changes, note) -> None:
    assert any(note in one for one in train(request_(config, **changes), SilentListener(), StandIn()).notes)


def test_the_searchs_own_images_need_no_note(request_) -> None:
    first = train(request_(), SilentListener(), StandIn())
    own = json.loads(first.card.read_text())["trained"]["fingerprint"]
    assert train(request_({"data__fingerprint": own}), SilentListener(), StandIn()).notes == ()


def test_images_that_the_study_saw_in_another_size_are_its_own_images(request_) -> None:
    first = train(request_(), SilentListener(), StandIn())
    own = json.loads(first.card.read_text())["trained"]["fingerprint"]
    config = {"data__fingerprint": own, "training__image_size": 16}
    assert any("not exactly the images" in note for note in train(request_(config), SilentListener(), StandIn()).notes)
    pool = StandIn()
    assert train(request_(config | {"data__image_size": 8}), SilentListener(), pool).notes == ()
    assert pool.jobs[0].protocol.images.image_size == 16


def test_a_model_takes_the_place_of_an_earlier_one_only_when_all_is_done(request_, tmp_path) -> None:
    model = write_keras(tmp_path / "model.keras")
    old = model.read_bytes()
    with pytest.raises(UserError, match="so no model was written"):
        train(request_(), SilentListener(), StandIn(collapsing(9)))
    assert model.read_bytes() == old
    train(request_(), SilentListener(), StandIn())
    with zipfile.ZipFile(model) as archive:
        assert cards.CARD in archive.namelist()


def test_a_worker_that_dies_is_tried_again(request_) -> None:
    seen = []

    def dies_once(job):
        seen.append(job)
        if len(seen) == 1:
            raise WorkerError("worker died")
        return outcome(job)

    assert train(request_(), SilentListener(), StandIn(dies_once)).weights == 1234
    assert seen[0] is seen[1]


def test_a_worker_that_always_dies_ends_in_one_line(request_) -> None:
    def dies(job):
        raise WorkerDied(-9)

    with pytest.raises(UserError, match=r"the training failed with each of 3 seeds .last reason: worker-died"):
        train(request_(), SilentListener(), StandIn(dies))


def test_with_few_images_nothing_is_said_of_unlike_ones(request_, tmp_path) -> None:
    few = make_images(tmp_path / "few", 4)
    trained = train(request_(data=few), SilentListener(), StandIn())
    assert cards.read(trained.model)[1] is None
