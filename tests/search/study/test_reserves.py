"""What each part of a session leaves for the parts after it."""

from __future__ import annotations

from pathlib import Path

from search.records import Trial, TrialState
from search.settings import Budget, Plan
from search.study.request import Request
from search.study.reserves import Reserves
from spaces.presets import DEFAULT
from tests.factories import configuration

PLAN = Plan(epochs=30, folds=5, search_seconds=100.0, final_seconds=20.0, confirm_seconds=60.0, fit_seconds=10.0)


def reserves(tmp_path: Path) -> Reserves:
    budget = Budget(trials=None, seconds=200.0)
    request = Request(data=tmp_path, out=tmp_path, space=DEFAULT, budget=budget)
    return Reserves(request, PLAN, test=False, restart_seconds=lambda: 5.0)


def test_while_there_is_nothing_to_confirm_the_search_has_that_time_too(tmp_path: Path) -> None:
    assert reserves(tmp_path).after_search(None) == 20.0


def test_each_part_leaves_what_those_after_it_need(tmp_path: Path) -> None:
    kept = reserves(tmp_path)
    best = Trial(number=0, state=TrialState.COMPLETE, configuration=configuration(), fits=(), reason=None, seconds=1.0)
    assert (kept.after_search(best), kept.after_confirmation(best), kept.after_ablation(best), kept.final(best)) == (
        80.0,
        30.0,  # a sixth of what the finalists have is for the surroundings
        30.0,
        20.0,
    )
