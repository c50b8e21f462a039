"""The command line: from its first word to the command, from what happened to the exit code."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from typing import Final

from commands import search
from commands.terminal import INTERRUPTED, USER_ERROR, no_room, print_error
from search.errors import UserError

_NAMED: Final = ("check", "report", "status", "schedule", "explain", "diagnose", "train", "predict")


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code: 0 done, 2 for the user to mend, 3 nothing healthy, 130 interrupted."""
    given = list(sys.argv[1:] if argv is None else argv)
    try:
        if given and given[0] in _NAMED:
            command = importlib.import_module(f"commands.{given[0]}")
            return int(command.run(command.parser().parse_args(given[1:]), given))
        return search.run(search.parser().parse_args(given), given)
    except UserError as error:
        print_error(error)
        return USER_ERROR
    except KeyboardInterrupt:
        print("Interrupted at once; what was recorded is kept. The same command goes on.", file=sys.stderr)
        return INTERRUPTED
    except OSError as error:
        if (told := no_room(error)) is None:
            raise
        print_error(told)
        return USER_ERROR


if __name__ == "__main__":
    sys.exit(main())
