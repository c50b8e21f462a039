"""Working hours: the windows of a week in which the machine may be used, parsed from text. Pure.

Days and times of day are local. They are compared as seconds since 1970, so a night in which the clocks change is just
an hour shorter or longer.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, tzinfo
from typing import Final

from search.errors import UserError

_DAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_PART: Final = re.compile(
    r"(?:(?P<first>[a-z]{3,})(?:\s*-\s*(?P<last>[a-z]{3,}))?\s+)?"
    r"(?P<start>\d{1,2}:\d{2})\s*-\s*(?P<end>\d{1,2}:\d{2})",
    re.IGNORECASE,
)
_WEEK: Final = 7


_ALWAYS: Final = (_WEEK + 1) * 86400.0  # seconds without a gap


@dataclass(frozen=True, slots=True)
class Window:
    """Hours on some days of the week. If `end` is not after `start`, the window ends on the next day."""

    days: frozenset[int]  # weekdays on which the window starts, 0 is Monday
    start: int  # minutes after midnight, 0..1439
    end: int  # minutes after midnight, 0..1440

    @property
    def text(self) -> str:
        """The window in the form that `parse` reads.

        >>> Window(frozenset({5, 6}), 0, 1440).text
        'Sat, Sun 00:00-24:00'
        """
        hours = f"{_clock(self.start)}-{_clock(self.end)}"
        return hours if len(self.days) == _WEEK else f"{', '.join(_DAYS[day][:3] for day in sorted(self.days))} {hours}"


@dataclass(frozen=True, slots=True)
class Windows:
    """Windows of a week; windows that touch or overlap count as one."""

    windows: tuple[Window, ...]
    zone: tzinfo | None = None  # time zone; None is the machine's

    def next(self, now: float) -> tuple[float, float]:
        """Return start and end of the window that contains the time `now`, else of the next one.

        Times are in seconds since 1970. The end is `inf` if the windows cover the whole week.
        """
        start, end = next((start, end) for start, end in self._spans(now) if end > now)
        return start, math.inf if end - start > _ALWAYS else end  # as each week is, all are

    def _spans(self, now: float) -> list[tuple[float, float]]:
        """All windows around `now`, from a day before to more than a week after it, those that meet joined."""
        today = datetime.fromtimestamp(now, self.zone).date()
        days = [today + timedelta(days=ahead) for ahead in range(-2, 2 * _WEEK + 1)]
        spans = sorted(
            (self._moment(day, window.start), self._moment(day, window.end + 1440 * (window.end <= window.start)))
            for day in days
            for window in self.windows
            if day.weekday() in window.days
        )
        joined: list[tuple[float, float]] = []
        for start, end in spans:
            if start >= end:  # it lies in an hour that the clocks skip
                continue
            if joined and start <= joined[-1][1]:
                joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
            else:
                joined.append((start, end))
        return joined

    def _moment(self, day: date, minutes: int) -> float:
        """Moment of a local time: after the gap if the clocks skip it, the first one if it comes twice."""
        days, minutes = divmod(minutes, 1440)
        local = datetime.combine(day + timedelta(days=days), time(minutes // 60, minutes % 60))
        return local.replace(tzinfo=self.zone).timestamp()


@dataclass(frozen=True, slots=True)
class Hours:
    """Hours in which sessions may run: the windows of each week, up to a deadline."""

    windows: Windows | None = None  # None: at any time
    deadline: float | None = None  # seconds since 1970; None for no deadline

    def next(self, now: float) -> tuple[float, float | None] | None:
        """Return start and end of the hours that contain the time `now`, else of the next ones, in seconds since 1970.

        The start is at least `now`; the end is None if the hours never end. The result is None if the deadline leaves
        no more hours.

        >>> Hours(deadline=10.0).next(3.0), Hours(deadline=10.0).next(11.0), Hours().next(3.0)
        ((3.0, 10.0), None, (3.0, None))
        """
        start, end = (now, math.inf) if self.windows is None else self.windows.next(now)
        start, end = max(start, now), min(end, math.inf if self.deadline is None else self.deadline)
        if start >= end:
            return None
        return start, None if math.isinf(end) else end


def parse(texts: Sequence[str], zone: tzinfo | None = None) -> Windows:
    """Parse windows such as "22:00-07:00" or "Mon-Fri 22:00-07:00, Sat-Sun 00:00-24:00".

    Args:
        texts: values of `--window`; the windows of all of them are joined.
        zone: time zone of the windows; None is the machine's.

    Raises:
        UserError: a text is not a list of windows.
    """
    windows = []
    for text in texts:
        for part in text.split(","):
            windows.append(_window(part.strip(), text))
    return Windows(tuple(windows), zone)


def _window(part: str, text: str) -> Window:
    match = _PART.fullmatch(part)
    if match is None:
        raise UserError(
            f"--window {text!r}: {part!r} is not a window. Expected hours such as 22:00-07:00, after the days if they "
            "are not for every day: 'Mon-Fri 22:00-07:00, Sat-Sun 00:00-24:00'."
        )
    start, end = _minutes(match["start"], text), _minutes(match["end"], text)
    if start == 1440:
        raise UserError(f"--window {text!r}: a window can't start at 24:00. Write 00:00 of the next day.")
    if start == end:
        raise UserError(f"--window {text!r}: {part!r} ends when it starts. For whole days write 00:00-24:00.")
    return Window(_days(match["first"], match["last"], text), start, end)


def _minutes(clock: str, text: str) -> int:
    hours, minutes = map(int, clock.split(":"))
    if minutes > 59 or 60 * hours + minutes > 1440:
        raise UserError(f"--window {text!r}: {clock} is not a time of day. Expected 00:00 to 24:00.")
    return 60 * hours + minutes


def _days(first: str | None, last: str | None, text: str) -> frozenset[int]:
    if first is None:
        return frozenset(range(_WEEK))
    ends = [_day(name, text) for name in (first, last or first)]
    count = (ends[1] - ends[0]) % _WEEK + 1
    return frozenset((ends[0] + ahead) % _WEEK for ahead in range(count))


def _day(name: str, text: str) -> int:
    """Number of a day, 0 for Monday, by its name or the first three or more letters."""
    matches = [day for day, full_name in enumerate(_DAYS) if full_name.casefold().startswith(name.casefold())]
    if not matches:
        raise UserError(
            f"--window {text!r}: {name!r} is not a day of the week. Expected {', '.join(day[:3] for day in _DAYS)}."
        )
    return matches[0]


def _clock(minutes: int) -> str:
    return f"{minutes // 60:02}:{minutes % 60:02}"
