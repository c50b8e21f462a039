"""Studies made up from numbers: what fits would have left, without any training."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from search.records import DataSummary, Fit, StudyRecord, Trial, TrialState, Verdict
from search.selection.metrics import score
from search.settings import Identity, Plan, TrainingProtocol
from spaces.config import Configuration
from spaces.image_format import ImageFormat
from tests.factories import configuration

EPOCHS = 10

MakeConfiguration = Callable[..., Configuration]
MakeTrial = Callable[..., Trial]
MakeStudy = Callable[..., StudyRecord]


def probabilities(labels: np.ndarray, quality: float, rng: np.random.Generator, classes: int) -> np.ndarray:
    """Probabilities `(n, K)` of a network whose logits favour the true class by `quality`, among noise of 1."""
    logits = rng.normal(size=(len(labels), classes)) + quality * np.eye(classes)[labels]
    shares = np.exp(logits)
    return (shares / shares.sum(axis=1, keepdims=True)).astype(np.float32)


def trial(
    labels: np.ndarray,
    number: int = 0,
    quality: float = 1.0,
    folds: int = 3,
    metric: str = "balanced_accuracy",
    collapsed: Sequence[int] = (),
    run: int | None = None,
    state: TrialState | None = None,
    seconds: float = 1.0,
    changes: Mapping[str, Any] | None = None,
) -> Trial:
    """A trial on folds `row % folds`; `collapsed` folds end after two epochs without probabilities."""
    rng = np.random.default_rng(number)
    chosen = configuration(**{"learning_rate": 1e-4 * (number + 1), **(changes or {})})
    classes = int(labels.max()) + 1
    fits = []
    for fold in range(folds if run is None else run):
        rows = np.flatnonzero(np.arange(len(labels)) % folds == fold)
        common: dict[str, Any] = {
            "key": f"{chosen.hash}-{fold}",
            "trial": number,
            "stage": "search",
            "configuration": chosen.hash,
            "repeat": 0,
            "fold": fold,
            "attempt": 0,
            "seed": 0,
            "epochs_planned": EPOCHS,
            "seconds": seconds,
        }
        if fold in collapsed:
            fits.append(Fit(**common, verdict=Verdict.COLLAPSED, reason="dead-layer", epochs=2))
            continue
        given = probabilities(labels[rows], quality, rng, classes)
        value = score(metric, labels[rows], given)
        skill = score("skill", labels[rows], given)
        fits.append(
            Fit(
                **common,
                verdict=Verdict.LEARNED,
                epochs=EPOCHS,
                score=value,
                skill=skill,
                rows=rows,
                probabilities=given,
            )
        )
    if state is None:
        state = TrialState.COLLAPSED if collapsed else TrialState.COMPLETE
    return Trial(number=number, state=state, configuration=chosen, fits=tuple(fits))


def study(
    labels: np.ndarray,
    trials: Sequence[Trial] = (),
    metric: str = "balanced_accuracy",
    folds: int = 3,
    groups: np.ndarray | None = None,
    **changes: Any,
) -> StudyRecord:
    classes = int(labels.max()) + 1
    names = {f"class {k}": int((labels == k).sum()) for k in range(classes)}
    record = StudyRecord(
        name="made up",
        data=DataSummary(
            folder="images",
            fingerprint="f",
            classes=names,
            images=len(labels),
            quarantined={},
            image_size=32,
            size_reason="",
            channels=3,
            groups=None,
        ),
        labels=labels,
        groups=groups,
        identity=Identity(
            fingerprint="f",
            groups=None,
            image_size=32,
            folds=folds,
            epochs=EPOCHS,
            seed=0,
            metric=metric,
            space="s",
        ),
        plan=Plan(epochs=EPOCHS, folds=folds, search_seconds=None, final_seconds=0.0, fit_seconds=None),
        protocol=TrainingProtocol(epochs=EPOCHS, images=ImageFormat(image_size=32, channels=3), classes=classes),
        settings={},
        trials=tuple(trials),
        seconds=1.0,
        device="cpu",
        versions={},
        command="",
    )
    return replace(record, **changes)


@pytest.fixture
def make_configuration() -> MakeConfiguration:
    return configuration


@pytest.fixture
def make_trial() -> MakeTrial:
    return trial


@pytest.fixture
def make_study() -> MakeStudy:
    return study


@pytest.fixture
def labels() -> np.ndarray:
    """Ninety images of three classes, 15 : 30 : 45, in a fixed random order."""
    return np.random.default_rng(0).permutation(np.repeat([0, 1, 2], [15, 30, 45]))
