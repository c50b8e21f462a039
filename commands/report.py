"""The command `report`: write the output files of a search again from its study."""

from __future__ import annotations

import argparse

from commands.options import Parser, add_run
from commands.terminal import check_run_folder, write_reports


def parser() -> argparse.ArgumentParser:
    """Return the parser of `report`."""
    options = Parser(
        "report",
        "Write the reports, best_config.yaml, the tables and the summary again from the study, without training.\n\n"
        "example:\n  run_search.py report --out runs/images",
    )
    add_run(options)
    return options


def run(options: argparse.Namespace, argv: list[str]) -> int:
    """Write the files and return the exit code."""
    from search.selection.analyse import analyse
    from search.storage.load import open_study

    check_run_folder(options.out)
    results = analyse(open_study(options.out, options.storage, options.study))
    return write_reports(results, options.out, interrupted=False)
