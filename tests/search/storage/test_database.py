"""Run folders and databases: held alone, opened whole, refused in one line."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.storages._rdb.models import TrialModel

from search.errors import BusyError, DamagedError, UserError
from search.storage.database import closing, hide_credentials, holds_study, ledger_engine, open_storage
from search.storage.ledger import Ledger
from search.storage.load import open_study
from search.storage.run_folder import lock_folder

pytestmark = [pytest.mark.usefixtures("known_migrations"), pytest.mark.slow]

HOLD = """
import sys, time
from pathlib import Path
from search.storage.run_folder import lock_folder
with lock_folder(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_run_folder_is_held_by_one_process_until_that_is_dead(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    other = subprocess.Popen([sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with (
            pytest.raises(BusyError, match=r"another run is working in .*run\. Wait for it, stop it"),
            lock_folder(folder),
        ):
            pass
    finally:
        os.kill(other.pid, signal.SIGKILL)
        other.communicate()
    with lock_folder(folder):
        (folder / "study.db").touch()
    assert (folder / "study.db").exists()


def test_a_database_elsewhere_is_held_by_one_run(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/x.db"
    with lock_folder(tmp_path / "one", url), pytest.raises(BusyError, match=r"another run is working with .*x\.db"):
        with lock_folder(tmp_path / "two", url):
            pass
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(PermissionError, match="its own"), lock_folder(tmp_path / "one", url):
        raise PermissionError("its own")  # not taken for one of the lock


def test_a_start_without_a_study_takes_its_folders_away_again(tmp_path: Path) -> None:
    with lock_folder(tmp_path / "runs" / "x"):
        (tmp_path / "runs" / "x" / "run.log").touch()
    assert list(tmp_path.iterdir()) == []


def test_what_a_refused_start_wrote_goes_but_not_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "run.log").write_text("mine")
    with lock_folder(tmp_path):
        (tmp_path / "worker.log").touch()
    assert [path.name for path in tmp_path.iterdir()] == ["run.log"]


def test_a_study_in_a_database_elsewhere_keeps_the_folder(tmp_path: Path) -> None:
    with lock_folder(tmp_path / "run", f"sqlite:///{tmp_path / 'x.db'}") as hold:
        (tmp_path / "run" / "worker.log").write_text("no such device")
        hold.keep()
    assert (tmp_path / "run" / "worker.log").read_text() == "no such device"


def test_what_was_there_before_stays(tmp_path: Path) -> None:
    (tmp_path / "run.log").write_text("mine")
    with lock_folder(tmp_path), lock_folder(tmp_path / "new"):
        (tmp_path / "new" / "notes.txt").touch()
    assert (tmp_path / "run.log").read_text() == "mine"
    assert (tmp_path / "new" / "notes.txt").exists()


def test_a_folder_that_can_not_be_made_is_told_of(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(
        UserError, match=r"can't write to the run folder .* \(Not a directory\)\. Change its permissions"
    ):
        with lock_folder(tmp_path / "file" / "run"):
            pass


def test_threads_never_take_the_same_waiting_trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = TrialModel.find_or_raise_by_id

    def read_slowly(*arguments: Any, **options: Any) -> TrialModel:
        found = read(*arguments, **options)
        time.sleep(0.005)  # between reading and writing: time for another thread to read
        return found

    monkeypatch.setattr(TrialModel, "find_or_raise_by_id", read_slowly)
    study = optuna.create_study(storage=open_storage(tmp_path))
    for number in range(24):
        study.enqueue_trial({"x": number})
    meeting = threading.Barrier(4)

    def take(_: int) -> list[int]:
        taken = []
        for _ in range(6):
            meeting.wait(30)
            taken.append(study.ask().number)
        return taken

    with ThreadPoolExecutor(4) as threads:
        taken = [number for one in threads.map(take, range(4)) for number in one]
    assert sorted(taken) == list(range(24))


@pytest.mark.parametrize("name", ["plain", "a b", "Größe 100%", "what?x=1", "{braces}", "#1"])
def test_any_folder_name_will_do(name: str, tmp_path: Path) -> None:
    folder = tmp_path / name
    folder.mkdir()
    storage = open_storage(folder)
    Ledger(storage.engine, "s").set_fact("seed", 1)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert holds_study(folder)
    assert Ledger(open_storage(folder, create=False).engine, "s").fact("seed") == 1


def test_readers_never_block_the_writer(tmp_path: Path) -> None:
    """The file stays in write-ahead mode, as a dashboard beside the run needs it."""
    storage = open_storage(tmp_path)
    optuna.create_study(storage=storage, study_name="s")
    reader = sqlite3.connect(tmp_path / "study.db", isolation_level=None)
    try:
        assert reader.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        reader.execute("BEGIN")
        assert reader.execute("SELECT count(*) FROM studies").fetchone() == (1,)
        Ledger(storage.engine, "s").set_fact("seed", 1)
    finally:
        reader.close()


@pytest.fixture(scope="module")
def study_bytes(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("whole")
    storage = open_storage(folder)
    optuna.create_study(storage=storage, study_name="steadynet")
    Ledger(storage.engine, "steadynet").set_fact("seed", 1)
    storage.engine.dispose()
    return (folder / "study.db").read_bytes()


@pytest.mark.parametrize("share", [0.01, 0.3, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("create", [True, False])
def test_a_truncated_study_is_refused_and_left_as_it_was(
    share: float, create: bool, study_bytes: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "study.db"
    path.write_bytes(study_bytes[: int(share * len(study_bytes))])
    before = path.read_bytes()
    with pytest.raises(DamagedError, match=r"study\.db can't be read as a study \(.+\)\. It was not changed\. Move"):
        open_storage(tmp_path, create=create)
    assert path.read_bytes() == before


def test_what_is_no_database_is_refused_and_left_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "study.db").write_text("trial,score\n" * 100)
    with pytest.raises(DamagedError, match="not a database"):
        open_storage(tmp_path)
    assert (tmp_path / "study.db").read_text().startswith("trial,score")


def test_a_folder_without_a_study_is_not_given_one_by_a_report(tmp_path: Path) -> None:
    assert not holds_study(tmp_path)
    with pytest.raises(
        UserError, match=r"no study in .*: study\.db is not there\. Pass the --out of an earlier search"
    ):
        open_study(tmp_path)
    with pytest.raises(UserError, match=r"no study in .*: x\.db is not there\. Check --storage"):
        open_study(tmp_path, f"sqlite:///{tmp_path}/x.db")
    assert list(tmp_path.iterdir()) == []


def test_a_study_that_is_not_ours_is_no_report(tmp_path: Path) -> None:
    optuna.create_study(storage=open_storage(tmp_path), study_name="other")
    with pytest.raises(UserError, match=r"no study 'steadynet' in .*Pass the --out \(and --study\)"):
        open_study(tmp_path)
    with pytest.raises(UserError, match=r"ended before its images were read\. Run the same"):
        open_study(tmp_path, name="other")


def test_a_file_given_by_url_is_opened_like_the_run_folders_own(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/x.db"
    assert not holds_study(tmp_path, url)
    Ledger(open_storage(tmp_path / "out", url).engine, "s").set_fact("seed", 1)
    assert holds_study(tmp_path, url)
    assert not (tmp_path / "out").exists()
    with sqlite3.connect(tmp_path / "x.db") as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()
    (tmp_path / "y.db").write_text("no database" * 20)
    with pytest.raises(DamagedError, match=r"y\.db can't be read as a study"):
        open_storage(tmp_path, f"sqlite:///{tmp_path}/y.db")


SECRET = "geheim@1?x"


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("studies.db", "not a database URL"),
        ("", "not a database URL"),
        ("nonsense://me:geheim%401%3Fx@host/x", "SQLite and PostgreSQL are known"),
        ("mysql://me:geheim%401%3Fx@host/x", "SQLite and PostgreSQL are known"),
        ("postgresql+nodriver://me:geheim%401%3Fx@host/x", "SQLite and PostgreSQL are known"),
        ("sqlite://me:geheim@host:port/x", "not a database URL"),
        ("sqlite:////none/such/x.db", "unable to open database file"),
    ],
)
def test_a_url_that_can_not_be_opened_is_told_of_without_its_password(url: str, reason: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=reason) as caught:
        open_storage(tmp_path, url)
    assert "geheim" not in str(caught.value)
    assert "--storage" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("sqlite:///x.db", "sqlite:///x.db"),
        ("sqlite:////data/a b.db", "sqlite:////data/a b.db"),
        ("postgresql://me:geheim@host/x", "postgresql://***"),
        ("postgresql://host/x?password=a@geheim", "postgresql://***"),
        ("sqlite:///x.db?key=geheim", "sqlite://***"),
        ("geheim", "***"),
    ],
)
def test_credentials_are_hidden_wherever_they_stand(url: str, shown: str) -> None:
    assert hide_credentials(url) == shown


def test_the_ledger_s_commits_wait_for_the_disk_and_optuna_s_do_not(tmp_path: Path) -> None:
    """2 is FULL, 1 is NORMAL (sqlite.org/pragma.html#pragma_synchronous)."""
    storage = open_storage(tmp_path)
    with closing(storage):
        said = []
        for engine in (storage.engine, ledger_engine(storage)):
            with engine.connect() as connection:
                said.append(connection.exec_driver_sql("PRAGMA synchronous").scalar())
    assert said == [1, 2]
