"""How a search is getting on, from another terminal."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

import run_search
from commands.status import NOT_RUNNING
from commands.terminal import DONE, USER_ERROR
from reports.live_status import StatusFile
from search.errors import BusyError
from search.storage.run_folder import lock_folder


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """A run folder in which a search worked."""
    with lock_folder(tmp_path) as hold:
        hold.keep()
        with StatusFile(tmp_path) as status:
            status.stage("Searching")
    return tmp_path


def dead_process() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def change(out: Path, **values: object) -> None:
    (out / "status.json").write_text(json.dumps(json.loads((out / "status.json").read_text()) | values))


def look(out: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    code = run_search.main(["status", "--out", str(out)])
    return code, capsys.readouterr().out


def test_a_search_that_works_is_running_and_one_that_ended_is_not(
    out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, told = look(out, capsys)
    assert code == NOT_RUNNING
    assert f"Not running: process {os.getpid()} on {platform.node()} ended" in told
    with lock_folder(out), StatusFile(out) as status:
        status.stage("Searching")
        code, told = look(out, capsys)
    assert code == DONE
    assert told.startswith("Running for")


def test_a_search_that_was_killed_is_not_running(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    change(out, state="working", pid=dead_process())
    code, told = look(out, capsys)
    assert code == NOT_RUNNING
    assert "died or was killed" in told


def test_another_command_in_the_folder_of_a_killed_search(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    change(out, state="working", pid=dead_process())
    with lock_folder(out):
        code, told = look(out, capsys)
        with pytest.raises(BusyError, match=r"another run is working in \S+\. Wait"), lock_folder(out):
            pass
    assert code == NOT_RUNNING
    assert told.startswith("Another command, such as explain, is using the folder.\nNot running:")


@pytest.mark.parametrize("pid", ["x", None, 1e400, [1]])
def test_a_status_that_names_no_process_is_told_in_one_line(
    pid: object, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change(out, pid=pid)
    with lock_folder(out):
        assert run_search.main(["status", "--out", str(out)]) == USER_ERROR
    assert "has missing or wrong values" in capsys.readouterr().err


def test_the_second_start_is_told_who_holds_the_folder(out: Path) -> None:
    change(out, state="working", pid=os.getpid())
    with lock_folder(out), pytest.raises(BusyError, match=rf"\(process {os.getpid()} on "), lock_folder(out):
        pass
    change(out, state="working", pid=1234, host="elsewhere")
    with lock_folder(out), pytest.raises(BusyError, match=r"\(process 1234 on 'elsewhere'\)"), lock_folder(out):
        pass
