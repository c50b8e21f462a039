"""Hours of work, laid over real time: nights, week-ends, and the two nights of the year with another length."""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.errors import UserError
from search.schedule.windows import Hours, Windows, parse

BERLIN = ZoneInfo("Europe/Berlin")


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=BERLIN).timestamp()


def shown(moment: float) -> str:
    return datetime.fromtimestamp(moment, BERLIN).strftime("%a %d %H:%M")


NIGHT = "22:00-07:00"
WEEK = "Mon-Fri 22:00-07:00, Sat-Sun 00:00-24:00"


@pytest.mark.parametrize(
    ("window", "now", "expected"),
    [
        (NIGHT, "2026-11-23T12:00", "Mon 23 22:00 - Tue 24 07:00"),
        (NIGHT, "2026-11-23T22:00", "Mon 23 22:00 - Tue 24 07:00"),
        (NIGHT, "2026-11-24T03:00", "Mon 23 22:00 - Tue 24 07:00"),
        (NIGHT, "2026-11-24T07:00", "Tue 24 22:00 - Wed 25 07:00"),
        ("09:00-17:30", "2026-11-23T18:00", "Tue 24 09:00 - Tue 24 17:30"),
        ("Sat 10:00-12:00", "2026-11-23T18:00", "Sat 28 10:00 - Sat 28 12:00"),
        ("Fri-Mon 10:00-12:00", "2026-11-24T18:00", "Fri 27 10:00 - Fri 27 12:00"),
        ("Saturday 10:00-12:00", "2026-11-23T18:00", "Sat 28 10:00 - Sat 28 12:00"),
        ("22:00-00:00", "2026-11-23T23:00", "Mon 23 22:00 - Tue 24 00:00"),
        (WEEK, "2026-11-27T23:00", "Fri 27 22:00 - Mon 30 00:00"),  # Friday's night, then the whole week-end
        (WEEK, "2026-11-30T01:00", "Mon 30 22:00 - Tue 01 07:00"),
        ("20:00-02:00, 01:00-06:00", "2026-11-23T21:00", "Mon 23 20:00 - Tue 24 06:00"),
    ],
)
def test_the_hours_that_are_or_come_next(window: str, now: str, expected: str) -> None:
    assert " - ".join(map(shown, parse([window], BERLIN).next(at(now)))) == expected


@pytest.mark.parametrize(
    ("evening", "hours"),
    [("2026-03-28T22:00", 8), ("2026-10-24T22:00", 10), ("2026-11-23T22:00", 9)],  # clocks forward, back, neither
)
def test_a_night_in_which_the_clocks_change_is_an_hour_shorter_or_longer(evening: str, hours: int) -> None:
    start, end = parse([NIGHT], BERLIN).next(at(evening))
    assert (end - start) / 3600 == hours


@pytest.mark.parametrize("window", ["02:30-05:00", "00:30-02:30"])
def test_a_time_that_is_skipped_or_comes_twice_is_still_one_moment(window: str) -> None:
    for day in ("2026-03-29T00:00", "2026-10-25T00:00"):
        start, end = parse([window], BERLIN).next(at(day))
        assert 0 < end - start <= 4.5 * 3600


def test_whole_days_have_no_gap_between_them() -> None:
    noon = at("2026-11-23T12:00")
    for text in ("00:00-24:00", "Mon-Sun 00:00-24:00", "00:00-00:01, 00:01-24:00", "06:00-05:59"):
        start, end = parse([text], BERLIN).next(noon)
        assert start <= noon
        assert (end == math.inf) is (text != "06:00-05:59")


def test_several_options_add_up() -> None:
    assert parse(["Mon 22:00-07:00", "Tue 10:00-11:00"]).windows == parse(["Mon 22:00-07:00, Tue 10:00-11:00"]).windows
    assert [window.text for window in parse([WEEK]).windows] == [
        "Mon, Tue, Wed, Thu, Fri 22:00-07:00",
        "Sat, Sun 00:00-24:00",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "'' is not a window"),
        ("22:00", "'22:00' is not a window"),
        ("22-07", "is not a window"),
        ("24:00-07:00", "a window can't start at 24:00. Write 00:00 of the next day"),
        ("22:00-22:00", "ends when it starts. For whole days write 00:00-24:00"),
        ("22:60-23:00", "22:60 is not a time of day"),
        ("Xyz 22:00-23:00", "'Xyz' is not a day of the week. Expected Mon, Tue"),
        ("Mon-Xyz 22:00-23:00", "'Xyz' is not a day of the week"),
        ("22:00-07:00,", "'' is not a window"),
    ],
)
def test_what_is_no_window_is_refused(text: str, message: str) -> None:
    with pytest.raises(UserError) as raised:
        parse([text])
    assert message in str(raised.value)


moments = st.datetimes(datetime(2020, 1, 1), datetime(2035, 1, 1)).map(lambda d: d.replace(tzinfo=BERLIN).timestamp())
windows = st.lists(
    st.tuples(st.integers(0, 6), st.integers(0, 6), st.integers(0, 1439), st.integers(0, 1440)).filter(
        lambda w: w[2] != w[3]
    ),
    min_size=1,
    max_size=3,
)


def made(drawn: list[tuple[int, int, int, int]]) -> Windows:
    days = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
    texts = [
        f"{days[first]}-{days[last]} {start // 60}:{start % 60:02}-{end // 60}:{end % 60:02}"
        for first, last, start, end in drawn
    ]
    return parse(texts, BERLIN)


@given(windows, moments)
def test_the_next_hours_end_after_now_and_hold_exactly_the_minutes_that_are_in_a_window(drawn, now) -> None:
    """Against a plain look at the local clock, minute by minute, away from the clock changes."""
    hours = made(drawn)
    start, end = hours.next(now)
    assert start < end
    assert now < end
    end = min(end, now + 8 * 86400)
    for moment in (now, (start + end) / 2, start + 1, end - 1):
        local = datetime.fromtimestamp(moment, BERLIN)
        if len({(local + timedelta(days=shift)).utcoffset() for shift in (-2, 2)}) == 2:
            continue
        minute, today = 60 * local.hour + local.minute, local.weekday()
        inside = any(
            (today in window.days and window.start <= minute < (window.end if window.end > window.start else 1440))
            or ((today - 1) % 7 in window.days and window.end <= window.start and minute < window.end)
            for window in hours.windows
        )
        assert inside == (hours.next(moment)[0] <= moment)


@given(windows, moments)
def test_one_after_the_other_they_move_on(drawn, now) -> None:
    hours = made(drawn)
    _, end = hours.next(now)
    if end < math.inf:
        later, _ = hours.next(end)
        assert later > end


def test_a_deadline_cuts_the_hours_and_ends_them() -> None:
    night = parse([NIGHT], BERLIN)
    hours = Hours(night, at("2026-11-24T03:00"))
    assert hours.next(at("2026-11-23T12:00")) == (at("2026-11-23T22:00"), at("2026-11-24T03:00"))
    assert hours.next(at("2026-11-23T23:00")) == (at("2026-11-23T23:00"), at("2026-11-24T03:00"))
    assert hours.next(at("2026-11-24T03:00")) is None
    assert Hours(night, at("2026-11-23T21:00")).next(at("2026-11-23T12:00")) is None
    assert Hours().next(5.0) == (5.0, None)
