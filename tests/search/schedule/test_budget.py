from __future__ import annotations

from search.schedule.budget import LAST_SECONDS, Clock


class Time:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_part_ends_its_reserve_before_the_budget_and_the_last_one_shortly_before_it() -> None:
    time = Time()
    clock = Clock(60.0, time)
    clock.reserve = lambda: 20.0
    seen = []
    for now in (100.0, 139.9, 140.0, 155.9):
        time.now = now
        seen.append((round(clock.seconds, 1), clock.phase_left, clock.phase_over()))
    assert [(when, round(left or 0.0, 1), over) for when, left, over in seen] == [
        (0.0, 40.0, False),
        (39.9, 0.1, False),
        (40.0, 0.0, True),
        (55.9, -15.9, True),
    ]
    last = Clock(60.0, Time())
    assert (last.phase_left, LAST_SECONDS) == (56.0, 4.0)


def test_earlier_sessions_count() -> None:
    time = Time()
    clock = Clock(60.0, time)
    clock.resume(50.0)
    time.now += 5.0
    assert (clock.seconds, clock.left, clock.phase_over()) == (55.0, 5.0, False)


def test_without_a_limit_only_somebody_ends_it() -> None:
    clock = Clock(None, Time())
    clock.resume(1e9)
    assert (clock.left, clock.phase_left, clock.phase_over()) == (None, None, False)
    clock.stop_requested.set()
    assert clock.phase_over()


def test_hours_of_work_end_by_the_clock_on_the_wall_and_a_budget_by_what_was_spent() -> None:
    time, wall = Time(), Time()
    clock = Clock(60.0, time, until=130.0, wall=wall)
    clock.resume(10.0)
    assert (clock.left, clock.total) == (30.0, 40.0)
    time.now += 5.0
    wall.now += 5.0
    assert (clock.left, clock.total) == (25.0, 40.0)
    wall.now += 3600.0  # a laptop slept: nothing was spent, but the hours are over
    assert clock.phase_over()
    assert clock.seconds == 15.0
    wall.now -= 7200.0  # somebody set the clock back: the budget still ends it
    assert clock.left == 45.0


def test_the_rest_of_a_night_is_not_what_sessions_usually_have() -> None:
    assert Clock(None, Time(), until=160.0, usual=3600.0, wall=Time()).usually_left == 3600.0
    assert Clock(600.0, Time(), until=160.0, usual=3600.0, wall=Time()).usually_left == 600.0
    assert Clock(None, Time(), until=160.0, wall=Time()).usually_left == 60.0
    assert Clock(None, Time()).usually_left is None


def test_a_budget_that_ends_before_the_hours_is_for_this_session() -> None:
    assert not Clock(3600.0, Time(), until=200.0, wall=Time()).is_the_last
    assert Clock(90.0, Time(), until=200.0, wall=Time()).is_the_last
    assert Clock(30.0, Time(), until=110.0, wall=Time()).is_the_last  # too little is left for another night
    assert Clock(3600.0, Time()).is_the_last
    assert not Clock(None, Time(), until=90.0, wall=Time()).is_the_last


def test_what_was_finished_waits_for_a_database_until_a_while_after_the_end() -> None:
    time = Time()
    clock = Clock(60.0, time)
    seen = []
    for now in (100.0, 160.0, 179.9, 180.0):
        time.now = now
        seen.append(clock.past_end())
    assert seen == [False, False, False, True]
    clock = Clock(None, Time())
    assert not clock.past_end()
    clock.stop_requested.set()
    assert clock.past_end()
