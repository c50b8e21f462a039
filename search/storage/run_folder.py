"""A run folder, and a database file elsewhere, held by one process alone."""

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
_BEFORE_A_STUDY: Final = {
    _LOCK,
    _HOST,
    STATUS_FILE,
    "run.log",
    "worker.log",
}  # what a start writes before it is known to be good
_LOOK_SECONDS: Final = 0.5  # who only looks whether the folder is held lets go of it sooner


class FolderLock:
    """A run folder that is held alone."""

    def __init__(self) -> None:
        self.kept = False

    def keep(self) -> None:
        """There is a study now, here or in the database that the folder's runs use: what is in the folder stays."""
        self.kept = True


@contextmanager
def lock_folder(folder: Path, url: str | None = None) -> Iterator[FolderLock]:
    """Make the run folder and hold it, and a database file elsewhere, alone. The lock ends with the process.

    Unless `FolderLock.keep` was called, what a start writes before it is known to be good is removed again, with the
    folders that were made here: a start that is refused leaves nothing behind.

    Raises:
        UserError: the folder can't be made or written.
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
            f"can't write to the run folder {folder} ({reason}). Pass an --out that can be written."
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
    """Who says to be at work in the folder, if it is known."""
    named = _named(folder)
    if named is None or named[0] == "ended" or is_gone(folder):  # ended: whoever is at work has not written yet
        return ""
    _, process, where = named
    return f" (process {process} on {where[:64]!r})"


def is_gone(folder: Path) -> bool:
    """Whether the process that last told of a search here is known to be dead, whoever may hold the folder now."""
    named = _named(folder)
    return named is not None and not may_live(*named[1:])


def _named(folder: Path) -> tuple[str, int, str] | None:
    """State, process and host that the status file names; None where it names none."""
    try:
        known = json.loads((folder / STATUS_FILE).read_text(encoding="utf-8"))
        return str(known.get("state")), int(known["pid"]), str(known["host"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError):
        return None


def host_of(folder: Path) -> str:
    """A name for whoever works in this run folder, the same at every start."""
    file = folder / _HOST
    try:
        return file.read_text(encoding="ascii").strip()[:32]
    except (OSError, UnicodeDecodeError):
        name = uuid.uuid4().hex
        file.write_text(name, encoding="ascii")
        return name


def is_held(folder: Path) -> bool:
    """Whether a process works in the run folder, or waits there for its hours. Looked at for a moment only."""
    try:
        with FileLock(folder / _LOCK, timeout=0):
            return False
    except Timeout:
        return True
    except OSError as error:
        raise UserError(f"can't look into {folder} ({error.strerror}).") from None


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
