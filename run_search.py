"""The command line: calls the command that was named and turns errors into exit codes."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from typing import Final

from commands import search
from commands.terminal import INTERRUPTED, USER_ERROR, disk_error, print_error
from search.errors import UserError

_NAMED: Final = ("check", "report", "status", "schedule", "explain", "diagnose", "train", "predict")


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return the exit code.

    The codes: 0 done, 2 an error that the user can fix, 3 no healthy configuration, 130 interrupted.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        if arguments and arguments[0] in _NAMED:
            command = importlib.import_module(f"commands.{arguments[0]}")
            return int(command.run(command.parser().parse_args(arguments[1:]), arguments))
        return search.run(search.parser().parse_args(arguments), arguments)
    except UserError as error:
        print_error(error)
        return USER_ERROR
    except KeyboardInterrupt:
        print(
            "Interrupted at once; all recorded results are kept. Run the same command again to continue.",
            file=sys.stderr,
        )
        return INTERRUPTED
    except OSError as error:
        if (user_error := disk_error(error)) is None:
            raise
        print_error(user_error)
        return USER_ERROR


if __name__ == "__main__":
    sys.exit(main())
