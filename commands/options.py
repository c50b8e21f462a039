"""Options that several commands share, and the types that parse them. Imports nothing heavy."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from search.errors import UserError

STORAGE: Final = "STEADYNET_STORAGE"
"""Environment variable that holds the database URL, password included."""

_LONGEST_NAME: Final = 200  # characters; databases allow 256, and suffixes are added for parts of a study
_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}


class Once(argparse.Action):
    """An option that may be given only once: argparse itself would silently drop the first folder."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        """Store the value. Raises `argparse.ArgumentError` if there is one already."""
        if getattr(namespace, self.dest) is not None:
            raise argparse.ArgumentError(self, f"given twice ({getattr(namespace, self.dest)}, {values}); pass it once")
        setattr(namespace, self.dest, values)


class Parser(argparse.ArgumentParser):
    """A parser that reports a usage error as a `UserError`, in one line.

    Args:
        command: name of the command; empty for the search.
        description: text of `--help`, printed as it is.
    """

    def __init__(self, command: str, description: str) -> None:
        super().__init__(
            prog=f"run_search.py {command}".strip(),
            description=description,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )

    def error(self, message: str) -> Any:
        """Raise `UserError` with argparse's message and a hint to `--help`."""
        raise UserError(f"{message}. See {self.prog} --help.")


def add_data(parser: argparse._ActionsContainer, help: str, *, required: bool = True) -> None:
    """Add `--data`, the folder of images.

    Args:
        parser: parser or group to add it to.
        help: text for `--help`.
        required: whether the option must be given.
    """
    parser.add_argument("--data", action=Once, type=path, required=required, metavar="DIR", help=help)


def add_labels(parser: argparse._ActionsContainer) -> None:
    """Add `--labels`."""
    parser.add_argument(
        "--labels",
        type=path,
        metavar="FILE.csv",
        help="class labels from a table with the columns file and label, instead of from sub-folders",
    )


def add_weights(parser: argparse._ActionsContainer) -> None:
    """Add `--weights`."""
    parser.add_argument(
        "--weights",
        metavar="auto|imagenet|none|DIR|FILE",
        help="weights of pretrained networks: auto (what is installed or was downloaded before; the default), imagenet "
        "(the same, and what is missing is downloaded), none (no pretrained networks), random (random weights, for "
        "comparison), a folder or file with the published name, or NAME=FILE",
    )


def add_follow_links(parser: argparse._ActionsContainer) -> None:
    """Add `--follow-links`."""
    parser.add_argument(
        "--follow-links", action="store_true", help="follow symbolic links that lead out of the image folder"
    )


def add_run(parser: argparse.ArgumentParser) -> None:
    """Add the options that name an existing study: `--out`, `--storage`, `--study`."""
    parser.add_argument("--out", type=path, required=True, metavar="DIR", help="run folder of a search")
    add_storage(parser)


def add_storage(parser: argparse._ActionsContainer) -> None:
    """Add `--storage` and `--study`.

    The database URL may also come from the environment, since a process list shows every argument.
    """
    parser.add_argument(
        "--storage",
        default=os.environ.get(STORAGE) or None,
        metavar="URL",
        help=f"database of the study (default: ${STORAGE} if set, else study.db in the run folder)",
    )
    parser.add_argument(
        "--study", type=_name, default="steadynet", metavar="NAME", help="name of the study in its database"
    )


def add_quiet(parser: argparse._ActionsContainer) -> None:
    """Add `--quiet`."""
    parser.add_argument("--quiet", action="store_true", help="print only the result and errors")


def _name(text: str) -> str:
    if not 1 <= len(text) <= _LONGEST_NAME:
        raise argparse.ArgumentTypeError(f"expected a name of 1 to {_LONGEST_NAME} characters, got {len(text)}")
    return text


def path(text: str) -> Path:
    """Parse the path of a file or folder; empty text is refused."""
    if not text.strip():  # --data "$UNSET" must not mean the current folder
        raise argparse.ArgumentTypeError(f"expected a path, got {text!r}")
    return Path(text)


def whole(least: int, *words: str) -> Callable[[str], int]:
    """Return a parser of whole numbers >= `least`; `words` are other values of the option, named in its error."""
    expected = " or ".join(filter(None, [", ".join(words), f"a whole number of at least {least}"]))

    def parse(text: str) -> int:
        if not re.fullmatch(r"[+-]?\d+", text) or int(text) < least:
            raise argparse.ArgumentTypeError(f"expected {expected}, got {text!r}")
        return int(text)

    return parse


AUTO: Final = "auto"
NATIVE: Final = "native"


def auto_or_whole(least: int) -> Callable[[str], int | None]:
    """Return a parser of whole numbers >= `least` that reads "auto" as None."""
    return lambda text: None if text == AUTO else whole(least, AUTO)(text)


def size(text: str) -> int | str | None:
    """Parse an image size: "auto" as None, "native" as it is, else pixels per side (>= 8)."""
    if text in (AUTO, NATIVE):
        return None if text == AUTO else text
    return whole(8, AUTO, NATIVE)(text)


def moment(text: str) -> float:
    """Parse a local date and time such as 2026-12-01T06:00 into seconds since 1970."""
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected a date and time such as 2026-12-01T06:00, got {text!r}") from None


def duration(text: str) -> float:
    """Parse a duration such as 1h30m into seconds (> 0)."""
    if not re.fullmatch(r"(\d+(\.\d+)?[smhd])+", text):
        raise argparse.ArgumentTypeError(f"expected a duration such as 90s, 10m, 8h or 1h30m, got {text!r}")
    seconds = sum(float(number) * _UNITS[unit] for number, _, unit in re.findall(r"(\d+(\.\d+)?)([smhd])", text))
    if seconds <= 0:
        raise argparse.ArgumentTypeError(f"expected a duration above zero, got {text!r}")
    return seconds
