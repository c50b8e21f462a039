"""The command `schedule`: have the machine start a search every night, even after a reboot."""

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
Let this machine start a search: print, install or remove a crontab entry or a systemd user service.

examples:
  run_search.py schedule --data ./images --window 22:00-07:00                      print both
  run_search.py schedule --data ./images --window 22:00-07:00 --install systemd    for this user
  run_search.py schedule --data ./images --remove

It takes the options of the search. The service starts with the machine, waits for the window, works in it until the
budget is used up, and never runs twice in the same run folder.
"""


def parser() -> argparse.ArgumentParser:
    """Return the parser of `schedule`: the options of the search and its own."""
    options = search.parser("schedule", _HELP)
    own = options.add_argument_group("schedule")
    own.add_argument(
        "--install", choices=("cron", "systemd"), metavar="cron|systemd", help="install it instead of printing it"
    )
    own.add_argument("--remove", action="store_true", help="remove what was installed for this run folder")
    own.add_argument(
        "--units", type=path, metavar="DIR", help="folder for the systemd unit files (default: the folder of this user)"
    )
    return options


def run(options: argparse.Namespace, argv: list[str]) -> int:
    """Print, install or remove the service and return the exit code."""
    from search.schedule import service
    from search.schedule.windows import parse

    if options.data is None:
        raise UserError("no images given. Pass --data DIR, a folder with one sub-folder of images per class.")
    out = search.out_of(options)
    units = options.units or service.user_units()
    if options.remove:
        removed = [*service.remove_cron(out), *service.remove_units(out, units)]
        print(*(removed or [f"Nothing is installed for {out}."]), sep="\n")
        return DONE
    if not options.window:
        raise UserError("schedule needs the hours in which it may work. Pass them, such as --window 22:00-07:00.")
    if any(argument.startswith("--storage") for argument in argv):
        raise UserError(
            f"schedule does not accept --storage, since the URL may contain a password. Put {STORAGE}=... into "
            f"{service.environment_file()} and make it readable only for you (chmod 600)."
        )
    search_arguments = _search_arguments(argv[1:])
    search.check(options, search_arguments)  # errors are reported now, not at night
    windows = parse(options.window)
    command = service.Command(
        folder=Path.cwd(),
        arguments=(sys.executable, str(Path(sys.argv[0]).resolve()), *search_arguments),
        out=out,
    )
    if options.install == "cron":
        lines = service.install_cron(command, windows)
    elif options.install == "systemd":
        lines = service.install_units(command, units)
    else:
        lines = ["# Run crontab -e and add:", *service.cron_lines(command, windows), ""]
        lines += [f"# {units / service.unit_name(out)}:", service.unit(command)]
    print(*lines, sep="\n")
    if options.storage:
        print(f"A scheduled search reads {STORAGE} from {service.environment_file()}: put it there (chmod 600).")
    return DONE


def _search_arguments(argv: list[str]) -> list[str]:
    """Return the arguments without this command's own options."""
    arguments, skip = [], False
    for argument in argv:
        if skip:
            skip = False
        elif argument in ("--install", "--units"):
            skip = True
        elif not argument.startswith(("--install=", "--units=")) and argument != "--remove":
            arguments.append(argument)
    return arguments
