"""The database that a study lives in: an embedded SQLite file in its run folder, or one named by its URL."""

from __future__ import annotations

import contextlib
import logging
import re
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

import optuna
import sqlalchemy as sa

from search.errors import DamagedError, UserError
from search.storage.bulk_storage import QuickStorage
from search.storage.retrying import first_line
from search.storage.server import ServerStorage, open_server, with_driver

_log = logging.getLogger(__name__)

StudyStorage = optuna.storages.RDBStorage | ServerStorage
"""What a study lives in: Optuna's storage, and the database connections of the ledger."""

DATABASE: Final = "study.db"
_PLAIN_FILE: Final = re.compile(r"sqlite:///([^?]+)")
_BUSY_SECONDS: Final = 60.0  # how long a writer waits for another (optuna-dashboard, say) before giving up


def open_storage(
    folder: Path,
    url: str | None = None,
    *,
    create: bool = True,
    should_stop: Callable[[], bool] = lambda: True,
) -> StudyStorage:
    """Open the database of a run folder, or the one at `url`.

    Args:
        folder: the run folder.
        url: of another database.
        create: make it, if it is a file that is not there.
        should_stop: asked while a server is waited for that is away; always true: it is not waited for.

    Raises:
        DamagedError: the file is there but is no database, or a broken one.
        UserError: there is none and `create` is false; or the URL can't be opened.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    path = database_file(folder, url)
    if path is None:
        return _open_url(str(url), should_stop)
    if path.exists():
        _check(path)
    elif not create:
        wanted = "Pass the --out of an earlier search." if url is None else "Check --storage."
        raise UserError(f"no study in {path.parent}: {path.name} is not there. {wanted}")
    try:
        with contextlib.closing(_connect(path.resolve())) as connection:
            connection.execute("PRAGMA journal_mode=WAL")  # a property of the file: readers never block the writer
        return EmbeddedStorage(path.resolve())
    except (sqlite3.OperationalError, sa.exc.OperationalError) as error:
        detail = first_line(error)
        raise UserError(f"can't open {path} ({detail}). Pass an --out or a --storage that can be written.") from None
    except sa.exc.DatabaseError as error:
        raise _damaged(path, first_line(error)) from None
    except RuntimeError as error:  # Optuna's word for tables of another version
        raise _damaged(path, first_line(error)) from None


class EmbeddedStorage(QuickStorage):
    """Optuna's storage in an SQLite file that one process holds.

    Optuna takes a waiting trial by reading its state for update and then writing it. SQLite knows no reading for
    update: two threads could take the same one.

    Optuna's commits, some forty a trial, do not wait for the disk, the ledger's do, and bring to it what was committed
    before. So a power cut can cost what Optuna was told since the last fit: that is done again, the fits are there.

    Args:
        file: an absolute path; any name will do, since it is not opened by a URL, in which "?" means something.
    """

    def __init__(self, file: Path) -> None:
        self._file, self._taking = file, threading.Lock()
        self.careful = sa.create_engine("sqlite://", creator=partial(_connect, file), poolclass=sa.pool.QueuePool)
        super().__init__("sqlite://", {"creator": partial(_connect_hastily, file), "poolclass": sa.pool.QueuePool})

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled as its file: another process has connections of its own."""
        return EmbeddedStorage, (self._file,)

    def set_trial_state_values(
        self, trial_id: int, state: optuna.trial.TrialState, values: Sequence[float] | None = None
    ) -> bool:
        """As Optuna's, one thread at a time."""
        with self._taking:
            return super().set_trial_state_values(trial_id, state, values)


def _connect(file: Path) -> sqlite3.Connection:
    return sqlite3.connect(file, timeout=_BUSY_SECONDS, check_same_thread=False)


def _connect_hastily(file: Path) -> sqlite3.Connection:
    """A connection whose commits do not wait for the disk."""
    connection = _connect(file)
    connection.execute("PRAGMA synchronous=NORMAL")
    return connection


def holds_study(folder: Path, url: str | None = None) -> bool:
    """Whether there may be a study to go on with; a database behind a URL is not asked."""
    path = database_file(folder, url)
    return path is None or path.exists()


def hide_credentials(url: str) -> str:
    """The URL without anything but its kind, since a password may stand in many places; a plain file stays as it is.

    >>> hide_credentials("postgresql://me:secret@host/studies"), hide_credentials("sqlite:///x.db")
    ('postgresql://***', 'sqlite:///x.db')
    """
    if _PLAIN_FILE.fullmatch(url):
        return url
    kind, separator, _ = url.partition("://")
    return f"{kind}://***" if separator else "***"


def database_file(folder: Path, url: str | None) -> Path | None:
    """The file that the study lives in; None where it lives on a server, or in memory."""
    if url is None:
        return folder / DATABASE
    plain = _PLAIN_FILE.fullmatch(url)
    return None if plain is None or plain[1] == ":memory:" else Path(plain[1])


def close(storage: StudyStorage) -> None:
    """Give back its connections."""
    storage.remove_session()
    storage.engine.dispose()
    ledger_engine(storage).dispose()


@contextmanager
def closing(storage: StudyStorage) -> Iterator[None]:
    """Gives back its connections at the end of the block."""
    try:
        yield
    finally:
        close(storage)


def ledger_engine(storage: StudyStorage) -> sa.Engine:
    """By which the ledger writes into the study's database."""
    return storage.careful if isinstance(storage, EmbeddedStorage) else storage.engine


def retry_policy_of(storage: StudyStorage) -> Callable[[Callable[[], Any]], Any]:
    """How what lies beside the study in its database is to be asked."""
    return storage.retry if isinstance(storage, ServerStorage) else lambda ask: ask()


def is_server(url: str | None) -> bool:
    """Whether the URL names a database that several hosts may work with.

    >>> is_server("postgresql://me@host/studies"), is_server("sqlite:///x.db"), is_server(None)
    (True, False, False)
    """
    return url is not None and url.partition("://")[0].partition("+")[0] in ("postgresql", "postgres")


def _open_url(url: str, should_stop: Callable[[], bool]) -> StudyStorage:
    try:
        if sa.make_url(url).get_backend_name() not in ("sqlite", "postgresql"):
            raise sa.exc.NoSuchModuleError
        whole = url.replace("{", "{{").replace("}", "}}")  # Optuna fills in templates
        if is_server(url):
            return open_server(with_driver(whole), should_stop)
        return QuickStorage(whole)
    except sa.exc.NoSuchModuleError:
        detail = "SQLite and PostgreSQL are known"
    except (sa.exc.ArgumentError, ValueError):
        detail = "not a database URL"
    except ImportError as error:
        detail = f"{error.__cause__ or error}; install that driver"
    except sa.exc.DBAPIError as error:
        detail = first_line(error)
    for secret in filter(None, (url, *_passwords(url))):
        detail = detail.replace(secret, "***")
    raise UserError(
        f"can't open the storage {hide_credentials(url)} ({detail}). "
        "Expected --storage such as sqlite:///studies.db or postgresql://user@host/name."
    )


def _passwords(url: str) -> list[str]:
    try:
        parts = sa.make_url(url)
    except (sa.exc.ArgumentError, ValueError):
        return []
    return [str(parts.password or ""), *(str(value) for value in parts.query.values())]


@contextmanager
def explain_write_errors(folder: Path, url: str | None) -> Iterator[None]:
    """Work with a study that was opened. Raises UserError where it can't be written any more."""
    try:
        yield
    except (sa.exc.OperationalError, optuna.exceptions.StorageInternalError) as error:
        _log.info("the study can't be written", exc_info=True)  # the terminal is told in one line
        raise _unwritable(error, folder, url) from None


def _unwritable(error: Exception, folder: Path, url: str | None) -> UserError:
    """What to do when a study that was opened can't be written any more: a full disk, a folder that lost its rights."""
    cause = error if isinstance(error, sa.exc.SQLAlchemyError) else error.__cause__ or error
    where = folder / DATABASE if url is None else hide_credentials(url)
    return UserError(
        f"the study in {where} can't be written any more ({first_line(cause)}). What was recorded is kept: make room "
        "or make it writable, and the same command goes on."
    )


def _check(path: Path) -> None:
    try:
        connection = sqlite3.connect(path, timeout=_BUSY_SECONDS)
        try:
            (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        finally:
            connection.close()
    except sqlite3.DatabaseError as error:
        raise _damaged(path, str(error)) from None
    if verdict != "ok":
        raise _damaged(path, str(verdict).splitlines()[0])


def _damaged(path: Path, detail: str) -> DamagedError:
    return DamagedError(
        f"{path} can't be read as a study ({detail}). It was left as it is; "
        "move it away to start anew, or pass another --out."
    )
