"""Checks and contexts to begin from."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from search.collapse.protection import Protection
from search.collapse.rules import FitContext
from search.fit_checks import Check

H = math.log(2)
OPEN = Protection(calibrating=False)  # enough earlier trials, none of them any good

MakeCheck = Callable[..., Check]
MakeChecks = Callable[..., list[Check]]


@pytest.fixture
def stuck() -> MakeCheck:
    """A check of a fit that sits at the prior: one class, no skill, nothing moves; its structure is sound."""

    def make(epoch: int = 1, **changes: Any) -> Check:
        values: dict[str, Any] = {
            "epoch": epoch,
            "updates": 20 * epoch,
            "train_loss": H,
            "train_skill": 0.0,
            "val_loss": H,
            "val_skill": 0.0,
            "score": 0.5,
            "auc": 0.5,
            "top_share": 1.0,
            "logit_spread": 0.05,
            "dead_share": 0.2,
            "first_gradient": 1e-2,
            "last_gradient": 1e-1,
            "update_ratio": 1e-3,
            "finite": True,
            "warmth": 1.0,
        }
        values |= changes
        return Check(**values)

    return make


@pytest.fixture
def curve(stuck: MakeCheck) -> MakeChecks:
    """Checks by validation skill; training follows, and other fields may be given as one value or one each."""

    def make(skills: Sequence[float], *, every: int = 1, **changes: Any) -> list[Check]:
        checks = []
        for place, skill in enumerate(skills):
            values = {
                name: value[place] if isinstance(value, list | tuple) else value for name, value in changes.items()
            }
            loss = (1 - skill) * H
            fitting = {"val_skill": skill, "train_skill": skill, "val_loss": loss, "train_loss": loss}
            fitting["auc"] = 0.7 if skill >= 0.01 else 0.5
            checks.append(stuck((place + 1) * every, **{**fitting, **values}))
        return checks

    return make


@pytest.fixture
def context() -> Callable[..., FitContext]:
    """Sixty epochs of twenty updates, two even classes, no BatchNorm, protection by nothing."""

    def make(**changes: Any) -> FitContext:
        values: dict[str, Any] = {
            "epochs": 60,
            "updates_per_epoch": 20,
            "imbalance": 1.0,
            "batchnorm": False,
            "prior_entropy": H,
            "protected": OPEN,
        }
        return FitContext(**{**values, **changes})

    return make
