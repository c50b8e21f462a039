"""`check`: what is wrong with a folder of images, before anything is trained."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Final

from commands.options import Parser, add_data, add_follow_links, add_labels, add_quiet, path
from commands.terminal import DONE, USER_ERROR, say

_HELP: Final = """\
Look for what is wrong with a folder of images, in seconds, without training anything: unreadable and unusual files,
copies within and across classes and in the test folder, blank and odd pictures, classes that can be told without
looking.

examples:
  run_search.py check --data ./images
  run_search.py check --data ./images --test ./holdout --out runs/images-check
  run_search.py check --data ./images --strict          exit code 2 if anything is to be mended or looked at
"""


def parser() -> argparse.ArgumentParser:
    """Its options."""
    options = Parser("check", _HELP)
    add_data(options, "folder with one sub-folder of images a class")
    options.add_argument("--test", type=path, metavar="DIR", help="test images: none may be among the others")
    options.add_argument("--groups", type=path, metavar="FILE.csv", help="columns file, group, as for a search")
    options.add_argument(
        "--out", type=path, metavar="DIR", help="for check.html, check.txt and check.json (default: runs/<name>-check)"
    )
    options.add_argument("--strict", action="store_true", help="exit with 2 where there are errors or warnings")
    add_labels(options)
    add_follow_links(options)
    add_quiet(options)
    return options


def run(options: argparse.Namespace, given: list[str]) -> int:
    """Inspect; returns the exit code."""
    from reports.inspection_text import inspection_lines
    from reports.write import write_inspection
    from search.inspection.findings import Inspection, Severity
    from search.inspection.folder_check import CheckRequest, inspect

    out = options.out or Path("runs") / f"{options.data.resolve().name}-check"
    request = CheckRequest(
        data=options.data,
        test=options.test,
        groups=options.groups,
        labels=options.labels,
        follow_links=options.follow_links,
    )

    def code(found: Inspection) -> int:
        is_bad = any(one.severity is not Severity.NOTE for one in found.findings)
        return USER_ERROR if options.strict and is_bad else DONE

    return say(
        lambda found: inspection_lines(found, write_inspection(found, out)),
        lambda listener: inspect(request, listener),
        quiet=options.quiet,
        code=code,
    )
