"""The sessions of a search: a single one, or one in every window, and the waiting in between."""

from __future__ import annotations

import logging
import os
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from commands.terminal import DONE, INTERRUPTED, disk_error, log_to, print_lines, write_reports
from search.errors import UserError

if TYPE_CHECKING:
    from search.events import Listener
    from search.request import SearchRequest
    from search.schedule.windows import Hours
    from search.session.session import SessionResult
    from search.storage.run_folder import FolderLock

_log = logging.getLogger("search.run")

_LEAST_SECONDS: Final = 60.0  # a window with less time left is skipped if another one follows
_WORTH_SECONDS: Final = 600.0  # time left in a window for which another session is worth starting
_RETRY_SECONDS: Final = 60.0  # between two attempts to start a session that failed
_FINISH_SECONDS: Final = 1800.0  # time limit of the --on-finish command
_POLL_SECONDS: Final = 1.0  # between looks at the wall clock while waiting: it may be set, or a laptop may wake up


class SessionLoop:
    """Runs sessions one after another while holding the lock of the run folder.

    Args:
        request: the search to run.
        hours: when sessions may run.
        stop_requested: set to end the loop cleanly.
        quiet: print only errors on the terminal.
        on_finish: shell command to run after each session; None for none.
    """

    def __init__(
        self,
        request: SearchRequest,
        hours: Hours,
        stop_requested: threading.Event,
        *,
        quiet: bool,
        on_finish: str | None,
    ) -> None:
        from rich.console import Console

        self._request, self._hours, self._stop_requested = request, hours, stop_requested
        self._quiet, self._on_finish = quiet, on_finish
        self._has_failed = False  # in the last session
        self._console = Console(stderr=True)

    def run(self) -> int:
        """Run until the study is finished, the last window is over or `stop_requested` is set; return the exit code."""
        from reports.live_status import StatusFile
        from search.request import refuse_overlapping_folders
        from search.session.setup import OutOfTime, StartCancelled
        from search.storage.run_folder import lock_folder

        request, code, after, has_started = self._request, None, 0.0, False
        refuse_overlapping_folders(request)
        with (
            lock_folder(request.out, request.storage) as hold,
            log_to(request.out, self._console, quiet=self._quiet),
            StatusFile(request.out) as self._status,
        ):
            try:
                while (span := self._hours.next(max(after, time.time()))) is not None:
                    if span[0] > time.time():
                        if not has_started:
                            self._check_start(hold)
                            has_started = True
                        span = self._wait(after)
                    if span is None:  # a machine that slept missed its last hours
                        break
                    if span[1] is not None and span[1] - time.time() < _LEAST_SECONDS and self._hours.next(span[1]):
                        after = span[1]
                        continue
                    try:
                        code, session = self._session(hold, span[1])
                    except OutOfTime as error:
                        if span[1] is None or self._hours.next(span[1]) is None:
                            raise
                        _log.warning("%s The search continues in the next window.", error)
                        after = span[1]
                        continue
                    except (UserError, OSError) as error:
                        user_error = error if isinstance(error, UserError) else disk_error(error)
                        if not has_started or span[1] is None or user_error is None:
                            raise
                        # The cause may pass: a database that is unavailable, a full disk.
                        _log.error("%s Trying again in a minute.", user_error)
                        if self._stop_requested.wait(_RETRY_SECONDS):
                            raise StartCancelled from None
                        continue
                    has_started = True
                    if session.is_last or span[1] is None or self._stop_requested.is_set():
                        return code
                    is_worth_it = session.has_trained and span[1] - time.time() >= _WORTH_SECONDS
                    after = 0.0 if is_worth_it else span[1]  # finalists may have ended early
            except StartCancelled:
                nothing = "Interrupted before there was anything to report."
                print_lines(nothing if code is None else "Interrupted while waiting.")
                return INTERRUPTED
            if code is None and (request.out / "report.html").exists():
                print_lines(f"--deadline has passed. The results are in {request.out / 'report.html'}.")
                return DONE
            if code is None:
                deadline = datetime.fromtimestamp(self._hours.deadline or 0)
                raise UserError(
                    f"--deadline {deadline:%Y-%m-%dT%H:%M} has passed, or comes before the next window. Pass a later "
                    "one. To write the report of an existing study again, use: run_search.py report --out DIR."
                )
            return code

    def _check_start(self, hold: FolderLock) -> None:
        """Prepare a session without running it, so that errors are reported now and not at night."""
        from search.schedule.budget import Clock
        from search.session.session import check_start

        with self._display() as listener:
            check_start(self._request, listener, Clock(stop_requested=self._stop_requested), hold)

    def _wait(self, after: float) -> tuple[float, float | None] | None:
        """Wait by the wall clock until the next window opens; return its start and end, None if there is none.

        Raises:
            StartCancelled: `stop_requested` was set.
        """
        from search.session.setup import StartCancelled

        announced = None
        with self._display() as listener:
            while (span := self._hours.next(max(after, time.time()))) is not None and span[0] > time.time():
                if span[0] != announced:
                    listener.waiting(span[0])
                    announced = span[0]
                if self._stop_requested.wait(_POLL_SECONDS):
                    raise StartCancelled
        return span

    def _session(self, hold: FolderLock, end: float | None) -> tuple[int, SessionResult]:
        """Run a session that ends at `end` (seconds since 1970; None for no end); return exit code and result."""
        from search.schedule.budget import Clock
        from search.session.session import SearchFailed, search
        from search.session.setup import OutOfTime, StartCancelled

        later = None if end is None else self._hours.next(end)
        usual = None if later is None or later[1] is None else later[1] - later[0]
        clock = Clock(self._request.budget.seconds, until=end, usual=usual, stop_requested=self._stop_requested)
        try:
            with self._display(end) as listener:
                session = search(self._request, listener, clock, hold=hold)
            code = write_reports(session.results, self._request.out, interrupted=self._stop_requested.is_set())
        except BaseException as error:
            if isinstance(error, SearchFailed):  # a bug or a broken machine: write the report before the traceback
                write_reports(error.results, self._request.out, interrupted=False)
            if (
                not isinstance(error, OutOfTime) or later is None
            ):  # else the next window may be long enough for the images
                self._finish("interrupted" if isinstance(error, StartCancelled | KeyboardInterrupt) else "failed")
            raise
        if self._stop_requested.is_set():
            self._finish("interrupted")
        elif not session.is_last and end is not None:
            self._finish("hours")
        elif session.has_trained:  # a finished study that is started again every night is no news
            self._finish("finished")
        return code, session

    def _finish(self, ended: str) -> None:
        """Run the user's command, if there is one; after several failures in a row only once."""
        is_repeated, self._has_failed = self._has_failed and ended == "failed", ended == "failed"
        if self._on_finish is not None and not is_repeated:
            _run_shell(self._on_finish, self._request.out, ended)

    @contextmanager
    def _display(self, ends: float | None = None) -> Iterator[Listener]:
        from reports.live import LiveDisplay
        from reports.live_lines import EventLog
        from search.events import Listeners, SilentListener

        display = nullcontext(SilentListener()) if self._quiet else LiveDisplay(self._console)
        later = None if ends is None else self._hours.next(ends)
        self._status.hours(ends, None if later is None else later[0])
        with display as shown:
            yield Listeners(shown, self._status, EventLog())


def _run_shell(command: str, out: Path, ended: str) -> None:
    """Run the user's command and log if it fails."""
    environment = {**os.environ, "STEADYNET_OUT": str(out.resolve()), "STEADYNET_ENDED": ended}
    _log.info("Running the --on-finish command (%s)", ended)
    try:
        code = subprocess.run(command, shell=True, env=environment, check=False, timeout=_FINISH_SECONDS).returncode
    except subprocess.TimeoutExpired:
        _log.error("--on-finish: the command was stopped after %.0f minutes.", _FINISH_SECONDS / 60)
        return
    if code:  # the command itself may contain a password: name only its exit code
        _log.error("--on-finish: the command failed with exit code %d.", code)
