"""Locks on a run folder, and on a database file elsewhere, so that one process alone works with them."""

from __future__ import annotations

import contextlib
import json
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from filelock import FileLock, Timeout

from search.errors import BusyError, UserError
from search.records import STATUS_FILE
from search.resources import may_live
from search.storage.database import DATABASE, database_file

_LOCK: Final = ".lock"
_HOST: Final = ".host"
_BEFORE_A_STUDY: Final = {_LOCK, _HOST, STATUS_FILE, "run.log", "worker.log"}
"""Files that a start writes before it is known whether it will be refused."""

_LOOK_SECONDS: Final = 0.5  # `is_held` has the lock for less


class FolderLock:
    """The lock on a run folder that this process holds."""

    def __init__(self) -> None:
        self.kept = False

    def keep(self) -> None:
        """Keep the folder's files, since there is a study now, in the folder or in another database."""
        self.kept = True


@contextmanager
def lock_folder(folder: Path, url: str | None = None) -> Iterator[FolderLock]:
    """Create the run folder, and lock it and a database file elsewhere. The lock ends with the process.

    Unless `FolderLock.keep` is called inside the `with` block, files written before there is a study are removed at its
    end, with the folders that were created here: a start that is refused leaves nothing behind.

    Raises:
        UserError: the folder can't be created or written.
        BusyError: another process holds it.
    """
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    foreign = {name for name in _BEFORE_A_STUDY if (folder / name).exists()}
    hold = FolderLock()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(13, "Permission denied")
        lock = FileLock(folder / _LOCK, timeout=_LOOK_SECONDS)
        lock.acquire()
    except Timeout:
        raise BusyError(
            f"another run is working in {folder}{_holder(folder)}. Wait for it, stop it with Ctrl-C, or pass another "
            "--out."
        ) from None
    except OSError as error:
        reason = error.strerror or str(error)
        raise UserError(
            f"can't write to the run folder {folder} ({reason}). Change its permissions, or pass another --out."
        ) from None
    try:
        with _file_locked(database_file(folder, url) if url else None):
            yield hold
    finally:
        if not hold.kept:
            is_new = not (folder / DATABASE).exists()
            for name in _BEFORE_A_STUDY - foreign - (set() if is_new else {_LOCK}):
                (folder / name).unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # something is in there, or another start is looking in
                for path in made:
                    path.rmdir()
        lock.release()


def _holder(folder: Path) -> str:
    """The process that works in the folder, as text for a message; empty if it is not known."""
    named = _named(folder)
    if named is None or named[0] == "ended" or is_gone(folder):  # ended: whoever is at work has not written yet
        return ""
    _, process, where = named
    return f" (process {process} on {where[:64]!r})"


def is_gone(folder: Path) -> bool:
    """Whether the process in the folder's status file is known to be dead; another one may hold the folder now."""
    named = _named(folder)
    return named is not None and not may_live(*named[1:])


def _named(folder: Path) -> tuple[str, int, str] | None:
    """State, process ID and host in the status file; None where they can't be read."""
    try:
        status = json.loads((folder / STATUS_FILE).read_text(encoding="utf-8"))
        return str(status.get("state")), int(status["pid"]), str(status["host"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError):
        return None


def host_of(folder: Path) -> str:
    """The name of the host that works in this run folder, the same at every start."""
    file = folder / _HOST
    try:
        return file.read_text(encoding="ascii").strip()[:32]
    except (OSError, UnicodeDecodeError):
        name = uuid.uuid4().hex
        file.write_text(name, encoding="ascii")
        return name


def is_held(folder: Path) -> bool:
    """Whether a process works in the run folder, or waits there for its working hours."""
    try:
        with FileLock(folder / _LOCK, timeout=0):
            return False
    except Timeout:
        return True
    except OSError as error:
        raise UserError(
            f"can't open the lock in {folder} ({error.strerror}). Make the folder readable and writable."
        ) from None


@contextmanager
def _file_locked(database: Path | None) -> Iterator[None]:
    if database is None or not database.parent.is_dir():
        yield
        return
    file = database.with_name(f".{database.name}.lock")
    lock = FileLock(file, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise BusyError(
            f"another run is working with {database}. Wait for it, or pass another --storage; several runs at once "
            "need a database server."
        ) from None
    except OSError as error:
        raise UserError(f"can't write beside {database} ({error.strerror}). Pass another --storage.") from None
    try:
        yield
    finally:
        if not database.exists():  # refused: nothing is left behind
            file.unlink(missing_ok=True)
        lock.release()
