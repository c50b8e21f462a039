from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search.schedule.plan import MAX_EPOCHS, MIN_EPOCHS, auto_epochs, make_plan
from search.settings import Plan


def plan(**changes: Any) -> Plan:
    values: dict[str, Any] = {
        "epochs": 100,
        "epochs_fixed": False,
        "folds": 5,
        "seconds": 36000.0,
        "epoch_seconds": 0.1,
        "trace_seconds": 2.0,
        "test": False,
    }
    return make_plan(**{**values, **changes})


@pytest.mark.parametrize("images", [1, 100, 400, 1000, 5000, 20_000])
def test_auto_epochs_shows_about_as_many_images_within_bounds(images: int) -> None:
    epochs = auto_epochs(images)
    assert MIN_EPOCHS <= epochs <= MAX_EPOCHS
    assert auto_epochs(images) >= auto_epochs(2 * images)


def test_without_a_limit_nothing_is_cut() -> None:
    made = plan(seconds=None)
    assert (made.epochs, made.folds, made.search_seconds, made.fit_seconds, made.notes) == (100, 5, None, None, ())


def test_with_time_enough_nothing_is_cut() -> None:
    made = plan()
    assert (made.epochs, made.folds, made.notes) == (100, 5, ())


@pytest.mark.parametrize(
    ("seconds", "epochs_cut", "folds", "notes"),
    [
        (200.0, True, 5, ["epochs a fit instead of 100"]),
        (42.0, True, 5, ["epochs a fit"]),
        (31.0, True, 4, ["epochs a fit", "4 folds instead of 5"]),
        (9.0, True, 3, ["epochs a fit", "3 folds instead of 5", "fewer than two may be judged"]),
    ],
)
def test_short_time_cuts_epochs_then_folds_and_says_so(
    seconds: float, epochs_cut: bool, folds: int, notes: list[str]
) -> None:
    made = plan(seconds=seconds)
    assert (made.epochs < 100, made.folds) == (epochs_cut, folds)
    assert len(made.notes) == len(notes)
    assert all(part in note for part, note in zip(notes, made.notes, strict=True))


def test_the_finalists_get_what_they_are_owed_of_what_is_left() -> None:
    assert plan(seconds=500.0, confirm=120.0).confirm_seconds == 120.0
    used_up = plan(seconds=100.0, confirm=300.0)
    assert (used_up.search_seconds, used_up.confirm_seconds) == (0.0, 100.0)


@pytest.mark.parametrize(("seconds", "epochs"), [(1600.0, 90), (800.0, 45), (400.0, 32)])
def test_epochs_are_cut_to_a_third_so_that_two_finalists_can_be_confirmed(seconds: float, epochs: int) -> None:
    made = plan(seconds=seconds, epoch_seconds=0.2)
    assert made.epochs == epochs
    assert made.folds == 5


def test_workers_share_the_time_but_the_fits_of_one_configuration_follow_each_other() -> None:
    alone, crowd = (plan(seconds=800.0, epoch_seconds=0.2, workers=workers) for workers in (1, 2))
    assert alone.epochs < crowd.epochs <= 100
    many = plan(seconds=3600.0, confirm=1080.0, epochs=200, epoch_seconds=0.9, trace_seconds=5.0, workers=16)
    assert 2 * (5.0 + 5 * many.epochs * 0.9) <= 1080.0  # two splits of a finalist


@pytest.mark.parametrize(("workers", "in_a_row"), [(1, 5), (2, 3), (4, 2), (8, 1)])
def test_a_winner_can_be_fitted_again_in_the_finalists_time(workers: int, in_a_row: int) -> None:
    made = plan(seconds=600.0, epochs=40, epoch_seconds=0.02, workers=workers)
    assert made.fit_seconds is not None
    assert made.confirm_seconds is not None
    assert made.fit_seconds * in_a_row <= made.confirm_seconds


def test_epochs_of_the_user_stay() -> None:
    made = plan(seconds=30.0, epochs_fixed=True)
    assert (made.epochs, made.folds) == (100, 3)
    assert "--timeout" in made.notes[-1]


@settings(max_examples=60)
@given(
    seconds=st.floats(1.0, 1e5),
    epoch=st.floats(1e-3, 100.0),
    trace=st.floats(0.0, 60.0),
    folds=st.integers(2, 10),
    epochs=st.integers(1, 200),
    fixed=st.booleans(),
    test=st.booleans(),
)
def test_shares_add_up_to_the_budget(
    seconds: float, epoch: float, trace: float, folds: int, epochs: int, fixed: bool, test: bool
) -> None:
    made = plan(
        seconds=seconds,
        epoch_seconds=epoch,
        trace_seconds=trace,
        folds=folds,
        epochs=epochs,
        epochs_fixed=fixed,
        test=test,
    )
    assert made.confirm_seconds == pytest.approx(0.3 * seconds)
    assert made.search_seconds == pytest.approx(seconds - made.final_seconds - made.confirm_seconds)
    assert 0 <= made.final_seconds <= seconds / 4
    assert min(folds, 3) <= made.folds <= folds
    assert min(epochs, MIN_EPOCHS) <= made.epochs <= epochs
    assert not fixed or made.epochs == epochs
    assert (made.epochs < epochs or made.folds < folds) <= bool(made.notes)
    assert made.fit_seconds is not None
    assert made.fit_seconds >= made.epochs * epoch  # the reference configuration itself is not too slow
