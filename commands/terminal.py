"""What all commands do on the terminal: say what came of them, how far they are, and end when they are told to."""

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
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from search.errors import UserError

if TYPE_CHECKING:
    from search.events import Listener
    from search.selection.results import Results

DONE: Final = 0
USER_ERROR: Final = 2
NOTHING_HEALTHY: Final = 3
INTERRUPTED: Final = 130
"""Exit codes: done; for the user to mend; no healthy configuration; interrupted, all kept."""

_LOG_BYTES: Final = 5_000_000
_LOG_FILES: Final = 3  # older ones that are kept


def print_error(error: UserError) -> None:
    """In one line, the last one; above it the last lines of the user's own traceback. Names come from strangers."""
    lines = [*(f"  {line}" for line in getattr(error, "lines", ())), f"error: {' '.join(str(error).split())}"]
    if not all(line.isprintable() for line in lines):
        from reports.wording import shown

        lines = [shown(line) for line in lines]
    tell(*lines, error=True)


def no_room(error: OSError) -> UserError | None:
    """What to do where the disk is full or can't be written; None for any other error."""
    where = f" ({error.filename})" if error.filename else ""
    kept = "What was recorded is kept; the same command goes on."
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return UserError(f"the disk is full{where}. Make room: {kept[0].lower()}{kept[1:]}")
    if error.errno == errno.EROFS:
        return UserError(f"the disk can only be read{where}. Make it writable: {kept[0].lower()}{kept[1:]}")
    if error.errno in (errno.EACCES, errno.EPERM):
        return UserError(f"permission denied{where}. Change it: {kept[0].lower()}{kept[1:]}")
    if error.errno in (errno.EIO, errno.ESTALE) and error.filename:
        return UserError(f"the disk does not answer{where}: {error.strerror}. {kept}")
    return None


def tell(*lines: str, error: bool = False) -> None:
    """Print them, if anybody is there to read: a terminal that was closed ends no search."""
    with contextlib.suppress(OSError, ValueError, RuntimeError):
        print(*lines, sep="\n", file=sys.stderr if error else sys.stdout, flush=True)


def say(
    lines: Callable[[Any], Iterable[str]],
    work: Callable[[Listener], Any],
    *,
    quiet: bool,
    code: Callable[[Any], int] = lambda result: DONE,
    written: str = "nothing was written",
) -> int:
    """Do the work with its progress and warnings on the terminal, then say what came of it; returns the exit code.

    Args:
        lines: what to say of it; also what writes it, being called when it is done.
        work: told of its progress to a listener.
        quiet: no progress, and errors only.
        code: that it ends with.
        written: said where it is interrupted.
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
        print(f"Interrupted; {written}.", file=sys.stderr)
        return INTERRUPTED
    print(*lines(result), sep="\n")
    return code(result)


def check_run_folder(out: Path) -> None:
    """Raises UserError where no search ever worked."""
    if not out.is_dir():
        raise UserError(f"no such run folder: {out}. Pass the --out of an earlier search.")


def write(results: Results, out: Path, *, interrupted: bool) -> int:
    """Write everything that results become, and say where it is; returns the exit code."""
    from reports.terminal_summary import closing_lines
    from reports.write import write_all

    write_all(results, out)
    tell(*closing_lines(results), f"Report: {out / 'report.html'}")
    if results.recommended is not None:
        tell(f"Configuration: {out / 'best_config.yaml'}")
    if interrupted:
        tell("Interrupted; everything is kept. The same command goes on.")
        return INTERRUPTED
    return DONE if results.recommended is not None else NOTHING_HEALTHY


def listen_for_the_end(asked: threading.Event) -> None:
    """The first Ctrl-C, SIGTERM or hang-up of the terminal ends the work in good order, a second Ctrl-C at once."""

    def end(number: int, frame: object) -> None:
        if asked.is_set() and number == signal.SIGINT:
            raise KeyboardInterrupt
        asked.set()
        logging.getLogger("search.run").info("asked to end by %s", signal.Signals(number).name)
        tell("\nStopping: the report is being written; everything is kept. Ctrl-C again stops at once.", error=True)

    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)  # Windows hangs up on nobody
        if number is not None and (name != "SIGHUP" or signal.getsignal(number) is not signal.SIG_IGN):  # nohup
            signal.signal(number, end)


def log_to(out: Path | None, console: Any, *, quiet: bool) -> Any:
    """Everything into `run.log` of a run folder, warnings to the terminal too, for as long as the context is open."""
    from rich.logging import RichHandler

    screen = RichHandler(console=console, show_path=False, show_time=False, markup=False, highlighter=None)
    screen.setLevel(logging.ERROR if quiet else logging.WARNING)
    screen.setFormatter(_Printable("%(message)s"))
    logger = logging.getLogger("search")
    logger.setLevel(logging.INFO)
    handlers: list[logging.Handler] = [screen]
    if out is not None:
        file = _LogFile(
            out / "run.log",
            maxBytes=_LOG_BYTES,
            backupCount=_LOG_FILES,
            encoding="utf-8",
            delay=True,
            errors="backslashreplace",
        )
        file.setFormatter(_OneLine("%(asctime)s %(levelname)s %(name)s: %(message)s", "%Y-%m-%d %H:%M:%S%z"))
        handlers.append(file)
    stack = ExitStack()
    for handler in handlers:
        logger.addHandler(handler)
        stack.callback(logger.removeHandler, handler)
        stack.callback(handler.close)
    if out is not None:
        logging.getLogger("search.run").info("Process %d begins", os.getpid())
        stack.push(lambda kind, error, trace: _log_the_end(file, error))
    return stack


def _log_the_end(file: logging.Handler, error: BaseException | None) -> None:
    """What ended the work: the terminal that is told of it may be nobody's."""
    if error is None or isinstance(error, KeyboardInterrupt):
        text = f"Process {os.getpid()} ends" + ("" if error is None else ", interrupted at once")
        file.handle(logging.LogRecord("search.run", logging.INFO, "", 0, text, (), None))
        return
    trace = None if isinstance(error, UserError) else (type(error), error, error.__traceback__)
    file.handle(logging.LogRecord("search.run", logging.ERROR, "", 0, "%s", (error,), trace))


class _LogFile(logging.handlers.RotatingFileHandler):
    """A log that can't be written, because the disk is full, ends no search."""

    def handleError(self, record: logging.LogRecord) -> None:
        """Nothing: the ledger, which can't be written either, says it."""


class _OneLine(logging.Formatter):
    """One line an event, but for a traceback; names that come from strangers forge no further ones, and steer no
    terminal that shows the file."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        """The message with its line breaks as signs."""
        from reports.wording import shown

        return shown(super().formatMessage(record))

    def formatException(self, ei: Any) -> str:
        """The traceback, line by line."""
        from reports.wording import shown

        return "\n".join(shown(line) for line in super().formatException(ei).split("\n"))


class _Printable(logging.Formatter):
    """Messages whose file names and texts come from strangers, without what would steer the terminal."""

    def format(self, record: logging.LogRecord) -> str:
        from reports.wording import shown

        return "\n".join(shown(line) for line in super().format(record).split("\n"))
