"""What ends early: configurations that are known to take too long, and a search that brings nothing more."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest

from search.fit_checks import Check, Checks
from search.fits.runner import StudySetup
from search.optimize.early_stopping import FinishedTrials, SlowConfigurations, no_more_progress
from search.records import TOO_SLOW, Fit, Trial, TrialState, Verdict
from search.selection import successive_halving
from spaces.config import Configuration
from tests.factories import configuration

NOTHING = np.zeros(0, np.int64)


def on_backbone(**changes: Any) -> Configuration:
    tuned = {"backbone": "mobilenet_v2", "head": "average", "trainable": "last_block", "batch_size": 32}
    return configuration(**{**tuned, **changes})


def fit(seconds: float = 30.0, reason: str | None = TOO_SLOW) -> Fit:
    return Fit(
        key="k", trial=0, stage="search", configuration="c", repeat=0, fold=0, attempt=0, seed=0, rows=NOTHING,
        verdict=Verdict.STOPPED, reason=reason, epochs=3, epochs_planned=30, evidence={"epoch_seconds": 10.0},
        seconds=seconds,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "is_slow"),
    [
        ({}, True),
        ({"trainable": "all"}, True),
        ({"backbone": "resnet50"}, True),
        ({"learning_rate": 0.1, "dropout": 0.5, "batch_size": 8}, True),
        ({"trainable": "frozen", "statistics": "adapted"}, False),  # less is trained
        ({"backbone": "mobilenet_025", "trainable": "all"}, False),  # a smaller one
        ({"trainable": "frozen", "statistics": "kept"}, False),  # runs once
        ({"backbone": "none"}, False),
    ],
)
def test_whatever_costs_no_less_is_too_slow_too(changes: dict[str, Any], is_slow: bool) -> None:
    slow = SlowConfigurations()
    slow.add(on_backbone(), [fit()])
    found = slow.too_slow(on_backbone(**changes), epochs=30, limit=100.0)
    assert found == ({"epoch_seconds": 10.0, "limit_seconds": 100.0} if is_slow else None)


@pytest.mark.parametrize(("limit", "batch", "is_slow"), [(340.0, 32, True), (350.0, 32, False), (None, 32, False),
                                                      (220.0, 64, True), (240.0, 64, False)])  # fmt: skip
def test_the_limit_of_now_counts_and_a_larger_batch_may_be_faster(
    limit: float | None, batch: int, is_slow: bool
) -> None:
    slow = SlowConfigurations()
    slow.add(on_backbone(), [fit()])
    assert (slow.too_slow(on_backbone(batch_size=batch), epochs=30, limit=limit) is not None) is is_slow


@pytest.mark.parametrize(
    ("slow_side", "side", "is_slow"),
    [(224, 224, True), (160, 224, True), (224, 160, False), (224, 0, False), (0, 160, False), (0, 0, True)],
)
def test_smaller_images_may_be_fast_enough(slow_side: int, side: int, is_slow: bool) -> None:
    slow = SlowConfigurations()
    slow.add(on_backbone(resolution=slow_side), [fit()])
    found = slow.too_slow(on_backbone(resolution=side, trainable="all"), epochs=30, limit=100.0)
    assert (found is not None) is is_slow


def test_rungs_are_within_a_family(setup: StudySetup) -> None:
    """What heads on a backbone reach at a rung ends no network from scratch."""
    usual: dict[str, Any] = {**{field.name: 0.5 for field in fields(Check)}, "updates": 8, "finite": True}
    checks = Checks.of([Check(**{**usual, "epoch": epoch, "val_skill": 0.9}) for epoch in range(1, 31)])
    learned = replace(fit(reason=None), verdict=Verdict.LEARNED, epochs=30, evidence={}, checks=checks)
    raced = [
        Trial(number=number, state=TrialState.RACED, configuration=on_backbone(), fits=(learned,))
        for number in range(successive_halving.LEAST)
    ]
    finished = FinishedTrials(setup, raced)
    assert finished.bars("pretrained")
    assert finished.bars("scratch") == ()


def test_only_what_was_timed_teaches() -> None:
    slow = SlowConfigurations()
    slow.add(on_backbone(), [fit(seconds=0.0), fit(reason="behind")])
    slow.add(configuration(), [fit()])
    assert slow.too_slow(on_backbone(), epochs=30, limit=1.0) is None


FLAT = [0.7] * 60
RISING = [0.5 + 0.005 * place for place in range(60)]


@pytest.mark.parametrize(
    ("best_scores", "error", "over"),
    [
        ([], 0.05, False),
        (FLAT[:39], 0.05, False),  # too early to tell
        (FLAT[:40], 0.05, True),
        (FLAT, None, False),  # nothing known of the error
        (RISING, 0.05, False),
        ([*FLAT, 0.709], 0.05, True),  # less than a fifth of 0.05
        ([*FLAT, 0.711], 0.05, False),
        ([0.5, *FLAT], 0.05, True),  # the gain lies long ago
    ],
)
def test_when_the_last_third_brought_nothing(best_scores: list[float], error: float | None, over: bool) -> None:
    assert no_more_progress(best_scores, error) is over
