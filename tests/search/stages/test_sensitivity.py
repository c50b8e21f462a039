"""Variants of the recommended configuration, with workers that answer at once."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
import sqlalchemy as sa

from search.collapse.protection import Protection
from search.fits.executor import LocalExecutor
from search.fits.runner import FitRunner, StudySetup
from search.records import (
    ABLATION,
    NEIGHBOUR,
    SEARCH,
    Fit,
    FitOutcome,
    Sensitivity,
    Trial,
    TrialState,
    Variant,
    Verdict,
)
from search.selection.perturbations import perturbed
from search.stages.sensitivity import fit_variants, seconds_needed
from search.storage.database import open_storage
from search.storage.ledger import Ledger
from search.storage.load import read_trials, restored_sensitivity, stored_sensitivity
from search.storage.trial_attributes import CONFIGURATION, PLACE
from search.training.job import FitJob, FitSpec
from spaces.presets import CORE
from tests.factories import configuration
from tests.stand_ins import FakePool, RecordingListener, memory, outcome

pytestmark = pytest.mark.slow

CENTRE = configuration()
VARIANTS = perturbed(CENTRE, CORE, 6, np.random.default_rng(0))


def well(job: FitJob) -> FitOutcome:
    return outcome(job, score=0.8, seconds=2.0)


def fitted(setup: StudySetup, ledger: Ledger, one: Any, number: int, folds: int, stage: str = SEARCH) -> Trial:
    """A trial whose fits stand in the ledger."""
    fits = []
    for fold in range(folds):
        split = setup.folds[fold]
        spec = FitSpec(
            trial=number, stage=stage, split=SEARCH, configuration=one, train=split.train, val=split.val, fold=fold
        )
        fits.append(FitRunner(setup, ledger).fit(FakePool(well).one, spec, Protection(calibrating=False)))
    return Trial(number=number, state=TrialState.COMPLETE, configuration=one, fits=tuple(fits))


class Case:
    """A study whose recommended trial stands in the ledger."""

    def __init__(self, setup: StudySetup, engine: sa.Engine | None = None) -> None:
        self.setup, self.ledger, self.told = setup, Ledger(engine or memory(), "s"), RecordingListener()
        self.best = fitted(setup, self.ledger, CENTRE, 7, 3)
        self.jobs: list[FitJob] = []

    def run(
        self,
        answer: Callable[[FitJob], FitOutcome] = well,
        variants: tuple[Variant, ...] = VARIANTS,
        most: int = 1000,
        pool: Any = None,
        left: float | None = None,
        folds: int = 1,
    ) -> Sensitivity:
        fake: Any = FakePool(answer, must_stop=lambda: len(fake.one.jobs) >= most)
        found = fit_variants(
            *(self.best, variants, self.setup, self.ledger, LocalExecutor(pool or fake), self.told),
            trials=[self.best],
            left=left,
            folds=folds,
        )
        self.jobs = fake.one.jobs
        return found

    def fits(self) -> list[Fit]:
        return [fit for fit in self.ledger.fits() if fit.stage == NEIGHBOUR]


@pytest.fixture
def case(setup: StudySetup) -> Case:
    return Case(setup)


def test_each_variant_is_fitted_once_on_the_first_fold(case: Case) -> None:
    found = case.run()
    assert found == Sensitivity(centre=CENTRE.hash, folds=1, variants=VARIANTS)
    assert [job.configuration for job in case.jobs] == [variant.configuration for variant in VARIANTS]
    assert {(fit.trial, fit.fold, fit.repeat, fit.verdict) for fit in case.fits()} == {(7, 0, 0, Verdict.LEARNED)}
    assert {tuple(job.val) for job in case.jobs} == {tuple(case.setup.folds[0].val)}


def test_the_cost_is_told_first_and_then_how_far_it_is(case: Case) -> None:
    case.run()
    text = "Trying 6 variants of the recommended configuration: at most 6 x 1 fits, about 12 s"
    assert (case.told.stages, case.told.done) == ([text], [(done, 6) for done in range(1, 7)])
    assert (seconds_needed(case.best, 6, workers=1, folds=1), seconds_needed(case.best, 7, workers=2, folds=3)) == (
        12.0,
        24.0,
    )


def test_without_variants_nothing_is_reported_or_done(case: Case) -> None:
    assert case.run(variants=()).variants == ()
    assert (case.told.stages, case.told.done, case.jobs) == ([], [], [])


def test_more_folds_and_no_more_than_there_are(case: Case) -> None:
    assert case.run(folds=5).folds == 3
    assert len(case.fits()) == 3 * len(VARIANTS)


def test_what_stands_in_the_ledger_is_not_trained_again_and_needs_no_time(case: Case) -> None:
    first = case.run()
    assert case.run(answer=lambda job: pytest.fail("trained again"), left=0.0) == first


def test_when_the_search_is_told_to_end_the_rest_is_left_out_and_a_later_start_goes_on(case: Case) -> None:
    assert case.run(most=2).variants == VARIANTS[:2]
    assert case.run().variants == VARIANTS
    assert len(case.jobs) == len(VARIANTS) - 2


def test_a_variant_that_got_only_some_of_its_folds_is_left_out(case: Case) -> None:
    assert case.run(most=5, folds=2).variants == VARIANTS[:2]


@pytest.mark.parametrize(("left", "judged"), [(0.0, 0), (1.9, 0), (2.0, 1), (7.0, 3), (None, 6)])
def test_no_fit_is_begun_that_would_not_end_in_time(
    left: float | None, judged: int, case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "monotonic", lambda: 100.0 + 2.0 * len(case.fits()))
    assert case.run(left=left).variants == VARIANTS[:judged]


def test_one_that_collapses_is_kept_with_its_second_chance_one_that_was_not_judged_is_not(case: Case) -> None:
    verdicts = {
        variant.configuration.hash: verdict
        for variant, verdict in zip(VARIANTS, ["soft", "hard", "slow"], strict=False)
    }

    def answer(job: FitJob) -> FitOutcome:
        match verdicts.get(job.configuration.hash):
            case "soft":
                return outcome(job, Verdict.COLLAPSED, "constant-output")
            case "hard":
                return outcome(job, Verdict.COLLAPSED, "dead-layer")
            case "slow":
                return outcome(job, Verdict.STOPPED, "too-slow")
        return well(job)

    assert case.run(answer).variants == (*VARIANTS[:2], *VARIANTS[3:])
    soft, hard, slow = (
        [f.attempt for f in case.fits() if f.configuration == c.configuration.hash] for c in VARIANTS[:3]
    )
    assert (soft, hard, slow) == ([0, 1], [0], [0])


def test_several_workers_share_the_variants_and_change_nothing(setup: StudySetup, tmp_path: Path) -> None:
    alone, together = Case(setup), Case(setup, open_storage(tmp_path, None).engine)
    alone.run(pool=None)
    pool = Pair()
    assert together.run(pool=pool).variants == VARIANTS
    assert pool.most == 2
    assert [fit.key for fit in together.fits()] == [fit.key for fit in alone.fits()]
    assert [done for done, _ in together.told.done] == [1, 2, 3, 4, 5, 6]


class Pair:
    """A pool of two workers of which the first waits for the second to begin."""

    def __init__(self) -> None:
        self._free, self._both = threading.Semaphore(2), threading.Barrier(2)
        self._lock, self._busy, self.most = threading.Lock(), 0, 0

    def __len__(self) -> int:
        return 2

    @contextmanager
    def worker(self) -> Iterator[Pair]:
        with self._free:
            yield self

    def run(self, job: FitJob, on_check: object = None, *, alone: bool = False) -> FitOutcome:
        with self._lock:
            self._busy += 1
            self.most = max(self.most, self._busy)
        self._both.wait(10)
        with self._lock:
            self._busy -= 1
        return well(job)


@pytest.mark.parametrize("stage", [NEIGHBOUR, ABLATION])
def test_a_fit_of_a_variant_is_the_one_that_a_later_trial_would_do_and_counts_for_it(stage: str, case: Case) -> None:
    if stage == NEIGHBOUR:
        case.run()
    else:
        fitted(case.setup, case.ledger, VARIANTS[0].configuration, 7, 1, ABLATION)
    later = fitted(case.setup, case.ledger, VARIANTS[0].configuration, 8, 3)
    assert [fit.stage for fit in later.fits] == [stage, SEARCH, SEARCH]
    study = optuna.create_study()
    for trial in (case.best, later):
        told = optuna.trial.create_trial(
            value=0.8,
            intermediate_values={1: 0.8, 2: 0.8, 3: 0.8},
            user_attrs={
                PLACE: trial.number,
                CONFIGURATION: trial.configuration.as_dict(),
                "state": trial.state.value,
            },
        )
        study.add_trial(told)
    read = read_trials(case.ledger, study)
    assert [[fit.key for fit in trial.fits] for trial in read] == [
        [fit.key for fit in trial.fits] for trial in (case.best, later)
    ]


def test_a_record_of_sensitivity_holds_plain_values(case: Case) -> None:
    found = case.run()
    stored = json.loads(json.dumps(stored_sensitivity(found)))
    assert stored["copies"][0]["changes"] == {key: list(ends) for key, ends in VARIANTS[0].changes.items()}
    assert restored_sensitivity(stored) == found
