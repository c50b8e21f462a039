"""`explain`: which of the changes from the user's configuration to the recommended one mattered how much."""

from __future__ import annotations

import argparse
from contextlib import nullcontext

from commands.options import Parser, add_data, add_quiet, add_run, path
from commands.terminal import check_run_folder, listen_for_the_end, log_to, write
from search.errors import UserError


def parser() -> argparse.ArgumentParser:
    """Its options."""
    options = Parser(
        "explain",
        "Follow the changes from your configuration to the recommended one of a finished run, one at a\n"
        "time, each verified by trainings, and write the report again: which change mattered how much.\n\n"
        "example:\n  run_search.py explain --out runs/images --from mine.yaml",
    )
    add_run(options)
    options.add_argument(
        "--from", dest="start", type=path, required=True, metavar="FILE.yaml", help="your configuration, as --start's"
    )
    add_data(options, "the run's images, if they were moved", required=False)
    add_quiet(options)
    return options


def run(options: argparse.Namespace, given: list[str]) -> int:
    """Follow them; returns the exit code."""
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
    listen_for_the_end(clock.stop_requested)
    display = nullcontext(SilentListener()) if options.quiet else LiveDisplay(console)
    with log_to(options.out, console, quiet=options.quiet), display as listener:
        results = explain(
            options.out, start, listener, clock, data=options.data, storage=options.storage, study=options.study
        )
    if others:
        print(f"{options.start} holds {1 + len(others)} configurations: the first one is explained.")
    if results.recommended is None:
        print("There is nothing to explain without a recommended configuration.")
    return write(results, options.out, interrupted=clock.stop_requested.is_set())
