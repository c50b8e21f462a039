"""`report`: everything that a search leaves, made again from its study."""

from __future__ import annotations

import argparse

from commands.options import Parser, add_run
from commands.terminal import check_run_folder, write


def parser() -> argparse.ArgumentParser:
    """Its options."""
    options = Parser(
        "report",
        "Make report, YAML, tables and summary again from the study, without training.\n\n"
        "example:\n  run_search.py report --out runs/images",
    )
    add_run(options)
    return options


def run(options: argparse.Namespace, given: list[str]) -> int:
    """Make it; returns the exit code."""
    from search.selection.analyse import analyse
    from search.storage.load import open_study

    check_run_folder(options.out)
    return write(analyse(open_study(options.out, options.storage, options.study)), options.out, interrupted=False)
