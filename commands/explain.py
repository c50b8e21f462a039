"""The command `explain`: measure which changes from the user's configuration to the recommended one mattered."""

from __future__ import annotations

import argparse
from contextlib import nullcontext

from commands.options import Parser, add_data, add_quiet, add_run, path
from commands.terminal import check_run_folder, log_to, stop_on_signals, write_reports
from search.errors import UserError


def parser() -> argparse.ArgumentParser:
    """Return the parser of `explain`."""
    options = Parser(
        "explain",
        "Change your configuration into the recommended one of a finished run, one hyperparameter at a time, and\n"
        "train after each change. The report is written again and shows how much each change matters.\n\n"
        "example:\n  run_search.py explain --out runs/images --from mine.yaml",
    )
    add_run(options)
    options.add_argument(
        "--from",
        dest="start",
        type=path,
        required=True,
        metavar="FILE.yaml",
        help="your configuration, in the format of --start",
    )
    add_data(options, "the images of the run, if they have been moved", required=False)
    add_quiet(options)
    return options


def run(options: argparse.Namespace, argv: list[str]) -> int:
    """Train along the changes, write the reports and return the exit code."""
    from search.schedule.budget import Clock
    from spaces.config import ConfigurationError
    from spaces.yaml_io import load_configurations

    check_run_folder(options.out)
    try:
        start, *others = load_configurations(options.start)
    except ConfigurationError as error:
        raise UserError(str(error)) from None
    from rich.console import Console

    from reports.live import LiveDisplay
    from search.events import SilentListener
    from search.session.explain import explain

    clock, console = Clock(), Console(stderr=True)
    stop_on_signals(clock.stop_requested)
    display = nullcontext(SilentListener()) if options.quiet else LiveDisplay(console)
    with log_to(options.out, console, quiet=options.quiet), display as listener:
        results = explain(
            options.out, start, listener, clock, data=options.data, storage=options.storage, study=options.study
        )
    if others:
        print(f"{options.start} holds {1 + len(others)} configurations; only the first one is explained.")
    if results.recommended is None:
        print("The run has no recommended configuration, so there is nothing to explain.")
    return write_reports(results, options.out, interrupted=clock.stop_requested.is_set())
