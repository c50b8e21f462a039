"""A fit that was cut off goes on as if nothing had happened."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from search.collapse.rules import FitContext
from search.collapse.watch import Watch
from search.fit_checks import Collapse
from search.records import FitOutcome
from search.selection.metrics import MetricScorer
from search.training.checkpoint import Checkpoint, CheckpointStore
from search.training.epoch import EpochSums
from search.training.fit import Interrupted, run_fit
from tests.search.training.fakes import FakeTrainer, FakeWatch

EPOCHS = 90  # a check every third


def checkpoint(**changes) -> Checkpoint:
    values = {
        "epoch": 4,
        "microbatch_size": 4,
        "last": 12,
        "cool_from": None,
        "seconds": 1.5,
        "epoch_seconds": (0.5, 0.25),
        "checks": (),
        "audited_collapse": Collapse(reason="no-progress", hard=False, epoch=3, evidence={"skill": -0.1}),
        "start": {"loss": 0.69},
        "since": (EpochSums(0.6, 1.0, 2.0, 0.01, True),),
        "layers": np.full((1, 2, 7), np.nan, np.float32),
        "shares": np.zeros((0, 2), np.float32),
        "probabilities": np.zeros((0, 2), np.float32),
        "trainer": (np.arange(6, dtype=np.float32).reshape(2, 3), np.array(3, np.int64), np.array([1, 2], np.uint32)),
    }
    return Checkpoint(**{**values, **changes})


@pytest.fixture
def run(make_configuration, make_job, labels):
    """Run a fit, cut off after each of some epochs and gone on with by another trainer each time."""

    def go(folder: Path, cuts: tuple[int, ...] = (), momentum: float = 0.0, watch=FakeWatch) -> FitOutcome:
        def answers(epoch: int) -> np.ndarray:
            return np.eye(3)[labels] * np.sin(epoch) * epoch / 40

        job, checkpoints, left = make_job(epochs=EPOCHS), CheckpointStore(folder / "paused" / "fit.npz"), list(cuts)

        def heed(epoch: int) -> None:
            if left and epoch >= left[0]:
                left.pop(0)
                raise Interrupted

        while True:
            trainer = FakeTrainer(make_configuration(), labels, answers, momentum)
            try:
                return run_fit(trainer, job, labels, watch(), MetricScorer(), on_epoch=heed, checkpoints=checkpoints)
            except Interrupted:
                assert (folder / "paused" / "fit.npz").exists()

    return go


def equal(one: FitOutcome, other: FitOutcome) -> None:
    for name in ("layers", "shares", "probabilities"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    assert repr(one.checks) == repr(other.checks)  # NaN is unequal to itself
    nothing = {"layers": None, "shares": None, "probabilities": None, "checks": (), "seconds": 0.0}
    assert replace(one, **nothing) == replace(other, **nothing)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("cuts", [(1,), (2,), (3,), (10, 11, 50), (89,), tuple(range(1, 90))])
def test_a_fit_cut_off_after_any_epochs_equals_an_undisturbed_one(run, tmp_path, cuts, momentum) -> None:
    equal(run(tmp_path, cuts, momentum), run(tmp_path / "other", (), momentum))


def test_the_watch_goes_on_with_what_it_has_seen(run, tmp_path) -> None:
    """A verdict over a window that lies on both sides of the cut comes at the same epoch."""

    def watch() -> Watch:
        context = FitContext(
            epochs=EPOCHS, updates_per_epoch=15, imbalance=6.0, batchnorm=False, prior_entropy=0.9, chance=1 / 3
        )
        return Watch(context, audited=True)

    equal(run(tmp_path, (31, 32, 47), watch=watch), run(tmp_path / "other", (), watch=watch))


def test_a_checkpoint_is_read_as_it_was_written(tmp_path) -> None:
    checkpoint().write(tmp_path / "a.npz")
    read = Checkpoint.read(tmp_path / "a.npz")
    assert read is not None
    assert repr(replace(read, trainer=())) == repr(replace(checkpoint(), trainer=()))
    for ours, theirs in zip(checkpoint().trainer, read.trainer, strict=True):
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 no archive", b"\x93NUMPY", b"{}"])
def test_a_broken_checkpoint_is_none(tmp_path, content, caplog) -> None:
    (tmp_path / "a.npz").write_bytes(content)
    assert Checkpoint.read(tmp_path / "a.npz") is None
    assert "starts again" in caplog.text


def test_a_planted_pickle_is_not_read(tmp_path, caplog) -> None:
    np.savez(tmp_path / "a.npz", plain=np.array([object()], dtype=object))
    assert Checkpoint.read(tmp_path / "a.npz") is None
    assert "starts again" in caplog.text


def test_a_checkpoint_packed_in_a_way_that_nobody_knows_is_none(tmp_path) -> None:
    checkpoint().write(tmp_path / "a.npz")
    content = bytearray((tmp_path / "a.npz").read_bytes())
    for start, offset in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
        place = content.find(start)
        while place >= 0:
            content[place + offset : place + offset + 2] = (99).to_bytes(2, "little")
            place = content.find(start, place + 1)
    (tmp_path / "a.npz").write_bytes(content)
    assert Checkpoint.read(tmp_path / "a.npz") is None


def test_a_checkpoint_of_another_network_is_not_gone_on_with(run, tmp_path, caplog) -> None:
    checkpoints = CheckpointStore(tmp_path / "paused" / "fit.npz")
    checkpoints.save(checkpoint(trainer=(np.zeros(1), np.zeros(2))))
    equal(run(tmp_path), run(tmp_path / "other"))
    assert "another network" in caplog.text


def test_a_checkpoint_of_a_fit_in_smaller_parts_is_not_gone_on_with(run, tmp_path) -> None:
    checkpoints = CheckpointStore(tmp_path / "paused" / "fit.npz")
    checkpoints.save(checkpoint(microbatch_size=2, trainer=(np.array(4),)))
    equal(run(tmp_path), run(tmp_path / "other"))


def test_what_takes_long_is_kept_from_time_to_time_and_never_for_more_than_its_share(tmp_path) -> None:
    now = [0.0]
    checkpoints = CheckpointStore(tmp_path / "paused" / "fit.npz", now=lambda: now[0])
    due = []
    for _ in range(8):
        now[0] += 2.0
        due.append(checkpoints.is_due)
        if due[-1]:
            checkpoints.save(checkpoint())
    assert due == [False, False, True, False, False, True, False, False]


def test_nothing_is_left_of_a_fit_that_ended(tmp_path) -> None:
    checkpoints = CheckpointStore(tmp_path / "paused" / "fit.npz")
    checkpoints.save(checkpoint())
    checkpoints.clear()
    assert not (tmp_path / "paused").exists()
    checkpoints.clear()  # there never was one


def test_where_nothing_can_be_written_the_fit_goes_on(tmp_path, caplog) -> None:
    (tmp_path / "paused").write_text("a file in its place")
    CheckpointStore(tmp_path / "paused" / "fit.npz").save(checkpoint())
    assert "No checkpoint" in caplog.text
