"""A search over its hours: one session, or one in each of the hours in which it may work, and the waiting between."""

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

from commands.terminal import DONE, INTERRUPTED, log_to, no_room, tell, write
from search.errors import UserError

if TYPE_CHECKING:
    from search.events import Listener
    from search.request import SearchRequest
    from search.schedule.windows import Hours
    from search.session.session import SessionResult
    from search.storage.run_folder import FolderLock

_log = logging.getLogger("search.run")

_LEAST_SECONDS: Final = 60.0  # that hours must have left to be begun, if others follow
_WORTH_SECONDS: Final = 600.0  # left of the hours, for which it is worth to go on
_AGAIN_SECONDS: Final = 60.0  # to the next try, where a session of later hours could not begin or end
_FINISH_SECONDS: Final = 1800.0  # that --on-finish may take
_LOOK_SECONDS: Final = 1.0  # at the clock on the wall, while waiting: somebody may set it, a laptop may wake up


class WorkingHours:
    """One session after the other, the run folder being held all the while.

    Args:
        request: what is searched.
        hours: in which it may work.
        asked: set when somebody asks for the end.
        quiet: only errors on the terminal.
        on_finish: the user's command after each session; None: none.
    """

    def __init__(
        self, request: SearchRequest, hours: Hours, asked: threading.Event, *, quiet: bool, on_finish: str | None
    ) -> None:
        from rich.console import Console

        self._request, self._hours, self._asked = request, hours, asked
        self._quiet, self._on_finish = quiet, on_finish
        self._has_failed = False  # in the last session
        self._console = Console(stderr=True)

    def run(self) -> int:
        """Until the study is finished, the last hours are over, or somebody asks for the end."""
        from reports.live_status import StatusFile
        from search.request import refuse_overlapping_folders
        from search.session.setup import OutOfTime, StartCancelled
        from search.storage.run_folder import lock_folder

        request, code, after, is_known_good = self._request, None, 0.0, False
        refuse_overlapping_folders(request)
        with (
            lock_folder(request.out, request.storage) as hold,
            log_to(request.out, self._console, quiet=self._quiet),
            StatusFile(request.out) as self._status,
        ):
            try:
                while (span := self._hours.next(max(after, time.time()))) is not None:
                    if span[0] > time.time():
                        if not is_known_good:
                            self._rehearse(hold)
                            is_known_good = True
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
                        _log.warning("%s Going on in the next hours.", error)
                        after = span[1]
                        continue
                    except (UserError, OSError) as error:
                        known = error if isinstance(error, UserError) else no_room(error)
                        if not is_known_good or span[1] is None or known is None:
                            raise
                        # A database that is away, say, or a full disk: it may get better.
                        _log.error("%s Trying again in a minute.", known)
                        if self._asked.wait(_AGAIN_SECONDS):
                            raise StartCancelled from None
                        continue
                    is_known_good = True
                    if session.is_last or span[1] is None or self._asked.is_set():
                        return code
                    goes_on = session.has_trained and span[1] - time.time() >= _WORTH_SECONDS  # finalists took less
                    after = 0.0 if goes_on else span[1]
            except StartCancelled:
                tell(
                    "Interrupted before there was anything to report." if code is None else "Interrupted while waiting."
                )
                return INTERRUPTED
            if code is None and (request.out / "report.html").exists():
                tell(f"--deadline is over. What was found stands in {request.out / 'report.html'}.")
                return DONE
            if code is None:
                deadline = datetime.fromtimestamp(self._hours.deadline or 0)
                raise UserError(
                    f"--deadline {deadline:%Y-%m-%dT%H:%M} is over, or comes before the next hours of work. Pass a "
                    "later one. The report of a study that is there is made again by: run_search.py report --out DIR."
                )
            return code

    def _rehearse(self, hold: FolderLock) -> None:
        """What is wrong is said now, not in the night."""
        from search.schedule.budget import Clock
        from search.session.session import rehearse

        with self._display() as listener:
            rehearse(self._request, listener, Clock(stop_requested=self._asked), hold)

    def _wait(self, after: float) -> tuple[float, float | None] | None:
        """Until the next hours begin, by the clock on the wall as it then is. Returns them; None: there are no more.

        Raises:
            StartCancelled: somebody asked for it.
        """
        from search.session.setup import StartCancelled

        told = None
        with self._display() as listener:
            while (span := self._hours.next(max(after, time.time()))) is not None and span[0] > time.time():
                if span[0] != told:
                    listener.waiting(span[0])
                    told = span[0]
                if self._asked.wait(_LOOK_SECONDS):
                    raise StartCancelled
        return span

    def _session(self, hold: FolderLock, end: float | None) -> tuple[int, SessionResult]:
        """Work until `end`. Returns the exit code, and what came of it."""
        from search.schedule.budget import Clock
        from search.session.session import SearchFailed, search
        from search.session.setup import OutOfTime, StartCancelled

        later = None if end is None else self._hours.next(end)
        usual = None if later is None or later[1] is None else later[1] - later[0]
        clock = Clock(self._request.budget.seconds, until=end, usual=usual, stop_requested=self._asked)
        try:
            with self._display(end) as listener:
                session = search(self._request, listener, clock, hold=hold)
            code = write(session.results, self._request.out, interrupted=self._asked.is_set())
        except BaseException as error:
            if isinstance(error, SearchFailed):  # our bug or a broken machine: the report first, then the traceback
                write(error.results, self._request.out, interrupted=False)
            if not isinstance(error, OutOfTime) or later is None:  # else the next hours may do for the images
                self._finish("interrupted" if isinstance(error, StartCancelled | KeyboardInterrupt) else "failed")
            raise
        if self._asked.is_set():
            self._finish("interrupted")
        elif not session.is_last and end is not None:
            self._finish("hours")
        elif session.has_trained:  # a finished study, started again each night, is no news
            self._finish("finished")
        return code, session

    def _finish(self, ended: str) -> None:
        """Run the user's command, if there is one; of failures one after the other, after the first."""
        is_known, self._has_failed = self._has_failed and ended == "failed", ended == "failed"
        if self._on_finish is not None and not is_known:
            _run_shell(self._on_finish, self._request.out, ended)

    @contextmanager
    def _display(self, ends: float | None = None) -> Iterator[Listener]:
        from reports.live import LiveDisplay
        from reports.live_log import EventLog
        from search.events import Listeners, SilentListener

        display = nullcontext(SilentListener()) if self._quiet else LiveDisplay(self._console)
        later = None if ends is None else self._hours.next(ends)
        self._status.hours(ends, None if later is None else later[0])
        with display as shown:
            yield Listeners(shown, self._status, EventLog())


def _run_shell(command: str, out: Path, ended: str) -> None:
    """The user's own command; what comes of it is theirs, but a failure is said."""
    surroundings = {**os.environ, "STEADYNET_OUT": str(out.resolve()), "STEADYNET_ENDED": ended}
    _log.info("--on-finish begins: %s", ended)
    try:
        code = subprocess.run(command, shell=True, env=surroundings, check=False, timeout=_FINISH_SECONDS).returncode
    except subprocess.TimeoutExpired:
        _log.error("--on-finish: the command was ended after %.0f minutes.", _FINISH_SECONDS / 60)
        return
    if code:  # its text may hold a password
        _log.error("--on-finish: the command ended with %d.", code)
