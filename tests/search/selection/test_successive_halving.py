"""Bars for a first fit, from the curves of those before it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.selection import successive_halving
from search.selection.successive_halving import KEPT, LEAST, SHARES, Bars, Curve, reached
from search.training.lr_schedule import missed_bar
from tests.search.storage.test_ledger import check

EPOCHS = 40  # rungs at 5, 10 and 20


def bars(earlier: Sequence[Curve], epochs: int) -> Bars:
    return successive_halving.bars([reached(each, epochs) for each in earlier], epochs)


def curve(*skills: float, every: int = 5) -> list[tuple[int, float]]:
    return [(every * (place + 1), skill) for place, skill in enumerate(skills)]


def test_a_bar_is_what_the_better_third_had_reached() -> None:
    earlier = [curve(0.1 * n, 0.1 * n, 0.2 * n, 0.2 * n) for n in range(6)]
    assert [(epoch, round(bar, 9)) for epoch, bar in bars(earlier, EPOCHS)] == [(5, 0.3), (10, 0.3), (20, 0.6)]


def test_the_best_so_far_counts_and_a_check_after_the_rung_stands_for_it() -> None:
    earlier = [curve(0.5, 0.1, 0.1, 0.1)] * 6
    assert bars(earlier, EPOCHS) == ((5, 0.5), (10, 0.5), (20, 0.5))
    rare = [curve(0.1, 0.3, every=15)] * 6  # checks at 15 and 30
    assert bars(rare, EPOCHS) == ((5, 0.1), (10, 0.1), (20, 0.3))


def test_a_fit_that_ended_before_a_rung_stands_below_it() -> None:
    long, short = curve(0.3, 0.3, 0.3, 0.3), curve(0.2)
    assert bars([long] * 3 + [short] * 3, EPOCHS) == ((5, 0.3), (10, 0.3), (20, 0.3))
    assert bars([long] + [short] * 5, EPOCHS) == ((5, 0.2),)  # nearly all are gone: whoever comes so far goes on


@pytest.mark.parametrize("count", range(LEAST))
def test_a_few_curves_set_no_bar(count: int) -> None:
    assert bars([curve(0.3, 0.3, 0.3, 0.3)] * count, EPOCHS) == ()


skills = st.lists(st.floats(-1, 1), min_size=1, max_size=8)


@given(st.lists(skills, min_size=LEAST, max_size=20))
def test_at_least_the_share_that_is_kept_would_have_gone_on(drawn: list[list[float]]) -> None:
    earlier = [curve(*each) for each in drawn]
    for epoch, bar in bars(earlier, EPOCHS):
        had = [max(skill for at, skill in each if at <= epoch) for each in earlier if each[-1][0] >= epoch]
        assert sum(skill >= bar for skill in had) >= KEPT * len(earlier) - 1e-9
        assert epoch in {int(np.ceil(share * EPOCHS)) for share in SHARES}


def test_a_bar_is_looked_at_once_at_the_first_check_that_is_due() -> None:
    told = [check(epoch=epoch, val_skill=skill) for epoch, skill in ((4, 0.1), (8, 0.2), (12, 0.15), (16, 0.9))]
    at = ((10, 0.25),)
    assert missed_bar(told[:2], at) is None
    assert missed_bar(told[:3], at) == {"best_skill": 0.2, "bar": 0.25}
    assert missed_bar(told[:4], at) is None
    assert missed_bar(told[:3], ((10, 0.2),)) is None  # level is enough


def test_a_fit_without_any_skill_that_can_be_told_is_behind() -> None:
    assert missed_bar([check(epoch=10, val_skill=float("nan"))], ((10, 0.0),)) is not None
