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
from search.storage.bulk_storage import BulkStorage
from search.storage.retrying import Retry, call_once, first_line
from search.storage.server import ServerStorage, open_server, with_driver

_log = logging.getLogger(__name__)

StudyStorage = optuna.storages.RDBStorage | ServerStorage
"""Optuna's storage of a study, with the database connections that the ledger uses too."""

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
        should_stop: asked while waiting for a server that can't be reached; if it is always true, nobody waits.

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
        raise UserError(
            f"can't open {path} ({detail}). Change its permissions, or pass another --out or --storage."
        ) from None
    except sa.exc.DatabaseError as error:
        raise _damaged(path, first_line(error)) from None
    except RuntimeError as error:  # Optuna's word for tables of another version
        raise _damaged(path, first_line(error)) from None


class EmbeddedStorage(BulkStorage):
    """Optuna's storage in an SQLite file that one process works with.

    Optuna takes a waiting trial by reading its state for update and then writing it. SQLite can't read for update, so
    two threads could take the same trial: here one thread at a time changes the state of trials.

    Optuna's commits, some forty a trial, do not wait for the disk. The ledger's do, and bring to the disk all that was
    committed before. A power cut can only lose what Optuna was told since the last fit, and no fit.

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
        """Write the state of a trial, one thread at a time."""
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
    """Whether there may be a study to go on with. A database behind a URL is not opened for that."""
    path = database_file(folder, url)
    return path is None or path.exists()


def hide_credentials(url: str) -> str:
    """The URL with nothing but its kind, since a password may stand in many places; a plain file stays as it is.

    >>> hide_credentials("postgresql://me:secret@host/studies"), hide_credentials("sqlite:///x.db")
    ('postgresql://***', 'sqlite:///x.db')
    """
    if _PLAIN_FILE.fullmatch(url):
        return url
    kind, separator, _ = url.partition("://")
    return f"{kind}://***" if separator else "***"


def database_file(folder: Path, url: str | None) -> Path | None:
    """The file of the study's database; None for a database on a server, or in memory."""
    if url is None:
        return folder / DATABASE
    plain = _PLAIN_FILE.fullmatch(url)
    return None if plain is None or plain[1] == ":memory:" else Path(plain[1])


def close(storage: StudyStorage) -> None:
    """Close the storage's database connections."""
    storage.remove_session()
    storage.engine.dispose()
    ledger_engine(storage).dispose()


@contextmanager
def closing(storage: StudyStorage) -> Iterator[None]:
    """Close the storage's database connections at the end of the `with` block."""
    try:
        yield
    finally:
        close(storage)


def ledger_engine(storage: StudyStorage) -> sa.Engine:
    """The engine by which the ledger reads and writes the study's database; its commits wait for the disk."""
    return storage.careful if isinstance(storage, EmbeddedStorage) else storage.engine


def retry_policy_of(storage: StudyStorage) -> Retry:
    """The retry policy of a storage on a server, for other tables of its database; elsewhere plain calls."""
    return storage.retry if isinstance(storage, ServerStorage) else call_once


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
        return BulkStorage(whole)
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
    """Raise a UserError that says what to do where the `with` block can't write the study any more."""
    try:
        yield
    except (sa.exc.OperationalError, optuna.exceptions.StorageInternalError) as error:
        _log.info("the study can't be written", exc_info=True)  # the terminal shows one line
        raise _unwritable(error, folder, url) from None


def _unwritable(error: Exception, folder: Path, url: str | None) -> UserError:
    """What to do when a study that was opened can't be written any more: a full disk, a folder that lost its rights."""
    cause = error if isinstance(error, sa.exc.SQLAlchemyError) else error.__cause__ or error
    where = folder / DATABASE if url is None else hide_credentials(url)
    return UserError(
        f"the study in {where} can't be written any more ({first_line(cause)}). Everything recorded so far is kept. "
        "Free some disk space or make it writable, then run the same command again to continue."
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
        f"{path} can't be read as a study ({detail}). It was not changed. "
        "Move it away to start a new study, or pass another --out."
    )
