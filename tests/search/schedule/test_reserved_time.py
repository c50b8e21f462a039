"""What each part of a session leaves for the parts after it."""

from __future__ import annotations

from search.records import Trial, TrialState
from search.schedule.budget import ReservedTime
from search.settings import Plan
from tests.factories import configuration

PLAN = Plan(epochs=30, folds=5, search_seconds=100.0, final_seconds=20.0, confirm_seconds=60.0, fit_seconds=10.0)


RESERVED = ReservedTime(200.0, (), PLAN, test=False, restart_seconds=lambda: 5.0)


def test_while_there_is_nothing_to_confirm_the_search_has_that_time_too() -> None:
    assert RESERVED.after_search(None) == 20.0


def test_each_part_leaves_what_those_after_it_need() -> None:
    best = Trial(number=0, state=TrialState.COMPLETE, configuration=configuration(), fits=(), reason=None, seconds=1.0)
    assert (
        RESERVED.after_search(best),
        RESERVED.after_confirmation(best),
        RESERVED.after_ablation(best),
        RESERVED.for_final_fit(best),
    ) == (
        80.0,
        30.0,  # a sixth of what the finalists have is for the surroundings
        30.0,
        20.0,
    )
