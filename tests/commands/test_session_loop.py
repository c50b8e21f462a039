"""Sessions in the hours of work: when they begin, what ends them, what is told. Time and the search are stand-ins."""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa

import run_search
from commands import search as command
from commands import session_loop
from commands.terminal import DONE, INTERRUPTED, USER_ERROR
from search.errors import UserError
from search.schedule.budget import Clock
from search.session import session
from search.session.session import SessionResult
from search.session.setup import OutOfTime
from search.storage.run_folder import is_held
from tests.factories import make_images
from tests.reports import fake_results as fake

pytestmark = [pytest.mark.usefixtures("known_migrations"), pytest.mark.slow]

NIGHTS = ("--data", "images", "--image-size", "8", "--quiet", "--out", "run", "--window", "22:00-07:00")


def at(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


class Asked(threading.Event):
    """Waiting lets ten minutes pass."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self._world = world
        self.ends = False

    def wait(self, timeout: float | None = None) -> bool:
        self._world.now += 600.0
        if self.ends:
            self.set()
        return self.is_set()


class World:
    """A clock on the wall that passes while somebody waits, and a search that uses up its hours."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, now: str, *, nights: int) -> None:
        self.now, self.nights = at(now), nights
        self.has_trained = True
        self.begun: list[str] = []
        self.asked = Asked(self)
        self.at_night: Callable[[], None] = lambda: None
        monkeypatch.setattr(session_loop, "time", SimpleNamespace(time=lambda: self.now))
        monkeypatch.setattr(command, "stop_on_signals", lambda stop: None)
        monkeypatch.setattr(command, "threading", SimpleNamespace(Event=lambda: self.asked))
        monkeypatch.setattr(session, "search", self._search)
        monkeypatch.setattr(
            session_loop, "write_reports", lambda results, out, *, interrupted: INTERRUPTED if interrupted else DONE
        )

    def _search(self, request: Any, listener: Any, clock: Clock, hold: Any) -> SessionResult:
        assert is_held(request.out)
        self.begun.append(datetime.fromtimestamp(self.now).strftime("%a %H:%M"))
        self.at_night()
        self.now = clock._until if clock._until is not None else self.now + 60
        return SessionResult(
            fake.results(fake.trials(2)), is_last=len(self.begun) == self.nights, has_trained=self.has_trained
        )


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("STEADYNET_CACHE", str(tmp_path / "cache"))
    make_images(tmp_path / "images", 12)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_it_waits_works_leaves_and_comes_back_until_the_budget_is_used_up(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch, "2026-11-23T12:00", nights=3)
    assert run_search.main(NIGHTS) == DONE
    assert world.begun == ["Mon 22:00", "Tue 22:00", "Wed 22:00"]


def test_it_begins_at_once_in_the_middle_of_its_hours(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch, "2026-11-23T23:30", nights=2)
    assert run_search.main(NIGHTS) == DONE
    assert world.begun == ["Mon 23:30", "Tue 22:00"]


@pytest.mark.parametrize("error", [UserError("the database is away"), OSError(errno.ENOSPC, "No space left")])
def test_what_fails_in_a_later_night_is_tried_again_in_the_same_hours(
    error: Exception, monkeypatch: pytest.MonkeyPatch, here: Path
) -> None:
    world = World(monkeypatch, "2026-11-23T23:30", nights=4)

    def fails() -> None:
        if len(world.begun) in (2, 3):
            raise error

    world.at_night = fails
    assert run_search.main(NIGHTS) == DONE
    assert world.begun == ["Mon 23:30", "Tue 22:00", "Tue 22:10", "Tue 22:20"]


@pytest.mark.parametrize(
    ("given", "begun"), [((), ["Mon 23:30", "Tue 22:00"]), (("--deadline", "2026-11-24T06:00"), [])]
)
def test_images_that_took_all_of_the_first_hours_are_gone_on_with_in_the_next(
    given: tuple[str, ...], begun: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    world = World(monkeypatch, "2026-11-23T23:30", nights=2)

    def fails() -> None:
        if len(world.begun) == 1:
            raise OutOfTime("the time was over")

    world.at_night = fails
    assert run_search.main([*NIGHTS, *given]) == (DONE if begun else 2)
    assert world.begun == (begun or ["Mon 23:30"])
    assert begun or "the time was over" in capsys.readouterr().err


def test_a_bug_in_a_later_night_is_none_to_try_again(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch, "2026-11-23T23:30", nights=4)

    def fails() -> None:
        if len(world.begun) == 2:
            raise ZeroDivisionError

    world.at_night = fails
    with pytest.raises(ZeroDivisionError):
        run_search.main(NIGHTS)


def test_a_deadline_ends_the_last_night(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch, "2026-11-23T23:30", nights=9)
    assert run_search.main([*NIGHTS, "--deadline", "2026-11-25T01:00"]) == DONE
    assert world.begun == ["Mon 23:30", "Tue 22:00"]
    assert world.now == at("2026-11-25T01:00")


def test_what_is_wrong_is_said_before_the_night(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    world = World(monkeypatch, "2026-11-23T12:00", nights=1)
    assert run_search.main([*NIGHTS, "--folds", "13"]) == 2
    assert "13 folds need at least 13" in capsys.readouterr().err
    assert world.now == at("2026-11-23T12:00")


def test_whoever_waits_can_be_ended(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    world = World(monkeypatch, "2026-11-23T12:00", nights=1)
    world.asked.ends = True
    assert run_search.main(NIGHTS) == INTERRUPTED
    assert "Interrupted before there was anything to report." in capsys.readouterr().out
    assert not world.begun


def test_ctrl_c_at_night_ends_all_nights(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch, "2026-11-23T23:30", nights=9)
    world.at_night = lambda: world.asked.set()
    assert run_search.main(NIGHTS) == INTERRUPTED
    assert world.begun == ["Mon 23:30"]


@pytest.mark.parametrize(
    ("options", "ends", "told"),
    [
        (("--window", "22:00-07:00"), "none", ["hours", "finished"]),
        ((), "none", ["finished"]),
        ((), "asked", ["interrupted"]),
        ((), "broken", ["failed"]),
    ],
)
def test_a_command_of_the_users_is_run_after_each_session(
    options: tuple[str, ...], ends: str, told: list[str], monkeypatch: pytest.MonkeyPatch, here: Path
) -> None:
    world = World(monkeypatch, "2026-11-23T23:30", nights=2)

    def end() -> None:
        if ends == "asked":
            world.asked.set()
        elif ends == "broken":
            raise UserError("no more")

    world.at_night = end
    note = 'echo "$STEADYNET_ENDED $STEADYNET_OUT" >> ended'
    run_search.main([*NIGHTS[:-2], *options, "--on-finish", note])
    assert (here / "ended").read_text().splitlines() == [f"{each} {here / 'run'}" for each in told]


def test_a_fault_that_passes_costs_the_first_night_a_minute_and_is_told_once(
    monkeypatch: pytest.MonkeyPatch, here: Path
) -> None:
    """The images were looked at before the night: what is wrong now may get better."""
    world = World(monkeypatch, "2026-11-23T21:30", nights=5)

    def fails() -> None:
        if len(world.begun) in (1, 2, 4):
            raise UserError("the database is away")

    world.at_night = fails
    assert run_search.main([*NIGHTS, "--on-finish", 'echo "$STEADYNET_ENDED" >> ended']) == DONE
    assert world.begun == ["Mon 22:00", "Mon 22:10", "Mon 22:20", "Tue 22:00", "Tue 22:10"]
    assert (here / "ended").read_text().splitlines() == ["failed", "hours", "failed", "finished"]


def test_after_its_deadline_a_search_that_left_a_report_is_no_error(
    monkeypatch: pytest.MonkeyPatch, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A service that is started with the machine then ends for good."""
    World(monkeypatch, "2026-11-23T21:30", nights=1)
    late = (*NIGHTS, "--deadline", "2026-11-22T06:00")
    assert run_search.main(late) == USER_ERROR
    (here / "run").mkdir()
    (here / "run" / "report.html").touch()
    capsys.readouterr()
    assert run_search.main(late) == DONE
    assert "--deadline has passed. The results are in run/report.html." in capsys.readouterr().out


def test_a_full_disk_before_the_night_is_told_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    World(monkeypatch, "2026-11-23T12:00", nights=1)

    def full(*given: object, **options: object) -> None:
        raise sa.exc.OperationalError("insert", {}, Exception("database or disk is full"))

    monkeypatch.setattr(session, "open_session", full)
    assert run_search.main(NIGHTS) == USER_ERROR
    told = capsys.readouterr().err
    assert "can't be written any more (database or disk is full)" in told
    assert "Traceback" not in told


def test_a_command_that_fails_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    World(monkeypatch, "2026-11-23T23:30", nights=1)
    assert run_search.main([*NIGHTS, "--on-finish", "exit 7"]) == DONE
    assert "--on-finish: the command failed with exit code 7." in capsys.readouterr().err


@pytest.mark.parametrize(("has_trained", "told"), [(True, "finished run\n"), (False, None)])
def test_a_finished_study_that_is_started_again_is_no_news(
    has_trained: bool, told: str | None, monkeypatch: pytest.MonkeyPatch, here: Path
) -> None:
    world = World(monkeypatch, "2026-11-23T23:30", nights=1)
    world.has_trained = has_trained
    finish = 'echo "$STEADYNET_ENDED $(basename "$STEADYNET_OUT")" > told'
    assert run_search.main([*NIGHTS, "--on-finish", finish]) == DONE
    assert ((here / "told").read_text() if (here / "told").exists() else None) == told


def test_what_ended_a_night_stands_in_the_log(monkeypatch: pytest.MonkeyPatch, here: Path) -> None:
    world = World(monkeypatch, "2026-11-23T23:30", nights=1)

    def breaks() -> None:
        (here / "run" / "study.db").touch()
        raise ZeroDivisionError("ours")

    world.at_night = breaks
    (here / "run").mkdir()
    (here / "run" / "run.log").touch()  # of an earlier night: what a first start writes goes with it
    with pytest.raises(ZeroDivisionError):
        run_search.main(NIGHTS)
    text = (here / "run" / "run.log").read_text()
    assert "ERROR search.run: ours" in text
    assert "Traceback" in text
