"""The way from the user's configuration to the recommended one, with workers that answer at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from search.fits.runner import FitRunner, StudySetup
from search.records import ABLATION, SEARCH, Ablation, FitOutcome, Trial, TrialState, Verdict
from search.schedule.budget import ablation_seconds
from search.selection.ablation import FOLDS, most_fits
from search.stages.ablate import CUT_SHORT, NO_TIME, SAME, ablate, affordable_folds
from search.storage.ledger import Ledger
from search.training.job import FitJob, FitSpec
from spaces.config import FIELDS, Configuration
from tests.factories import configuration
from tests.stand_ins import FakePool, RecordingListener, memory, outcome

pytestmark = pytest.mark.slow

START = configuration(learning_rate=0.1, dropout=0.5, initializer="random_normal")
GOAL = configuration()
RATE = 1e-3


def learns_with_the_right_rate(job: FitJob) -> FitOutcome:
    """Only the learning rate decides whether it learns; dropout costs a little."""
    if job.configuration.learning_rate != RATE:
        return outcome(job, Verdict.COLLAPSED, "dead-layer", score=0.6, epochs=3)
    return outcome(job, score=0.8 - 0.1 * job.configuration.dropout, seconds=2.0)


def fitted(
    setup: StudySetup, ledger: Ledger, one: Configuration, answer: Callable[[FitJob], FitOutcome], folds: int = 3
) -> Trial:
    """A trial whose fits stand in the ledger."""
    from search.collapse.protection import Protection

    pool: Any = FakePool(answer)
    fits = []
    for fold in range(folds):
        split = setup.folds[fold]
        spec = FitSpec(trial=7, stage=SEARCH, configuration=one, train=split.train, val=split.val, fold=fold)
        with pool.worker() as worker:
            fits.append(FitRunner(setup, ledger).fit(worker, spec, Protection(calibrating=False)))
    return Trial(number=7, state=TrialState.COMPLETE, configuration=one, fits=tuple(fits))


class Case:
    """A study whose recommended trial stands in the ledger."""

    def __init__(self, setup: StudySetup, answer: Callable[[FitJob], FitOutcome] = learns_with_the_right_rate) -> None:
        self.setup, self.answer = setup, answer
        self.ledger = Ledger(memory(), "s")
        self.goal = fitted(setup, self.ledger, GOAL, answer)
        self.told = RecordingListener()
        self.jobs: list[FitJob] = []

    def run(self, start: Configuration = START, most: int = 1000, **changes: Any) -> Ablation:
        pool: Any = FakePool(self.answer, must_stop=lambda: len(pool.one.jobs) >= most)
        values = {"trials": [self.goal], **changes}
        with pool.worker() as worker:
            found = ablate(start, self.goal, values.pop("trials"), self.setup, self.ledger, worker, self.told, **values)
        self.jobs = pool.one.jobs
        return found


@pytest.fixture
def case(setup: StudySetup) -> Case:
    return Case(setup)


def test_the_change_that_makes_it_learn_is_found_and_said_with_its_gain(case: Case) -> None:
    found = case.run()
    assert [tuple(step.changes) for step in found.steps] == [("learning_rate",), ("dropout",), ("initializer",)]
    assert found.steps[0].changes == {"learning_rate": (0.1, RATE)}
    assert (found.start.score, found.start.reasons) == (0.5, ("dead-layer",) * 3)  # 0.6 by luck is not above chance
    assert [step.reached.score for step in found.steps] == pytest.approx([0.75, 0.79, 0.79])
    assert [step.instead and tuple(step.instead.changes) for step in found.steps] == [None, ("initializer",), None]
    assert found.steps[-1].reached.configuration == found.goal == GOAL.hash
    assert (found.note, found.cut_short, found.trials, found.folds) == ("", False, 0, FOLDS)


def test_what_stands_in_the_ledger_is_not_trained_again(case: Case) -> None:
    first = case.run()
    assert first.trained == len(case.jobs) == len({(job.seed, job.configuration.hash) for job in case.jobs})
    assert GOAL.hash not in {job.configuration.hash for job in case.jobs}
    second = case.run()
    assert case.jobs == []
    assert second == first
    stages = [fit.stage for fit in case.ledger.fits()]
    assert (stages.count(SEARCH), stages.count(ABLATION)) == (3, first.trained)


def test_a_fit_of_the_way_is_the_one_that_a_trial_would_do(case: Case) -> None:
    case.run()
    again = fitted(case.setup, case.ledger, START, lambda job: pytest.fail("trained again"))
    assert {fit.stage for fit in again.fits} == {ABLATION}


def test_the_cost_is_told_before_the_first_fit(case: Case) -> None:
    case.run()
    assert case.told.stages == ["Following 3 changes from your configuration: at most 8 x 3 fits, about 48 s"]
    assert all(done < total == 9 for done, total in case.told.done)


def test_no_more_configurations_than_differences_and_five_are_trained(setup: StudySetup) -> None:
    start = replace(START, kernel_size=5, width=8, batch_size=8, shift=0.1, zoom=0.1, activation="elu", head="max")

    def useless(job: FitJob) -> FitOutcome:
        """Every proposed change is a disappointment, so that each spare configuration is used."""
        changed = sum(getattr(job.configuration, name) != getattr(start, name) for name in FIELDS)
        return outcome(job, score=0.9 - 0.05 * changed)

    case = Case(setup, useless)
    found = case.run(start)
    assert len(found.steps) == 10
    assert sum(step.instead is not None for step in found.steps) == 5
    assert len({job.configuration.hash for job in case.jobs}) == 10 + 5


@pytest.mark.parametrize(("most", "steps"), [(3, 1), (6, 2), (7, 2)])
def test_when_the_time_is_over_the_last_step_takes_the_rest_and_a_later_start_goes_on(
    case: Case, most: int, steps: int
) -> None:
    found = case.run(most=most)
    assert (len(found.steps), found.cut_short, found.note) == (steps, True, CUT_SHORT)
    assert set().union(*(step.changes for step in found.steps)) == {"learning_rate", "initializer", "dropout"}
    whole = case.run()
    assert (len(whole.steps), whole.cut_short) == (3, False)
    assert whole.trained == len(case.jobs) + most


def test_without_any_time_it_says_so(case: Case) -> None:
    found = case.run(most=0)
    assert (found.steps, found.note, found.cut_short, found.start.scores) == ((), NO_TIME, True, ())


def test_the_recommended_configuration_itself_costs_nothing(case: Case) -> None:
    found = case.run(configuration(dense_ratio=0.32, weight_decay=0.1))
    assert (found.steps, found.note, found.trained, case.told.stages) == ((), SAME, 0, [])
    assert found.start.score == pytest.approx(0.79)


def test_a_configuration_that_can_not_be_trained_is_said_with_its_reason(setup: StudySetup) -> None:
    def answer(job: FitJob) -> FitOutcome:
        slow = job.configuration.hash == START.hash
        return outcome(job, Verdict.STOPPED, "too-slow") if slow else outcome(job)

    found = Case(setup, answer).run()
    assert (found.steps, found.note) == ((), "Your configuration could not be trained here (too-slow).")


def test_a_soft_collapse_gets_its_second_chance_as_in_a_trial(setup: StudySetup) -> None:
    def answer(job: FitJob) -> FitOutcome:
        if job.configuration.hash == START.hash and job.seed % 2:
            return outcome(job, Verdict.COLLAPSED, "constant-output")
        return outcome(job, score=0.8)

    case = Case(setup, answer)
    found = case.run()
    own = {(fit.fold, fit.attempt): fit for fit in case.ledger.fits() if fit.configuration == START.hash}
    for fold, score in enumerate(found.start.scores):
        attempts = [own[fold, attempt].verdict for attempt in (0, 1) if (fold, attempt) in own]
        assert len(attempts) == 1 + (attempts[0] is Verdict.COLLAPSED)
        assert score == pytest.approx(np.mean([0.8 if verdict is Verdict.LEARNED else 0.5 for verdict in attempts]))
    assert len(own) > 3


@pytest.mark.parametrize(("left", "folds"), [(None, 3), (100.0, 3), (60.0, 3), (59.0, 2), (0.0, 2)])
def test_with_little_time_there_are_fewer_folds(left: float | None, folds: int) -> None:
    assert affordable_folds(10, 2.0, left, 5) == folds
    assert affordable_folds(10, 2.0, left, 2) == 2


def test_the_way_takes_no_more_than_its_fits_or_its_share_of_the_limit(case: Case) -> None:
    fits = (3 + 5) * FOLDS
    assert (most_fits(START, case.goal.configuration), most_fits(GOAL, case.goal.configuration)) == (fits, 0)
    assert ablation_seconds(1e6, [START], case.goal) == fits * 2.0
    assert (ablation_seconds(100.0, [START], case.goal), ablation_seconds(100.0, [START], None)) == (10.0, 10.0)
    assert (ablation_seconds(None, [START], case.goal), ablation_seconds(100.0, [], case.goal)) == (0.0, 0.0)
