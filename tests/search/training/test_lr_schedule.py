"""The learning rate over a fit, and the moments at which it is looked at."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search.training.lr_schedule import Schedule, batchnorm_momentum, check_epochs, is_saturated


def all_rates(schedule: Schedule, start: int = 0) -> np.ndarray:
    return np.concatenate([schedule.rates(epoch) for epoch in range(start, schedule.last)])


def test_warm_up_hold_cool_down() -> None:
    """Twenty epochs of ten updates: ten updates up, hold until 120, then straight down."""
    rates = all_rates(Schedule.planned(20, 10))
    np.testing.assert_allclose(rates[:10], np.arange(1, 11) / 10)
    np.testing.assert_allclose(rates[10:121], 1)
    np.testing.assert_allclose(rates[120:], np.arange(80, 0, -1) / 80, rtol=1e-6)


@settings(max_examples=40)
@given(st.integers(1, 200), st.integers(1, 40))
def test_rates_start_above_zero_and_end_next_to_it(epochs, updates) -> None:
    rates = all_rates(Schedule.planned(epochs, updates))
    total = epochs * updates
    assert rates.shape == (total,)
    assert rates.dtype == np.float32
    assert (rates > 0).all()
    assert (rates <= 1).all()
    assert rates[-1] <= 1 / max(1.0, 0.4 * total) + 1e-6
    top = int(rates.argmax())
    assert (np.diff(rates[: top + 1]) >= 0).all()
    assert (np.diff(rates[top:]) <= 0).all()


@settings(max_examples=60)
@given(st.integers(1, 200), st.integers(1, 40), st.data())
def test_an_early_cool_down_is_never_longer_and_ends_at_zero_too(epochs, updates, data) -> None:
    plan = Schedule.planned(epochs, updates)
    now = data.draw(st.integers(1, epochs))
    cooled = plan.cooled(now)
    assert cooled.last <= plan.last
    if now >= 0.6 * epochs:
        assert cooled == plan, "the plan's own cool-down has begun"
        return
    assert now < cooled.last
    rates = all_rates(cooled, start=now)
    assert (rates > 0).all()
    assert (rates <= 1).all()
    assert rates[-1] <= 1 / (updates * (cooled.last - now)) + 1e-6
    assert cooled.cooled(min(now + 1, epochs)) == cooled, "it begins once"


def test_an_early_cool_down_takes_a_fifth_of_the_plan_and_starts_from_the_rate_that_was() -> None:
    cooled = Schedule.planned(50, 4).cooled(10)
    assert cooled.last == 20
    assert cooled.rates(10)[0] == 1
    np.testing.assert_allclose(cooled.rates(19)[-1], 1 / 40)


@pytest.mark.parametrize(
    ("skills", "nothing"),
    [
        ([], False),
        ([0.99], False),
        ([0.99, 0.99], True),
        ([0.99, 0.97], False),
        ([0.97, 0.99], False),
        ([0.1, 0.98, 1], True),
    ],
)
def test_nothing_left_takes_two_checks(skills, nothing) -> None:
    assert is_saturated(skills) is nothing


@pytest.mark.parametrize(("epochs", "every"), [(1, 1), (12, 1), (30, 1), (31, 2), (60, 2), (61, 3), (200, 7)])
def test_check_epochs(epochs, every) -> None:
    assert check_epochs(epochs) == every


@given(st.integers(1, 2000))
def test_never_more_than_thirty_checks(epochs) -> None:
    every = check_epochs(epochs)
    checks = {epoch for epoch in range(1, epochs + 1) if epoch % every == 0 or epoch == epochs}
    assert len(checks) <= 30


@pytest.mark.parametrize(
    ("updates", "momentum"), [(1, 0.5), (60, 0.5), (100, 0.630957), (1000, 0.954993), (10_000, 0.99), (0, 0.5)]
)
def test_batchnorm_momentum(updates, momentum) -> None:
    assert batchnorm_momentum(updates) == pytest.approx(momentum, abs=1e-6)


@given(st.integers(67, 4500))
def test_a_tenth_of_the_updates_leaves_a_hundredth_of_the_initial_statistics(updates) -> None:
    assert batchnorm_momentum(updates) ** (0.1 * updates) == pytest.approx(0.01)
