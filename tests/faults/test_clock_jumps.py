"""A clock on the wall that somebody sets again and again, by up to a minute either way: a search keeps its hours."""

from __future__ import annotations

import os
import random
from dataclasses import replace
from pathlib import Path

import pytest

from search.events import SilentListener
from search.records import FitOutcome
from search.schedule.budget import Clock
from search.session import session
from search.storage.load import open_study
from search.training.job import FitJob
from tests.factories import make_images
from tests.small_searches import comparable, small_request
from tests.stand_ins import by_seed, fake_pools

pytestmark = [pytest.mark.study, pytest.mark.usefixtures("no_baselines")]

JUMP, FIT, HOURS = 60.0, 7.0, 100.0  # seconds
TRIALS, MOST = 16, 40


class Time:
    """Passes with each fit; the clock on the wall is set now and then, the other one is not."""

    def __init__(self, draw: random.Random | None) -> None:
        self._draw = draw
        self.passed, self.off = 0.0, 0.0

    def hands(self) -> float:
        return self.passed

    def wall(self) -> float:
        return 1.7e9 + self.passed + self.off

    def train(self, job: FitJob) -> FitOutcome:
        self.passed += FIT
        if self._draw is not None:
            self.off = self._draw.uniform(-JUMP, JUMP)
        return replace(by_seed(job), seconds=FIT)


def sessions(images: Path, out: Path, time: Time) -> list[float]:
    """One after the other, each with hours of its own, until the study is done. How long each took."""
    asked, took = small_request(images, out, trials=TRIALS), []

    while len(took) < MOST:
        began = time.hands()
        clock = Clock(3600.0, time.hands, until=time.wall() + HOURS, usual=HOURS, wall=time.wall)
        done = session.search(asked, SilentListener(), clock, fake_pools(time.train))
        took.append(time.hands() - began)
        assert done.results.study.seconds == pytest.approx(sum(took)), "what is spent does not hang on the wall"
        if done.is_last:
            return took
    raise AssertionError(f"not done after {MOST} sessions: {took}")


@pytest.mark.parametrize("seed", range(20 if "STEADYNET_FAULTS" in os.environ else 1))
def test_the_study_is_the_same_and_hours_are_off_by_no_more_than_the_clock_is(seed: int, tmp_path: Path) -> None:
    images = make_images(tmp_path / "images", 12)
    steady = sessions(images, tmp_path / "steady", Time(None))
    jumped = sessions(images, tmp_path / "jumped", Time(random.Random(seed)))
    assert len(steady) > 2
    assert len(jumped) > 2
    assert max(steady) <= HOURS
    assert max(jumped) <= HOURS + 2 * JUMP + FIT  # set forward before it began, and back afterwards
    assert comparable(open_study(tmp_path / "jumped")) == comparable(open_study(tmp_path / "steady"))
