"""Fits by Keras' own `fit`: they repeat, and what they show is true."""

import math
from dataclasses import replace

import keras
import numpy as np
import pytest

from search.diagnosis import changes as c
from search.diagnosis import feeding
from search.diagnosis.changes import Change
from search.diagnosis.keras_fits import KerasTrainer
from tests.keras_tests.diagnosis.broken import HEALTHY, Network, conv, dense, stripes

IMAGES, LABELS = stripes()


def trainer(network: Network) -> KerasTrainer:
    case = network.case()
    raw = IMAGES.astype(np.float32)
    parts = feeding.split(LABELS, feeding.first_copies(IMAGES), 0)
    return KerasTrainer(case, raw, raw, LABELS, 2, parts, logits=False, learned=0.7, goal=0.7)


def quiet(done: int, of: int) -> None:
    assert 1 <= done <= of


DROPPING = replace(HEALTHY["raw pixels, normalized"], body=lambda: [
    *conv(4)(), keras.layers.BatchNormalization(), keras.layers.Dropout(0.3)], fit={"epochs": 3})  # fmt: skip


def test_a_seed_repeats_whether_or_not_another_fit_came_before() -> None:
    first = trainer(DROPPING)
    alone = trainer(DROPPING).fit(None, 2, 60, quiet)
    first.fit(None, 1, 60, quiet)
    after = first.fit(None, 2, 60, quiet)
    assert [epoch.loss for epoch in after.epochs] == pytest.approx([epoch.loss for epoch in alone.epochs], rel=1e-4)
    assert after.score == alone.score


def test_an_unchanged_fit_is_looked_at_from_all_sides() -> None:
    run = trainer(replace(HEALTHY["plain"], fit={"epochs": 3})).fit(None, 0, 60, quiet)
    assert len(run.epochs) == 3
    for epoch in run.epochs:
        numbers = (epoch.loss, epoch.val_loss, epoch.first_gradient, epoch.last_gradient, epoch.weight, epoch.update)
        assert all(math.isfinite(number) and number > 0 for number in numbers)
        assert 0 <= epoch.dead <= 1
    assert run.score == run.epochs[-1].val_score


def test_a_fit_out_of_time_is_ended() -> None:
    run = trainer(replace(HEALTHY["plain"], fit={"epochs": 500})).fit(None, 0, 1.0, quiet)
    assert run.stopped
    assert 0 < len(run.epochs) < 500


def test_a_fit_that_is_not_finite_ends_at_once() -> None:
    network = replace(HEALTHY["plain"], body=lambda: [keras.layers.Rescaling(1e30), *dense(8)()], loss="mse",
                      labels="onehot", end=lambda: [keras.layers.Dense(2)], fit={"epochs": 20})  # fmt: skip
    run = trainer(network).fit(None, 0, 60, quiet)
    assert not run.learned
    assert not run.epochs[-1].finite
    assert len(run.epochs) < 20


@pytest.mark.parametrize(
    ("edits", "error"),
    [((c.SetLabelForm("onehot"),), "ValueError"), ((c.SetUnits(("nothing",), 3), c.SetLearningRate(1e-3)), None)],
)
def test_a_change_that_does_not_fit_tells_its_error(edits: tuple[c.Edit, ...], error: str | None) -> None:
    change = Change(code="nan", summary="s", lines="l", size=1, edits=edits)
    run = trainer(replace(HEALTHY["plain"], fit={"epochs": 1})).fit(change, 0, 60, quiet)
    assert (run.error or "").startswith(error or "")
    assert bool(run.error) == bool(error)
