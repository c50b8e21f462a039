"""The command `check`: find problems in a folder of images before anything is trained."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Final

from commands.options import Parser, add_data, add_follow_links, add_labels, add_quiet, path
from commands.terminal import DONE, USER_ERROR, run_with_progress

_HELP: Final = """\
Find problems in a folder of images, in seconds and without training: unreadable and unusual files, copies within
and across classes and in the test folder, blank and odd images, and classes that differ in size, brightness or file
type rather than in what the images show.

examples:
  run_search.py check --data ./images
  run_search.py check --data ./images --test ./holdout --out runs/images-check
  run_search.py check --data ./images --strict          exit code 2 on errors or warnings
"""


def parser() -> argparse.ArgumentParser:
    """Return the parser of `check`."""
    options = Parser("check", _HELP)
    add_data(options, "folder with one sub-folder of images per class")
    options.add_argument(
        "--test", type=path, metavar="DIR", help="test images, checked for copies of the images in --data"
    )
    options.add_argument(
        "--groups", type=path, metavar="FILE.csv", help="table with the columns file and group, as for a search"
    )
    options.add_argument(
        "--out",
        type=path,
        metavar="DIR",
        help="folder for check.html, check.txt and check.json (default: runs/<name>-check)",
    )
    options.add_argument("--strict", action="store_true", help="exit with code 2 if there are errors or warnings")
    add_labels(options)
    add_follow_links(options)
    add_quiet(options)
    return options


def run(options: argparse.Namespace, argv: list[str]) -> int:
    """Inspect the images, write the pages and return the exit code."""
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

    def exit_code(inspection: Inspection) -> int:
        has_problems = any(finding.severity is not Severity.NOTE for finding in inspection.findings)
        return USER_ERROR if options.strict and has_problems else DONE

    return run_with_progress(
        lambda listener: inspect(request, listener),
        lambda inspection: inspection_lines(inspection, write_inspection(inspection, out)),
        quiet=options.quiet,
        exit_code=exit_code,
    )
