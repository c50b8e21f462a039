"""From scratch and pretrained, side by side."""

from __future__ import annotations

from dataclasses import replace

import pytest

from search.records import Trial, TrialState
from search.selection.families import families
from spaces.config import Configuration
from tests.reports import fake_results as fake

SCRATCH = fake.configuration(1)
FROZEN = fake.configuration(2, backbone="mobilenet_v2", trainable="frozen", statistics="kept", head="average")
OPEN = fake.configuration(3, backbone="mobilenet_v2", trainable="all", statistics="kept", head="max")


def trial(
    number: int, configuration: Configuration, score: float | None = None, state: TrialState | None = None
) -> Trial:
    """Judged where it has a score; with one fit of 10 seconds."""
    one = fake.trial(number, [score or 0.5])
    fits = (replace(one.fits[0], key=f"{number}", seconds=10.0),)
    ended = state or (TrialState.COMPLETE if score else TrialState.RACED)
    return replace(one, configuration=configuration, fits=fits, state=ended)


def test_nothing_is_set_side_by_side_without_a_backbone() -> None:
    assert families([trial(0, SCRATCH, 0.7)], []) == ()


def test_each_kind_has_a_row_the_best_first() -> None:
    trials = [
        trial(0, SCRATCH, 0.60),
        trial(1, SCRATCH, 0.70),
        trial(2, FROZEN, 0.80),
        trial(3, FROZEN, 0.90),
        trial(4, FROZEN, 0.86),
        trial(5, FROZEN),
        trial(6, OPEN, state=TrialState.COLLAPSED),
        trial(7, OPEN, state=TrialState.INTERRUPTED),
    ]
    ranking = [
        replace(fake._ranked(one, healthy=True), pooled=one.fits[0].score, se=0.01)
        for one in trials
        if one.state is TrialState.COMPLETE
    ]
    rows = families(trials, ranking)
    assert [(row.backbone, row.trainable) for row in rows] == [
        ("mobilenet_v2", "frozen"),
        ("none", ""),
        ("mobilenet_v2", "all"),
    ]
    assert [(row.trials, row.judged, row.collapsed) for row in rows] == [(4, 3, 0), (2, 2, 0), (1, 0, 1)]
    assert [row.best for row in rows] == pytest.approx([0.90, 0.70, None])
    assert [row.median for row in rows] == pytest.approx([0.86, 0.65, None])
    assert [row.trial for row in rows] == [3, 1, None]
    assert [row.seconds for row in rows] == [40.0, 20.0, 10.0]
