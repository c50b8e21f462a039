"""What all commands take their options with: checked as far as text can be. Nothing heavy is imported."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from search.errors import UserError

STORAGE: Final = "STEADYNET_STORAGE"
"""Variable of the environment that names the database, with its password."""

_MOST_LETTERS: Final = 200  # of a study, with what is put behind it for its parts: databases bear 256
_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}


class Once(argparse.Action):
    """An option that is refused when it is given twice: the first folder would be left out without a word."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        """As argparse's own action, once."""
        if getattr(namespace, self.dest) is not None:
            raise argparse.ArgumentError(self, f"given twice ({getattr(namespace, self.dest)}, {values}); give it once")
        setattr(namespace, self.dest, values)


class Parser(argparse.ArgumentParser):
    """A parser whose complaints are one line for the user.

    Args:
        command: name of the command, empty for the search.
        description: for `--help`, as it is to be printed.
    """

    def __init__(self, command: str, description: str) -> None:
        super().__init__(
            prog=f"run_search.py {command}".strip(),
            description=description,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )

    def error(self, message: str) -> Any:
        """Raises UserError."""
        raise UserError(f"{message}. See {self.prog} --help.")


def add_data(parser: argparse._ActionsContainer, help: str, *, required: bool = True) -> None:
    """The option that names a folder of images."""
    parser.add_argument("--data", action=Once, type=path, required=required, metavar="DIR", help=help)


def add_labels(parser: argparse._ActionsContainer) -> None:
    """`--labels`."""
    parser.add_argument(
        "--labels",
        type=path,
        metavar="FILE.csv",
        help="columns file, label: classes of images that lie in one folder, or anywhere in it",
    )


def add_weights(parser: argparse._ActionsContainer) -> None:
    """`--weights`."""
    parser.add_argument(
        "--weights",
        metavar="imagenet|none|DIR|FILE",
        help="of pretrained networks: Keras' own (imagenet; fetched where there are none), random ones (none), or from "
        "a folder or file with Keras' names, or NAME=FILE",
    )


def add_follow_links(parser: argparse._ActionsContainer) -> None:
    """The option that lets links lead out of the folder of images."""
    parser.add_argument(
        "--follow-links", action="store_true", help="read images that lie elsewhere and are in the folder by links"
    )


def add_run(parser: argparse.ArgumentParser) -> None:
    """Options that name a study that is there."""
    parser.add_argument("--out", type=path, required=True, metavar="DIR", help="run folder of a search")
    add_storage(parser)


def add_storage(parser: argparse._ActionsContainer) -> None:
    """Options that say where the study lives. A list of processes shows everything but the environment."""
    parser.add_argument(
        "--storage",
        default=os.environ.get(STORAGE) or None,
        metavar="URL",
        help=f"database of the study (default: ${STORAGE}, else study.db in the run folder)",
    )
    parser.add_argument(
        "--study", type=_name, default="steadynet", metavar="NAME", help="name of the study in its database"
    )


def add_quiet(parser: argparse._ActionsContainer) -> None:
    """The option that leaves the progress out."""
    parser.add_argument("--quiet", action="store_true", help="print the result only")


def _name(text: str) -> str:
    if not 1 <= len(text) <= _MOST_LETTERS:
        raise argparse.ArgumentTypeError(f"a name of 1 to {_MOST_LETTERS} letters is expected, got {len(text)}")
    return text


def path(text: str) -> Path:
    """Of a file or folder; an empty text is none."""
    if not text.strip():  # --data "$UNSET" is not the folder we are in
        raise argparse.ArgumentTypeError(f"a path is expected, got {text!r}")
    return Path(text)


def whole(least: int, *words: str) -> Callable[[str], int]:
    """Reads whole numbers from `least` on; the words are what the option takes besides, for its error."""
    expected = ", or ".join([f"a whole number from {least} on", *words])

    def parse(text: str) -> int:
        if not re.fullmatch(r"[+-]?\d+", text) or int(text) < least:
            raise argparse.ArgumentTypeError(f"{expected} is expected, got {text!r}")
        return int(text)

    return parse


AUTO: Final = "auto"
NATIVE: Final = "native"


def auto_or_whole(least: int) -> Callable[[str], int | None]:
    """Reads "auto" as None, and whole numbers from `least` on."""
    return lambda text: None if text == AUTO else whole(least, AUTO)(text)


def size(text: str) -> int | str | None:
    """Reads "auto" as None, "native" as it is, else pixels a side."""
    if text in (AUTO, NATIVE):
        return None if text == AUTO else text
    return whole(8, AUTO, NATIVE)(text)


def duration(text: str) -> float:
    """Seconds of a time such as 1h30m."""
    if not re.fullmatch(r"(\d+(\.\d+)?[smhd])+", text):
        raise argparse.ArgumentTypeError(f"a time such as 90s, 10m, 8h or 1h30m is expected, got {text!r}")
    seconds = sum(float(number) * _UNITS[unit] for number, _, unit in re.findall(r"(\d+(\.\d+)?)([smhd])", text))
    if seconds <= 0:
        raise argparse.ArgumentTypeError(f"a time above zero is expected, got {text!r}")
    return seconds
