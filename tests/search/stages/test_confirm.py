"""Finalists fitted again, with workers that answer at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa

from search.fits.executor import LocalExecutor
from search.fits.runner import StudySetup
from search.records import COLLAPSES, CONFIRM, DROPPED_BEHIND, NO_TIME, NOT_JUDGED, Confirmation, FitOutcome, Verdict
from search.selection.results import Ranked
from search.stages.confirm import _tries_corrupted, confirm
from search.stages.confirmation_plan import confirmed_fits, plan_confirmation
from search.storage.ledger import Ledger
from search.training.job import FitJob
from search.workers.errors import WorkerError
from tests.factories import configuration
from tests.search.stages.test_ablate import fitted
from tests.stand_ins import FakePool, RecordingListener, memory, outcome

pytestmark = pytest.mark.slow

RATES = (1e-3, 2e-3, 4e-3)
STEADY = {1e-3: 0.80, 2e-3: 0.798, 4e-3: 0.60}


def by_rate(job: FitJob) -> FitOutcome:
    """The learning rate decides the score, give or take what the seed does."""
    luck = np.random.default_rng(job.seed).normal(0, 0.01)
    return outcome(job, score=STEADY[job.configuration.learning_rate] + luck, seconds=2.0)


class Case:
    """Three finalists of a search on three folds."""

    def __init__(
        self, setup: StudySetup, answer: Callable[[FitJob], FitOutcome] = by_rate, engine: sa.Engine | None = None
    ) -> None:
        self.setup, self.answer, self.told = setup, answer, RecordingListener()
        self.ledger = Ledger(engine or memory(), "s")
        self.ranking = []
        for rate in RATES:
            trial = fitted(setup, self.ledger, configuration(learning_rate=rate), by_rate)
            folds = tuple(fit.score or 0.0 for fit in trial.fits)
            mean = float(np.mean(folds))
            self.ranking.append(
                Ranked(
                    trial=trial,
                    pooled=mean,
                    folds=folds,
                    mean=mean,
                    se=0.01,
                    worst=min(folds),
                    collapse_rate=0.0,
                    healthy=True,
                )
            )
        self.names = tuple(one.trial.configuration.hash for one in self.ranking)
        self.jobs: list[FitJob] = []

    def plan(self, **changes: Any) -> Confirmation:
        values: dict[str, Any] = {"seconds": None, "searched": 1000, **changes}
        made = plan_confirmation(self.ranking, self.setup.labels, None, 3, **values)
        assert made is not None
        return made

    def run(
        self, plan: Confirmation | None = None, most: int = 10_000, left: float | None = None, workers: int = 1
    ) -> Confirmation:
        pool: Any = FakePool(self.answer, must_stop=lambda: len(pool.one.jobs) >= most, workers=workers)
        found = confirm(
            plan or self.plan(),
            self.ranking,
            None,
            self.setup,
            self.ledger,
            LocalExecutor(pool),
            self.told,
            lambda: left,
        )
        self.jobs = pool.one.jobs
        return found


@pytest.fixture
def case(setup: StudySetup) -> Case:
    return Case(setup)


def test_all_are_fitted_on_the_same_fresh_splits_until_they_are_clearly_behind(case: Case) -> None:
    found = case.run()
    assert (found.repeats, found.planned, found.folds) == (5, 5, 3)
    assert found.dropped == {case.names[2]: DROPPED_BEHIND}
    fits = [fit for fit in case.ledger.fits() if fit.stage == CONFIRM]
    by_finalist = [[fit for fit in fits if fit.configuration == name] for name in case.names]
    assert [len(ours) for ours in by_finalist] == [15, 15, 3]
    first, second = ([fit.rows.tolist() for fit in ours] for ours in by_finalist[:2])
    assert first == second
    assert not {tuple(rows) for rows in first} & {tuple(fold.val.tolist()) for fold in case.setup.folds}
    assert len({fit.seed for fit in fits}) == len(fits)


def test_the_cost_is_told_and_the_progress_ends_at_its_total(case: Case) -> None:
    case.run()
    assert case.told.stages == ["Confirming 3 finalists: up to 15 fits each, on fresh splits with fresh seeds"]
    assert case.told.done[0] == (1, 45)
    assert case.told.done[-1] == (33, 33)


@pytest.mark.parametrize(("planned", "tried"), [(1, []), (2, [1]), (5, [4])])
def test_heads_are_tried_on_corrupted_images_last(planned: int, tried: list[int]) -> None:
    """All copies go through the backbone: a hundred times what a fit costs."""
    head = configuration(backbone="mobilenet_v2", trainable="frozen", statistics="kept", head="average")
    assert [repeat for repeat in range(planned) if _tries_corrupted(head, repeat, planned)] == tried
    assert [repeat for repeat in range(planned) if _tries_corrupted(configuration(), repeat, planned)] == [0]


def test_only_the_first_repeat_is_tried_on_corrupted_images(case: Case) -> None:
    case.run()
    assert sum(job.corrupt for job in case.jobs) == 9


def test_what_stands_in_the_ledger_is_not_trained_again(case: Case) -> None:
    first = case.run()
    assert case.run() == first
    assert case.jobs == []


@pytest.mark.study
@pytest.mark.parametrize("killed_after", [0, 1, 4, 9, 14, 29])
def test_cut_off_at_any_fit_it_goes_on_as_if_nothing_had_been(case: Case, setup: StudySetup, killed_after: int) -> None:
    whole = Case(setup).run()
    cut = case.run(most=killed_after)
    assert cut.repeats < cut.planned
    again = case.run(cut)
    assert again == whole
    assert len(case.jobs) == 33 - killed_after


@pytest.mark.parametrize(
    ("most", "repeats", "dropped"),
    [(0, 0, ()), (2, 0, ()), (3, 1, (1, 2)), (8, 1, (2,)), (10, 1, (2,)), (20, 2, (2,))],
)
def test_when_the_time_is_over_whole_repeats_count(
    case: Case, most: int, repeats: int, dropped: tuple[int, ...]
) -> None:
    found = case.run(most=most)
    assert found.repeats == repeats
    assert set(found.dropped) == {case.names[place] for place in dropped}
    assert set(found.dropped.values()) <= {NO_TIME, DROPPED_BEHIND}


def test_no_repeat_is_begun_that_can_not_end_in_time(case: Case) -> None:
    found = case.run(left=7.0)  # a repeat of two finalists takes 12 s
    assert (found.repeats, len(case.jobs)) == (1, 9)


def test_who_collapses_more_than_the_veto_allows_is_given_up(setup: StudySetup) -> None:
    def collapses(job: FitJob) -> FitOutcome:
        if job.configuration.learning_rate == RATES[0]:
            return outcome(job, Verdict.COLLAPSED, "constant-output", score=0.5)
        return by_rate(job)

    case = Case(setup, collapses)
    found = case.run()
    assert found.dropped == {case.names[0]: COLLAPSES, case.names[2]: DROPPED_BEHIND}
    assert len([job for job in case.jobs if job.configuration.learning_rate == RATES[0]]) == 3


def test_one_that_can_not_be_fitted_is_left_out_and_the_others_go_on(setup: StudySetup) -> None:
    def breaks(job: FitJob) -> FitOutcome:
        if job.configuration.learning_rate == RATES[1]:
            raise WorkerError("out of memory")
        return by_rate(job)

    case = Case(setup, breaks)
    found = case.run()
    assert found.dropped[case.names[1]] == NOT_JUDGED
    assert found.repeats == 5


def test_nothing_healthy_has_no_finalists(case: Case) -> None:
    ill = [replace(one, healthy=False) for one in case.ranking]
    assert plan_confirmation(ill, case.setup.labels, None, 3, seconds=None, searched=100) is None


@pytest.mark.parametrize(
    ("changes", "finalists", "repeats", "note"),
    [
        ({"searched": 1000}, 3, 5, None),
        (
            {"searched": 70},
            3,
            3,
            "As the search had few trials, 3 of 3 finalists are fitted again, on at most 3 fresh splits",
        ),
        (
            {"searched": 30},
            2,
            2,
            "As the search had few trials, 2 of 3 finalists are fitted again, on at most 2 fresh splits",
        ),
        ({"seconds": 1000.0}, 3, 5, None),
        (
            {"seconds": 40.0},
            3,
            2,
            "As time is short, 3 of 3 finalists are fitted again, on at most 2 fresh splits each instead of 5.",
        ),
        (
            {"seconds": 10.0},
            1,
            1,
            "As time is short, 1 of 3 finalists are fitted again, on one fresh split each instead of 5.",
        ),
    ],
)
def test_as_many_as_the_budget_allows(
    case: Case, changes: dict[str, Any], finalists: int, repeats: int, note: str | None
) -> None:
    plan = case.plan(**changes)
    assert (len(plan.finalists), plan.planned) == (finalists, repeats)
    assert len(plan.notes) == (note is not None)
    assert note is None or plan.notes[0].startswith(note)


def test_few_groups_take_fewer_folds_and_say_so(case: Case) -> None:
    groups = np.arange(60) // 10  # three a class
    plan = plan_confirmation(case.ranking, case.setup.labels, groups, 3, seconds=None, searched=1000)
    assert plan is not None
    assert plan.folds == 2
    assert plan.notes == ("There are few groups: the fresh splits have 2 folds instead of 3, so that they can differ.",)


def test_a_leader_that_falls_gives_back_whom_it_drove_out(setup: StudySetup) -> None:
    """It is far ahead for two splits, then collapses again and again: the others make up for what they have missed."""

    def falls(job: FitJob) -> FitOutcome:
        nth = ordinal[job.configuration.learning_rate] = ordinal.get(job.configuration.learning_rate, 0) + 1
        if job.configuration.learning_rate == RATES[0]:
            if nth > 6:
                return outcome(job, Verdict.COLLAPSED, "constant-output", score=0.5)
            return outcome(job, score=0.99)
        return by_rate(job)

    ordinal: dict[float, int] = {}
    case = Case(setup, falls)
    found = case.run()
    assert found.dropped == {case.names[0]: COLLAPSES, case.names[2]: DROPPED_BEHIND}
    assert found.repeats == 5
    assert ordinal[RATES[1]] == 15
    again = case.run()
    assert (again, case.jobs) == (found, [])


def test_where_all_collapse_the_race_ends_and_says_so(setup: StudySetup) -> None:
    case = Case(setup, lambda job: outcome(job, Verdict.COLLAPSED, "constant-output", score=0.5))
    found = case.run()
    assert set(found.dropped.values()) == {COLLAPSES}
    assert (len(found.dropped), len(case.jobs), found.repeats) == (3, 9, 1)


def test_repeats_that_stand_in_the_ledger_are_free_and_never_taken_back(case: Case) -> None:
    cut = case.run(most=16)  # two whole splits of the two that are in
    assert cut.repeats == 2
    later = case.run(cut, left=0.001)
    assert (later.repeats, case.jobs) == (2, [])
    planned = case.plan(seconds=13.0, done=confirmed_fits(case.ledger))
    assert (len(planned.finalists), planned.planned) == (3, 2)  # for the third one's second split: 6 s


@pytest.mark.parametrize("workers", [2, 4, 7, 16])
def test_more_workers_than_finalists_share_their_folds_and_find_the_same(
    setup: StudySetup, workers: int, tmp_path: Path
) -> None:
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'ledger.db'}")  # one for several threads
    alone, crowd = Case(setup), Case(setup, engine=engine)
    assert crowd.run(workers=workers) == alone.run()
    told = [
        [(fit.configuration, fit.repeat, fit.fold, fit.seed, fit.score) for fit in one.ledger.fits()]
        for one in (alone, crowd)
    ]
    assert told[0] == told[1]
    engine.dispose()


def test_several_workers_share_the_time_of_several_finalists(case: Case) -> None:
    assert case.plan(seconds=40.0, workers=1).planned == 2
    assert (len(case.plan(seconds=40.0, workers=3).finalists), case.plan(seconds=40.0, workers=3).planned) == (3, 5)
    assert case.plan(seconds=15.0, workers=3).planned == 2
    assert case.plan(seconds=15.0, workers=9).planned == 5  # and then also those of one finalist's folds
