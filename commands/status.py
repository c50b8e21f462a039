"""`status`: how a search is getting on, from another terminal."""

from __future__ import annotations

import argparse
import time
from typing import Final

from commands.options import Parser, path
from commands.terminal import DONE, check_run_folder
from search.errors import UserError

NOT_RUNNING: Final = 1
"""Exit code where no process holds the run folder."""

_HELP: Final = """\
Say how a search is getting on: what it does, since when, the best so far, collapses, the next hours of work.

example:
  run_search.py status --out runs/images

The exit code is 0 while a process works there or waits for its hours, 1 if none does.
"""


def parser() -> argparse.ArgumentParser:
    """Its options."""
    options = Parser("status", _HELP)
    options.add_argument("--out", type=path, required=True, metavar="DIR", help="run folder of a search")
    return options


def run(options: argparse.Namespace, given: list[str]) -> int:
    """Look; returns the exit code."""
    from reports.live_status import read_status, status_lines
    from search.storage.run_folder import is_gone, is_held

    check_run_folder(options.out)
    status = read_status(options.out)
    if status is None:
        raise UserError(f"no search has worked in {options.out}. Pass the --out of a search.")
    held = is_held(options.out)
    if held and is_gone(options.out):
        print("Another command, such as explain, is at work in the folder.")
        held = False
    print(*status_lines(status, is_held=held, now=time.time()), sep="\n")
    return DONE if held else NOT_RUNNING
