"""`schedule`: a search that starts by itself, night after night, also after a reboot."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Final

from commands import search
from commands.options import STORAGE, path
from commands.terminal import DONE
from search.errors import UserError

_HELP: Final = """\
Have a search started by this machine: print, install or remove a crontab line or a systemd user service.

examples:
  run_search.py schedule --data ./images --window 22:00-07:00                      print both
  run_search.py schedule --data ./images --window 22:00-07:00 --install systemd    for this user
  run_search.py schedule --data ./images --remove

It takes the search's options. The service is started with the machine, waits for its hours, works in them until the
budget is used up, and never runs twice in one run folder.
"""


def parser() -> argparse.ArgumentParser:
    """Its options: the search's, and its own."""
    options = search.parser("schedule", _HELP)
    own = options.add_argument_group("schedule")
    own.add_argument("--install", choices=("cron", "systemd"), metavar="cron|systemd", help="instead of printing it")
    own.add_argument("--remove", action="store_true", help="what was installed for this run folder")
    own.add_argument("--units", type=path, metavar="DIR", help="for systemd's files (default: this user's)")
    return options


def run(options: argparse.Namespace, given: list[str]) -> int:
    """Print, install or remove; returns the exit code."""
    from search.schedule import service

    if options.data is None:
        raise UserError("no images: pass --data DIR, a folder with one sub-folder of images a class.")
    out = search.out_of(options)
    units = options.units or service.user_units()
    if options.remove:
        removed = [*service.remove_cron(out), *service.remove_units(out, units)]
        print(*(removed or [f"Nothing is installed for {out}."]), sep="\n")
        return DONE
    if not options.window:
        raise UserError("schedule needs --window, such as --window 22:00-07:00: the hours in which it may work.")
    if any(argument.startswith("--storage") for argument in given):
        raise UserError(
            f"schedule writes no --storage into a file: it may hold a password. Put {STORAGE}=... into "
            f"{service.environment_file()}, which only you can read (chmod 600)."
        )
    search.check(options, _searched(given[1:]))  # what is wrong is said now, not in the night
    windows = search.hours_of(options).windows
    assert windows is not None
    command = service.Command(
        folder=Path.cwd(),
        arguments=(sys.executable, str(Path(sys.argv[0]).resolve()), *_searched(given[1:])),
        out=out,
    )
    if options.install == "cron":
        told = service.install_cron(command, windows)
    elif options.install == "systemd":
        told = service.install_units(command, units)
    else:
        told = ["# crontab -e, and add:", *service.cron_lines(command, windows), ""]
        told += [f"# {units / service.unit_name(out)}:", service.unit(command)]
    print(*told, sep="\n")
    if options.storage:
        print(f"A scheduled search takes {STORAGE} from {service.environment_file()}: put it there (chmod 600).")
    return DONE


def _searched(given: list[str]) -> list[str]:
    """What was given, without this command's own options."""
    kept, skip = [], False
    for argument in given:
        if skip:
            skip = False
        elif argument in ("--install", "--units"):
            skip = True
        elif not argument.startswith(("--install=", "--units=")) and argument != "--remove":
            kept.append(argument)
    return kept
