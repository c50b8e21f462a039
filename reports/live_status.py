"""The status file in the run folder, which lets another terminal show the progress of a run."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from reports.atomic_write import replace_text
from reports.wording import counted, duration, moment, number, shown
from search.errors import DamagedError, UserError
from search.events import EarlierProgress, SilentListener
from search.fit_checks import Check
from search.records import STATUS_FILE, Fit, Trial, TrialState, Verdict
from search.settings import Plan
from spaces.config import Configuration

_EVERY_SECONDS: Final = 5.0  # between two writes
_LATE_SECONDS: Final = 60.0  # after so long without a write the process hangs or its folder can't be written


class StatusFile(SilentListener):
    """A listener that writes the progress to the status file every few seconds while the context is open.

    Every method may be called from any thread.

    Args:
        folder: the run folder.
        wall: the current time in seconds since 1970, for tests.
    """

    def __init__(self, folder: Path, wall: Callable[[], float] = time.time) -> None:
        self._path, self._wall = folder / STATUS_FILE, wall
        self._lock, self._closed = threading.Lock(), threading.Event()
        self._collapses: Counter[str] = Counter()
        self._running: dict[int, dict[str, int]] = {}
        self._values: dict[str, Any] = {
            "schema": 1,
            "pid": os.getpid(),
            "host": platform.node(),
            "started": wall(),
            "state": "working",
            "stage": "Starting",
            "until": None,
            "ends": None,
            "next_hours": None,
            "budget_ends": None,
            "trials": 0,
            "of": None,
            "best": None,
            "best_trial": None,
        }
        self._before: bytes | None = None
        self._has_worked = False
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> StatusFile:
        with contextlib.suppress(OSError):
            self._before = self._path.read_bytes()
        self._write()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed.set()
        self._thread.join()
        if kind is not None and issubclass(kind, UserError) and not self._has_worked:
            self._restore()
            return
        self._update(state="ended", stage="Ended" if kind is None else f"Ended by {kind.__name__}")
        self._write()

    def _restore(self) -> None:
        """Restore the file of an earlier run after a start that was refused."""
        with contextlib.suppress(OSError):
            if self._before is None:
                self._path.unlink(missing_ok=True)
            else:
                self._path.write_bytes(self._before)

    def hours(self, ends: float | None, following: float | None) -> None:
        """Store when the window ends and when the next one opens (seconds since 1970; None for never)."""
        self._update(ends=ends, next_hours=following, budget_ends=None)
        with self._lock:
            self._running.clear()

    def stage(self, text: str) -> None:
        """Store the stage; trials of the stage before are no longer running."""
        with self._lock:
            self._running.clear()
        self._update(stage=text, state="working", until=None)

    def waiting(self, until: float) -> None:
        """Store until when the run waits (seconds since 1970)."""
        self._update(stage="Waiting", state="waiting", until=until)

    def planned(self, plan: Plan, trials: int | None, seconds: float | None, before: EarlierProgress) -> None:
        """Store the budget (`seconds` is the time left) and the trials and best score of earlier sessions."""
        best = None if before.best_trial is None else before.best_trial.number
        ends = None if seconds is None else self._wall() + seconds
        self._update(of=trials, trials=before.trials, best=before.best, best_trial=best, budget_ends=ends)

    def trial_started(self, number: int, configuration: Configuration, folds: int) -> None:
        """Store a trial that has started, at epoch 0 of its first fold."""
        self._has_worked = True
        with self._lock:
            self._running[number] = {"trial": number, "fold": 1, "folds": folds, "epoch": 0, "epochs": 0}

    def check(self, number: int, fold: int, check: Check, epochs: int) -> None:
        """Store fold and epoch of a running trial."""
        with self._lock:
            if number in self._running:
                self._running[number].update(fold=fold + 1, epoch=check.epoch, epochs=epochs)

    def fit_finished(self, fit: Fit) -> None:
        """Count the fit by its reason if it collapsed; its trial goes on to the next fold."""
        with self._lock:
            if (running := self._running.get(fit.trial)) is not None:
                running.update(fold=min(fit.fold + 2, running["folds"]), epoch=0)
            if fit.verdict is Verdict.COLLAPSED:
                self._collapses[fit.reason or "unknown"] += 1

    def trial_finished(self, trial: Trial, pooled: float | None, best: float | None) -> None:
        """Remove a finished trial from the running ones, count it and store the best score so far."""
        with self._lock:
            self._running.pop(trial.number, None)
            self._values["trials"] += trial.state is not TrialState.INTERRUPTED
            if best is not None:
                self._values["best"] = best
                if pooled is not None and pooled >= best:
                    self._values["best_trial"] = trial.number

    def _update(self, **values: Any) -> None:
        with self._lock:
            self._values.update(values)

    def _run(self) -> None:
        while not self._closed.wait(_EVERY_SECONDS):
            self._write()

    def _write(self) -> None:
        with self._lock:
            running = [dict(one) for one in self._running.values()]
            text = json.dumps(
                {**self._values, "updated": self._wall(), "collapses": dict(self._collapses), "running": running},
                indent=1,
            )
        with contextlib.suppress(OSError):  # a full disk is reported by the database
            replace_text(self._path, text + "\n")


def read_status(folder: Path) -> dict[str, Any] | None:
    """Return the last status of a run; None if no run ever wrote one.

    Raises:
        DamagedError: the file can't be read.
    """
    try:
        status = json.loads((folder / STATUS_FILE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise DamagedError(
            f"{folder / STATUS_FILE} can't be read ({error}). The next start of the search replaces it."
        ) from None
    return status if isinstance(status, dict) else {}


def status_lines(status: dict[str, Any], *, is_held: bool, now: float) -> list[str]:
    """Return the status as plain text.

    Args:
        status: the result of `read_status`.
        is_held: whether a process holds the lock of the run folder.
        now: the current time, seconds since 1970.

    Raises:
        DamagedError: the status has missing or wrong values.
    """
    try:
        return _lines(status, is_held, now)
    except (KeyError, TypeError, ValueError, OverflowError, OSError) as error:
        raise DamagedError(
            f"{STATUS_FILE} has missing or wrong values ({error}). The next start of the search replaces it."
        ) from None


def _lines(status: dict[str, Any], is_held: bool, now: float) -> list[str]:
    process = f"process {int(status['pid'])} on {shown(status['host'])}"
    if not is_held:
        end = "ended" if status["state"] == "ended" else "died or was killed"
        lines = [f"Not running: {process} {end}, last seen {moment(status['updated'])}."]
    elif now - status["updated"] > _LATE_SECONDS:
        late = duration(now - status["updated"])
        lines = [f"Running, {process}, but no update for {late}: the machine was asleep, or its disk is full."]
    elif status["state"] == "waiting":
        lines = [f"Waiting until {moment(status['until'])} (in {duration(status['until'] - now)}), {process}"]
    else:
        lines = [f"Running for {duration(now - status['started'])}, {process}: {shown(status['stage'])}"]
    of = f" of {status['of']}" if status["of"] else ""
    trial = "" if status["best_trial"] is None else f" (trial {status['best_trial']})"
    lines.append(f"{counted(status['trials'], 'trial')}{of}; best so far {number(status['best'])}{trial}")
    if status["collapses"]:
        counts = ", ".join(f"{count} {shown(reason)}" for reason, count in sorted(status["collapses"].items()))
        lines.append(f"Collapsed in this session: {counts}")
    if is_held and status["state"] == "working":
        for one in status["running"]:
            epoch = f", epoch {one['epoch']} of {one['epochs']}" if one["epochs"] else ""
            lines.append(f"trial {one['trial']}: fold {one['fold']} of {one['folds']}{epoch}")
        ends = [end for end in (status["ends"], status["budget_ends"]) if end is not None]
        if ends:
            lines.append(f"Ends at the latest: {moment(min(ends))}")
    if status["next_hours"] is not None:
        lines.append(f"Next window: {moment(status['next_hours'])}")
    return lines
