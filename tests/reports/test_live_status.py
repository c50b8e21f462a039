"""The status file of a run and what another terminal shows of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from reports.live_status import StatusFile, read_status, status_lines
from search.errors import DamagedError, UserError
from search.events import EarlierProgress
from search.records import STATUS_FILE
from search.settings import Plan
from tests.reports import fake_results as fake

NOW = 1_700_000_000.0


def running(folder: Path) -> StatusFile:
    """A run that has judged one trial, lost one, and is in the middle of a third."""
    status = StatusFile(folder, wall=lambda: NOW)
    status.stage("Searching")
    status.planned(
        Plan(epochs=30, folds=5, search_seconds=100.0, final_seconds=10.0, fit_seconds=None),
        20,
        3600.0,
        EarlierProgress(4),
    )
    for number, score, reason in ((4, 0.8, None), (5, None, "dead-layer")):
        status.trial_started(number, fake.configuration(number), 5)
        status.fit_finished(fake.fit(number, 0, score, reason))
        status.trial_finished(fake.trial(number, [score or 0.5], reason), score, 0.8)
    status.trial_started(6, fake.configuration(6), 5)
    status.check(6, 2, fake.check(12, 0.6, 0.1), 30)
    return status


def lines(folder: Path, **options: Any) -> list[str]:
    found = read_status(folder)
    assert found is not None
    return status_lines(found, **{"is_held": True, "now": NOW + 30.0, **options})


def test_a_run_at_work(tmp_path: Path) -> None:
    with running(tmp_path) as status:
        status._update(ends=NOW + 600.0, next_hours=NOW + 86400.0)
        status._write()
        first, *rest = lines(tmp_path)
    assert first.startswith("Running for 30 s, process ")
    assert first.endswith(": Searching")
    assert rest[:3] == [
        "6 trials of 20; best so far 0.800 (trial 4)",
        "Collapsed in this session: 1 dead-layer",
        "trial 6: fold 3 of 5, epoch 12 of 30",
    ]
    assert rest[3].startswith("Ends at the latest: ")
    assert rest[4].startswith("Next window: ")


def test_what_was_left_unfinished_no_longer_runs(tmp_path: Path) -> None:
    with running(tmp_path) as status:
        status.stage("Ranking")
        status._write()
        assert not any("fold 3 of 5" in line for line in lines(tmp_path))


def test_what_was_found_in_one_night_is_told_by_day(tmp_path: Path) -> None:
    with running(tmp_path) as status:
        status.hours(None, None)
        status.waiting(NOW + 3630.0)
        status._write()
        assert lines(tmp_path)[1] == "6 trials of 20; best so far 0.800 (trial 4)"


def test_a_run_that_waits(tmp_path: Path) -> None:
    with StatusFile(tmp_path, wall=lambda: NOW) as status:
        status.waiting(NOW + 3630.0)
        status._write()
        assert "(in 1 h 00 min)" in lines(tmp_path)[0]


def test_a_run_that_ended_one_that_died_and_one_that_says_nothing(tmp_path: Path) -> None:
    with running(tmp_path) as status:
        status._write()
        assert "died or was killed, last seen" in lines(tmp_path, is_held=False)[0]
        assert "but no update for 10 min 00 s" in lines(tmp_path, now=NOW + 600.0)[0]
    first, *rest = lines(tmp_path, is_held=False)
    assert first.startswith("Not running: process ")
    assert " ended, last seen" in first
    assert not any("fold" in line for line in rest)


def test_nothing_is_there(tmp_path: Path) -> None:
    assert read_status(tmp_path) is None


@pytest.mark.parametrize(
    "text",
    ["", "[", "[]", "{}", '{"state": "working"}', '{"pid": "x"}', json.dumps({"pid": 1, "host": 2, "updated": 1e300})],
)
def test_a_file_that_somebody_else_wrote_is_refused_in_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / STATUS_FILE).write_text(text)
    with pytest.raises(DamagedError):
        lines(tmp_path)


def test_a_folder_that_can_not_be_written_stops_nothing(tmp_path: Path) -> None:
    with StatusFile(tmp_path / "gone"):
        pass


@pytest.mark.parametrize("before", [None, "what an earlier one said"])
def test_only_a_start_that_was_refused_leaves_what_was_there(tmp_path: Path, before: str | None) -> None:
    file = tmp_path / STATUS_FILE
    if before is not None:
        file.write_text(before)
    with pytest.raises(UserError), StatusFile(tmp_path):
        raise UserError("other images")
    assert (file.read_text() if file.exists() else None) == before
    status = StatusFile(tmp_path)
    status.trial_started(0, fake.configuration(0), 5)
    with pytest.raises(UserError), status:
        raise UserError("the disk is full")
    known = json.loads(file.read_text())
    assert (known["state"], known["stage"]) == ("ended", "Ended by UserError")
