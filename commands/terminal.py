"""Functions that all commands share: output on the terminal, exit codes, the log, and a clean stop on signals."""

from __future__ import annotations

import contextlib
import errno
import logging
import logging.handlers
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable
from contextlib import ExitStack, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from search.errors import UserError

if TYPE_CHECKING:
    from search.events import Listener
    from search.selection.results import Results

_Result = TypeVar("_Result")

DONE: Final = 0
USER_ERROR: Final = 2
NOTHING_HEALTHY: Final = 3
INTERRUPTED: Final = 130
"""Exit codes: done; an error that the user can fix; no healthy configuration; interrupted with all results kept."""

_LOG_BYTES: Final = 5_000_000
_LOG_FILES: Final = 3  # older log files to keep


def print_error(error: UserError) -> None:
    """Print the error as one line, below the last lines of the traceback if it comes from the user's own code.

    Characters that are not printable are escaped, since file names may contain anything.
    """
    lines = [*(f"  {line}" for line in getattr(error, "lines", ())), f"error: {' '.join(str(error).split())}"]
    if not all(line.isprintable() for line in lines):
        from reports.wording import shown

        lines = [shown(line) for line in lines]
    print_lines(*lines, error=True)


def disk_error(error: OSError) -> UserError | None:
    """Return what to do if the disk is full or can't be written; None for any other error."""
    where = f" ({error.filename})" if error.filename else ""
    resume = "run the same command again to continue; all recorded results are kept."
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return UserError(f"the disk is full{where}. Free some space, then {resume}")
    if error.errno == errno.EROFS:
        return UserError(f"the disk is read-only{where}. Make it writable, then {resume}")
    if error.errno in (errno.EACCES, errno.EPERM):
        return UserError(f"permission denied{where}. Change the permissions, then {resume}")
    if error.errno in (errno.EIO, errno.ESTALE) and error.filename:
        return UserError(f"the disk does not respond{where}: {error.strerror}. Check it, then {resume}")
    return None


def print_lines(*lines: str, error: bool = False) -> None:
    """Print to stdout, or to stderr with `error`. A terminal that was closed is ignored, so that it ends no search."""
    with contextlib.suppress(OSError, ValueError, RuntimeError):
        print(*lines, sep="\n", file=sys.stderr if error else sys.stdout, flush=True)


def run_with_progress(
    work: Callable[[Listener], _Result],
    summarize: Callable[[_Result], Iterable[str]],
    *,
    quiet: bool,
    exit_code: Callable[[_Result], int] = lambda result: DONE,
    if_interrupted: str = "nothing was written",
) -> int:
    """Run `work` with its progress on the terminal, print a summary of its result and return the exit code.

    Args:
        work: does the work and reports progress to the listener.
        summarize: returns the lines to print for the result; may write files first.
        quiet: show no progress and no warnings, only errors.
        exit_code: returns the exit code for the result.
        if_interrupted: printed after "Interrupted; " on Ctrl-C and SIGTERM.
    """
    from rich.console import Console

    from reports.live import LiveDisplay
    from search.events import SilentListener

    console = Console(stderr=True)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with (
            log_to(None, console, quiet=quiet),
            nullcontext(SilentListener()) if quiet else LiveDisplay(console) as listener,
        ):
            result = work(listener)
    except KeyboardInterrupt:
        print(f"Interrupted; {if_interrupted}.", file=sys.stderr)
        return INTERRUPTED
    print(*summarize(result), sep="\n")
    return exit_code(result)


def check_run_folder(out: Path) -> None:
    """Raise `UserError` if the run folder does not exist."""
    if not out.is_dir():
        raise UserError(f"there is no run folder {out}. Pass the --out folder of an earlier search.")


def write_reports(results: Results, out: Path, *, interrupted: bool) -> int:
    """Write all output files of a search, print the outcome and the paths, and return the exit code.

    Args:
        results: the results to write.
        out: the run folder.
        interrupted: whether the search was interrupted, which decides the exit code.
    """
    from reports.terminal_summary import closing_lines
    from reports.write import write_all

    results = replace(results, study=replace(results.study, run_folder=str(out)))  # it may have been moved or copied
    write_all(results, out)
    print_lines(*closing_lines(results), f"Report: {out / 'report.html'}")
    if results.recommended is not None:
        print_lines(f"Configuration: {out / 'best_config.yaml'}")
    if interrupted:
        print_lines("Interrupted; all results are kept. Run the same command again to continue.")
        return INTERRUPTED
    return DONE if results.recommended is not None else NOTHING_HEALTHY


def stop_on_signals(stop: threading.Event) -> None:
    """Set `stop` on the first Ctrl-C, SIGTERM or SIGHUP, for a clean end; a second Ctrl-C interrupts at once."""

    def handle(number: int, frame: object) -> None:
        if stop.is_set() and number == signal.SIGINT:
            raise KeyboardInterrupt
        stop.set()
        logging.getLogger("search.run").info("Stopping on %s", signal.Signals(number).name)
        print_lines(
            "\nStopping: all results are kept, and the report is being written. Press Ctrl-C again to stop at once.",
            error=True,
        )

    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)  # Windows has no SIGHUP
        if number is not None and (name != "SIGHUP" or signal.getsignal(number) is not signal.SIG_IGN):  # nohup
            signal.signal(number, handle)


def log_to(out: Path | None, console: Any, *, quiet: bool) -> Any:
    """Return a context in which messages are logged to `run.log`, and warnings also to the terminal.

    Args:
        out: the run folder of the log; None to log to the terminal only.
        console: console of rich for the terminal.
        quiet: show only errors on the terminal.
    """
    from rich.logging import RichHandler

    screen = RichHandler(console=console, show_path=False, show_time=False, markup=False, highlighter=None)
    screen.setLevel(logging.ERROR if quiet else logging.WARNING)
    screen.setFormatter(_EscapedFormatter("%(message)s"))
    logger = logging.getLogger("search")
    logger.setLevel(logging.INFO)
    handlers: list[logging.Handler] = [screen]
    if out is not None:
        file = _TolerantFileHandler(
            out / "run.log",
            maxBytes=_LOG_BYTES,
            backupCount=_LOG_FILES,
            encoding="utf-8",
            delay=True,
            errors="backslashreplace",
        )
        file.setFormatter(_OneLineFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s", "%Y-%m-%d %H:%M:%S%z"))
        handlers.append(file)
    stack = ExitStack()
    for handler in handlers:
        logger.addHandler(handler)
        stack.callback(logger.removeHandler, handler)
        stack.callback(handler.close)
    if out is not None:
        logging.getLogger("search.run").info("Process %d starts", os.getpid())
        stack.push(lambda kind, error, trace: _log_the_end(file, error))
    return stack


def _log_the_end(file: logging.Handler, error: BaseException | None) -> None:
    """Log what ended the process, since nobody may be reading the terminal."""
    if error is None or isinstance(error, KeyboardInterrupt):
        text = f"Process {os.getpid()} ends" + ("" if error is None else ", interrupted at once")
        file.handle(logging.LogRecord("search.run", logging.INFO, "", 0, text, (), None))
        return
    trace = None if isinstance(error, UserError) else (type(error), error, error.__traceback__)
    file.handle(logging.LogRecord("search.run", logging.ERROR, "", 0, "%s", (error,), trace))


class _TolerantFileHandler(logging.handlers.RotatingFileHandler):
    """A log file that may fail to be written, on a full disk for instance, without ending the search."""

    def handleError(self, record: logging.LogRecord) -> None:
        """Ignore the error: the database is on the same disk and reports it."""


class _OneLineFormatter(logging.Formatter):
    """One line per event, except for tracebacks.

    Escapes what is not printable, so that a file name can neither forge a log line nor control a terminal.
    """

    def formatMessage(self, record: logging.LogRecord) -> str:
        """Return the message with line breaks and control characters escaped."""
        from reports.wording import shown

        return shown(super().formatMessage(record))

    def formatException(self, ei: Any) -> str:
        """Return the traceback with control characters escaped."""
        from reports.wording import shown

        return "\n".join(shown(line) for line in super().formatException(ei).split("\n"))


class _EscapedFormatter(logging.Formatter):
    """Messages with control characters escaped, so that a file name can't control the terminal."""

    def format(self, record: logging.LogRecord) -> str:
        from reports.wording import shown

        return "\n".join(shown(line) for line in super().format(record).split("\n"))
