"""Where a study lives: a run folder with an embedded SQLite file, or a database named by its URL."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import optuna
import sqlalchemy as sa
from filelock import FileLock, Timeout

from search.errors import BusyError, DamagedError, UserError

DATABASE: Final = "study.db"
_LOCK: Final = ".lock"
_BUSY_SECONDS: Final = 60.0  # how long a writer waits for another (optuna-dashboard, say) before giving up


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Make the run folder and hold it alone. The lock ends with the process, however that ends.

    Raises:
        UserError: the folder can't be made or written.
        BusyError: another process holds it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(13, "Permission denied")
        lock = FileLock(folder / _LOCK, timeout=0)
        lock.acquire()
    except Timeout:
        raise BusyError(
            f"another run is working in {folder}. Wait for it, stop it with Ctrl-C, or pass another --out."
        ) from None
    except OSError as error:
        reason = error.strerror or str(error)
        raise UserError(
            f"can't write to the run folder {folder} ({reason}). Pass an --out that can be written."
        ) from None
    try:
        yield
    finally:
        lock.release()
        if [path.name for path in folder.iterdir()] == [_LOCK]:  # a start that failed leaves nothing behind
            (folder / _LOCK).unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                folder.rmdir()


def open_storage(folder: Path, url: str | None = None, *, create: bool = True) -> optuna.storages.RDBStorage:
    """Open the database of a run folder, or the one at `url`.

    Raises:
        DamagedError: the file is there but is no database, or a broken one.
        UserError: there is none and `create` is false.
    """
    path = folder / DATABASE
    if url is None:
        if path.exists():
            _check(path)
        elif not create:
            raise UserError(f"no study in {folder}: {DATABASE} is not there. Pass the --out of an earlier search.")
        else:
            with sqlite3.connect(path) as connection:
                connection.execute("PRAGMA journal_mode=WAL")  # a property of the file: readers never block the writer
            connection.close()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        arguments = {"connect_args": {"timeout": _BUSY_SECONDS}} if url is None else {}
        return optuna.storages.RDBStorage(url or f"sqlite:///{path.resolve()}", engine_kwargs=arguments)
    except (sa.exc.DatabaseError, sa.exc.ArgumentError, ImportError) as error:
        if url is None:
            raise _damaged(path, str(error.__cause__ or error)) from None
        detail = str(error.__cause__ or error).splitlines()[0]
        raise UserError(f"can't open the storage ({detail}). Check --storage.") from None


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
