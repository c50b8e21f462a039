"""The command `status`: show the progress of a search from another terminal."""

from __future__ import annotations

import argparse
import time
from typing import Final

from commands.options import Parser, path
from commands.terminal import DONE, check_run_folder
from search.errors import UserError

NOT_RUNNING: Final = 1
"""Exit code if no process holds the run folder."""

_HELP: Final = """\
Show the progress of a search: what it is doing, for how long, the best score so far, collapses, the next window.

example:
  run_search.py status --out runs/images

The exit code is 0 while a process is working in the folder or waiting for its window, 1 if none is.
"""


def parser() -> argparse.ArgumentParser:
    """Return the parser of `status`."""
    options = Parser("status", _HELP)
    options.add_argument("--out", type=path, required=True, metavar="DIR", help="run folder of a search")
    return options


def run(options: argparse.Namespace, argv: list[str]) -> int:
    """Print the status and return the exit code."""
    from reports.live_status import read_status, status_lines
    from search.storage.run_folder import is_gone, is_held

    check_run_folder(options.out)
    status = read_status(options.out)
    if status is None:
        raise UserError(f"no search has run in {options.out}. Pass the --out folder of a search.")
    held = is_held(options.out)
    if held and is_gone(options.out):
        print("Another command, such as explain, is using the folder.")
        held = False
    print(*status_lines(status, is_held=held, now=time.time()), sep="\n")
    return DONE if held else NOT_RUNNING
