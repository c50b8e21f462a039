"""The heart: a study that was killed at any moment, any number of times, reads like one that was not."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa
from PIL import Image

from search.errors import MismatchError, UserError
from search.events import SilentListener
from search.records import StudyRecord
from search.request import SearchRequest, refuse_overlapping_folders
from search.schedule.budget import Clock
from search.session import session, setup
from search.session.setup import OutOfTime
from search.storage.database import StudyStorage, ledger_engine, open_storage
from search.storage.load import open_study
from spaces.definitions import Fixed
from spaces.presets import CORE, TRANSFER, with_weights
from tests.factories import configuration, make_images
from tests.small_searches import comparable, small_request
from tests.stand_ins import fake_pools

pytestmark = [pytest.mark.study, pytest.mark.usefixtures("no_baselines")]


class Killed(BaseException):
    """As kill -9: no `except Exception` sees it."""


class Executioner:
    """Kills at a commit to the database, and lets nothing be written from then on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.commits = 0
        self.last: int | None = None
        monkeypatch.setattr(setup, "open_storage", self._open)

    def _open(self, *arguments: Any, **options: Any) -> StudyStorage:
        storage = open_storage(*arguments, **options)
        for engine in {storage.engine, ledger_engine(storage)}:
            sa.event.listen(engine, "commit", self._on_commit)
        return storage

    def _on_commit(self, connection: sa.Connection) -> None:
        if self.last is not None and self.commits >= self.last:
            connection.connection.rollback()  # a dead process holds no lock
            raise Killed
        self.commits += 1


def run(asked: SearchRequest, clock: Clock | None = None) -> StudyRecord:
    return session.search(asked, SilentListener(), clock or Clock(), fake_pools()).results.study


@pytest.fixture(scope="module")
def undisturbed(images: Path, tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Any, ...]]:
    """Five trials."""
    return comparable(run(small_request(images, tmp_path_factory.mktemp("undisturbed"))))


def test_a_study_killed_at_random_moments_equals_an_undisturbed_one(
    undisturbed: list[tuple[Any, ...]], images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the command's request to the results; `test_queue` does the same more often."""
    executioner, draw, kills = Executioner(monkeypatch), random.Random(0), 0
    while True:
        executioner.last = executioner.commits + draw.randint(20, 110)
        try:
            disturbed = run(small_request(images, tmp_path))
            break
        except Killed:
            kills += 1
    assert kills >= 3
    assert comparable(disturbed) == undisturbed
    assert comparable(open_study(tmp_path)) == undisturbed


class StopAfter(Clock):
    """Ctrl-C after so many looks at the clock."""

    def __init__(self, looks: int) -> None:
        super().__init__()
        self._looks = looks

    def phase_over(self) -> bool:
        self._looks -= 1
        return self._looks < 0


def test_a_study_stopped_in_good_order_goes_on_as_if_nothing_had_been(
    undisturbed: list[tuple[Any, ...]], images: Path, tmp_path: Path
) -> None:
    stopped = run(small_request(images, tmp_path, trials=3), StopAfter(5))
    assert 0 < len(stopped.trials) < 3
    assert comparable(run(small_request(images, tmp_path, trials=3))) == undisturbed[:3]


def test_what_was_asked_for_before_the_first_trial_binds_nothing(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name in ("bolt", "nut"):
        (tmp_path / "images" / name).mkdir(parents=True)
        for number in range(12):
            noise = rng.integers(0, 256, (16, 32), dtype=np.uint8)
            Image.fromarray(noise).save(tmp_path / "images" / name / f"{number}.png")
    for side, shapes in ((32, ((16, 32),)), (16, ((8, 16),))):
        asked = small_request(tmp_path / "images", tmp_path / "out", native=True, image_size=side)
        assert run(asked, StopAfter(0)).trials == ()
        study = open_study(tmp_path / "out")
        assert (study.protocol.images.shapes, study.identity.image_size) == (shapes, side)


def test_a_refused_start_leaves_nothing_and_a_refused_study_as_it_was(images: Path, tmp_path: Path) -> None:
    out = tmp_path / "runs" / "x"
    start = configuration(learning_rate=5.0, batch_size=8)
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"data": tmp_path / "none"}, "there is no folder"),
        ({"folds": 13}, r"12 readable image\(s\).* 13 folds"),
        ({"starts": [start]}, "--start: learning_rate"),
        ({"space": CORE.changed({"batch_size": Fixed(256)})}, "--space: batch_size: 256"),
        ({"groups": tmp_path / "none.csv"}, "no group file"),
        ({"out": images / "runs"}, "lies in the image folder"),
        ({"out": images}, "lies in the image folder"),
        ({"test": images}, "share images"),
        ({"test": images / "bolt"}, "share images"),
        (
            {"space": with_weights(TRANSFER, ["convnext_tiny"]).changed({"resolution": Fixed(0)})},
            "convnext_tiny needs images of at least 32 pixels",
        ),
        (
            {"space": with_weights(TRANSFER, ["convnext_tiny"]).changed({"resolution": Fixed(16)})},
            "resolution: convnext_tiny needs images of at least 32 pixels a side, got 16",
        ),
        ({"test": make_images(tmp_path / "other", 2, names=("bolt", "screw"))}, "'screw' that the training"),
    ]
    for changes, message in wrong:
        with pytest.raises(UserError, match=message):
            run(small_request(images, **{"out": out, **changes}))
        assert not out.parent.exists()
        assert sorted(path.name for path in images.iterdir()) == ["bolt", "nut"]


def test_the_test_of_a_split_may_be_named_and_nothing_else_of_the_images(tmp_path: Path) -> None:
    for part in ("train", "val", "test"):
        make_images(tmp_path / "images" / part, 4)
    refuse_overlapping_folders(small_request(tmp_path / "images", tmp_path / "out", test=tmp_path / "images/test"))
    for other in ("val", "test/bolt"):
        with pytest.raises(UserError, match="share images"):
            refuse_overlapping_folders(
                small_request(tmp_path / "images", tmp_path / "out", test=tmp_path / "images" / other)
            )
    asked = {"labels": tmp_path / "labels.csv", "test": tmp_path / "images/test"}
    refuse_overlapping_folders(small_request(tmp_path / "images", tmp_path / "out", **asked))
    with pytest.raises(UserError, match="share images"):
        refuse_overlapping_folders(
            small_request(tmp_path / "images", tmp_path / "out", **asked | {"test": asked["test"] / "bolt"})
        )


def test_images_are_not_read_for_ever_when_the_time_is_over(tmp_path: Path) -> None:
    late = Clock(until=100.0, wall=lambda: 130.0)
    with pytest.raises(OutOfTime, match=r"the time ended after \d+ of 24 images"):
        run(small_request(make_images(tmp_path / "images", 12), tmp_path / "run"), late)
    assert not (tmp_path / "run" / "study.db").exists()


def test_what_was_refused_does_not_bind_the_run_folder(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A start that ended before its first trial may be followed by one with other options."""
    with monkeypatch.context() as patch:
        patch.setattr(session, "_prepare", lambda *arguments: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            run(small_request(images, tmp_path / "out", seed=1))
    study = run(small_request(images, tmp_path / "out", trials=1, folds=4))
    assert (study.plan.folds, study.identity.seed) == (4, 0)


def test_a_study_is_not_gone_on_with_as_another(images: Path, tmp_path: Path) -> None:
    """What differs is told as a table in `test_identity`."""
    before = comparable(run(small_request(images, tmp_path / "out", trials=1)))
    more = make_images(tmp_path / "more", 13)
    with pytest.raises(MismatchError, match=r"other images .*; another --seed \(there: 0, now: 1\)"):
        run(small_request(more, tmp_path / "out", seed=1))
    assert comparable(open_study(tmp_path / "out")) == before


def test_a_used_up_budget_trains_nothing_and_a_raised_one_tries_the_users_start_too(
    images: Path, tmp_path: Path
) -> None:
    first = run(small_request(images, tmp_path / "out", trials=1))
    assert comparable(run(small_request(images, tmp_path / "out", trials=1))) == comparable(first)
    own = configuration(learning_rate=0.02, batch_size=8, dense_ratio=1.0, dropout=0.0, input_scaling="standardized")
    third = run(small_request(images, tmp_path / "out", trials=3, starts=[own]))  # one known-good waits before it
    assert comparable(third)[:1] == comparable(first)
    assert third.trials[2].configuration.hash == own.hash
