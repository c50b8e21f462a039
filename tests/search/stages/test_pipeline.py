"""What follows the search, from the command's request to the results, with workers that answer at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from search import seeds
from search.events import SilentListener
from search.records import CONFIRM, NEIGHBOUR, FitOutcome, StudyRecord
from search.schedule.budget import Clock
from search.selection.results import Results
from search.session import session
from search.settings import Budget
from search.storage.load import open_study
from search.training.job import FitJob
from tests.factories import make_images
from tests.small_searches import small_request
from tests.stand_ins import FakePool, outcome

pytestmark = [pytest.mark.study, pytest.mark.usefixtures("no_baselines")]

COST = 2.0  # seconds a fit


def learns(job: FitJob) -> FitOutcome:
    """Networks that know the classes, each as well as its hash has it; the first half of the rows is class 0."""
    quality = 0.75 + 0.2 * seeds.share(0, "quality", job.configuration.hash)
    rng = np.random.default_rng(job.seed)
    labels = (job.val >= 12).astype(int)
    right = rng.random(len(labels)) < quality
    sure = np.where(right == (labels == 1), 0.9, 0.1)
    probabilities = np.stack([1 - sure, sure], axis=1).astype(np.float32)
    return outcome(job, score=float(right.mean()) if len(right) else None, seconds=COST, probabilities=probabilities)


class Hours:
    """A clock's hands, moved by fits alone."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Case:
    """A request, and the fits that were asked for."""

    def __init__(self, images: Path, out: Path, **changes: Any) -> None:
        self.request = small_request(images, out, **{"trials": 12, **changes})
        self.hands = Hours()
        self.jobs: list[FitJob] = []

    def run(self, clock: Clock | None = None, most: int = 10_000) -> Results:
        def answer(job: FitJob) -> FitOutcome:
            self.jobs.append(job)
            self.hands.now += COST
            return learns(job)

        clock = clock or Clock(now=self.hands)
        self.jobs = []

        def make_pool(resources: object, must_stop: Callable[[], bool]) -> Any:
            def stop() -> bool:
                if len(self.jobs) >= most:
                    clock.stop_requested.set()
                return must_stop()

            return FakePool(answer, must_stop=stop)

        return session.search(self.request, SilentListener(), clock, make_pool).results


def fits(study: StudyRecord, stage: str) -> list[tuple[Any, ...]]:
    return sorted(
        (fit.key, fit.configuration, fit.repeat, fit.fold, fit.score) for fit in study.further if fit.stage == stage
    )


def gist(results: Results) -> tuple[Any, ...]:
    """All that must not depend on interruptions."""
    study, best = results.study, results.recommended
    assert best is not None
    return (
        fits(study, CONFIRM),
        fits(study, NEIGHBOUR),
        study.confirmation,
        study.sensitivity,
        best.promise,
        best.offset,
        [(one.trial.number, one.robust) for one in results.finalists],
    )


@pytest.fixture(scope="module")
def undisturbed(images: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, ...]:
    return gist(Case(images, tmp_path_factory.mktemp("undisturbed")).run())


def test_finalists_then_sensitivity(images: Path, tmp_path: Path) -> None:
    case = Case(images, tmp_path)
    results = case.run()
    study, best = results.study, results.recommended
    assert best is not None
    assert best.promise.stages == 2
    assert best.finalist is results.finalists[0]
    searched = sum(len(trial.fits) for trial in study.trials)
    assert 0 < len(fits(study, CONFIRM)) <= 0.43 * searched
    assert study.sensitivity is not None
    assert study.sensitivity.centre == best.finalist.trial.configuration.hash
    assert results.neighbourhood is not None
    assert results.on_images is not None
    assert results.on_images.confusion.sum() == 24
    assert case.run().study.confirmation == study.confirmation
    assert case.jobs == []  # nothing is left to do


@pytest.mark.parametrize("every", [5, 11])
def test_ended_again_and_again_it_comes_out_the_same(
    images: Path, tmp_path: Path, undisturbed: tuple[Any, ...], every: int
) -> None:
    case, ends = Case(images, tmp_path), 0
    while True:
        results = case.run(most=every)
        if len(case.jobs) < every:
            break
        ends += 1
        assert results.recommended is None or results.recommended.ranked is not None
    assert ends >= 2
    assert gist(results) == undisturbed
    assert fits(open_study(tmp_path), CONFIRM) == undisturbed[0]


@pytest.mark.parametrize("seconds", [120.0, 240.0])
def test_everything_has_its_share_of_the_time(images: Path, tmp_path: Path, seconds: float) -> None:
    test = make_images(tmp_path / "test", 4)
    case = Case(
        images, tmp_path / "out", budget=Budget(trials=None, seconds=seconds, until_no_progress=False), test=test
    )
    results = case.run(Clock(seconds, now=case.hands))
    study = results.study
    searched = COST * sum(len(trial.fits) for trial in study.trials)
    after = COST * (len(fits(study, CONFIRM)) + len(fits(study, NEIGHBOUR)))
    assert study.plan.confirm_seconds == pytest.approx(0.3 * seconds)
    assert case.hands.now <= seconds
    assert searched <= 0.7 * seconds
    assert 0.1 * seconds <= after <= 0.3 * seconds + 3 * COST
    assert results.recommended is not None
    assert results.recommended.promise.stages == 2


def test_a_little_more_time_is_used(images: Path, tmp_path: Path) -> None:
    """The finalists have had their share: what is added goes to the search, but for three tenths."""
    case = Case(images, tmp_path, budget=Budget(trials=None, seconds=120.0, until_no_progress=False))
    first = case.run(Clock(120.0, now=case.hands))
    spent = case.hands.now
    more = Case(images, tmp_path, budget=Budget(trials=None, seconds=160.0, until_no_progress=False))
    second = more.run(Clock(160.0, now=more.hands))
    assert spent > 90
    assert len(second.study.trials) > len(first.study.trials)
    assert spent + more.hands.now <= 160
    assert second.study.confirmation is not None
    assert first.study.confirmation is not None
    assert second.study.confirmation.repeats >= first.study.confirmation.repeats


def test_a_study_that_goes_on_confirms_its_new_best_as_well(images: Path, tmp_path: Path) -> None:
    first = Case(images, tmp_path).run()
    more = Case(images, tmp_path, budget=Budget(trials=24, seconds=None, until_no_progress=False))
    second = more.run()
    known = {fit.key for fit in first.study.further}
    assert {fit.key for fit in second.study.further} >= known
    assert second.study.confirmation is not None
    assert len(second.study.confirmation.finalists) >= len(first.finalists)
    asked = {(job.configuration.hash, job.seed) for job in more.jobs}
    assert not {(fit.configuration, fit.seed) for fit in first.study.further} & asked


def test_nothing_healthy_is_not_confirmed(images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    case = Case(images, tmp_path)
    monkeypatch.setitem(
        globals(), "learns", lambda job: replace(outcome(job), score=0.5, probabilities=np.full((len(job.val), 2), 0.5))
    )
    results = case.run()
    assert (results.recommended, results.finalists, results.study.confirmation) == (None, (), None)
    assert results.reason == "no healthy configuration"
