"""Searches that take a second or two with workers that answer at once, and what is compared of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from search.records import Fit, StudyRecord, Trial
from search.request import SearchRequest
from search.settings import Budget
from spaces.definitions import Choices, Fixed, Range
from spaces.presets import CORE

SMALL = CORE.changed(
    {
        "depth": Range(2, 5),
        "initializer": Fixed("he_normal"),
        "dropout": Fixed(0.0),
        "class_weighting": Fixed("none"),
        "oversampling": Fixed("none"),
        "batch_size": Choices((4, 8)),
        "head": Choices(("flatten", "average")),  # a pure ConvNet has one head left, which Optuna never hears of
    },
    name="small",
)


def small_request(images: Path, out: Path, trials: int = 5, **changes: Any) -> SearchRequest:
    """Return a request for some trials of three folds on tiny images, with some changes."""
    values: dict[str, Any] = {
        "data": images,
        "out": out,
        "space": SMALL,
        "budget": Budget(trials=trials, seconds=None, until_no_progress=False),
        "folds": 3,
        "epochs": 30,
        "image_size": 8,
    }
    return SearchRequest(**{**values, **changes})


def comparable(study: StudyRecord) -> list[tuple[Any, ...]]:
    """Return all of a study that must not depend on interruptions."""

    def fit(one: Fit) -> tuple[Any, ...]:
        return one.key, one.trial, one.fold, one.attempt, one.seed, one.verdict, one.reason, one.score

    def trial(one: Trial) -> tuple[Any, ...]:
        return one.number, one.state, one.configuration, one.reason, tuple(map(fit, one.fits))

    return [trial(one) for one in study.trials]
