from __future__ import annotations

from search.study.clock import Clock


class Time:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_the_search_ends_a_reserve_before_the_budget_and_everything_shortly_before_it() -> None:
    time = Time()
    clock = Clock(60.0, time)
    clock.reserve = lambda: 20.0
    seen = []
    for now in (100.0, 139.9, 140.0, 155.9, 156.0, 200.0):
        time.now = now
        seen.append((round(clock.seconds, 1), clock.search_over(), clock.over()))
    assert seen == [
        (0.0, False, False),
        (39.9, False, False),
        (40.0, True, False),
        (55.9, True, False),
        (56.0, True, True),
        (100.0, True, True),
    ]


def test_earlier_sessions_count() -> None:
    time = Time()
    clock = Clock(60.0, time)
    clock.resume(50.0)
    time.now += 5.0
    assert (clock.seconds, clock.left, clock.over()) == (55.0, 5.0, False)


def test_without_a_limit_only_somebody_ends_it() -> None:
    clock = Clock(None, Time())
    clock.resume(1e9)
    assert (clock.left, clock.search_over(), clock.over()) == (None, False, False)
    clock.asked.set()
    assert (clock.search_over(), clock.over()) == (True, True)
