"""The command line: parse, wire, exit codes. Everything heavy is imported after the arguments are known to be good."""

from __future__ import annotations

import argparse
import logging
import re
import shlex
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from search.errors import UserError
from search.settings import DEFAULT_SECONDS, DEFAULT_TRIALS, METRICS, Budget

if TYPE_CHECKING:
    from search.selection.results import Results
    from search.study.clock import Clock

DONE, USER_ERROR, NOTHING_HEALTHY, INTERRUPTED = 0, 2, 3, 130
_DEMO_SECONDS: Final = 165.0
_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}

_SEARCH_HELP: Final = """\
Search robust configurations for a folder of images, one sub-folder a class.

examples:
  run_search.py --demo                                   a study on a small real data set, about three minutes
  run_search.py --data ./images                          over night: 200 trials or 8 hours, whichever comes first
  run_search.py --data ./images --timeout 30m --space core --test ./holdout
  run_search.py --data ./images --space my_space.yaml --start mine.yaml --groups patients.csv
  run_search.py report --out runs/images                 the reports again, without training
  run_search.py explain --out runs/images --from mine.yaml       what separates yours from the recommended one
  run_search.py diagnose --data ./images --model net.py:build    why a network of your own does not learn

The same command goes on with an interrupted study. Ctrl-C stops it and keeps everything.
"""

_DIAGNOSE_HELP: Final = """\
Say why a network of your own does not learn, and try the smallest change that makes it learn.

example:
  run_search.py diagnose --data ./images --model net.py:build

It runs your code: net.py has a function build(input_shape, n_classes) that returns a compiled Keras model, and may have
  LABELS = "int", "onehot" or "binary"
  FIT = dict(batch_size=32, epochs=10, class_weight=None)
  PREPROCESS(x), AUGMENT(x, y)     your own input pipeline; without them the network gets raw pixels of 0 to 255
Instead of net.py:build a file that Keras saved, model.keras, will do.
"""


class _Once(argparse.Action):
    """An option that is refused when it is given twice: the first folder would be left out without a word."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        if getattr(namespace, self.dest) is not None:
            raise argparse.ArgumentError(self, f"given twice ({getattr(namespace, self.dest)}, {values}); give it once")
        setattr(namespace, self.dest, values)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> Any:
        raise UserError(f"{message}. See {self.prog} --help.")


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code: 0 done, 2 for the user to mend, 3 nothing healthy, 130 interrupted."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        if arguments[:1] == ["report"]:
            return _report(_report_parser().parse_args(arguments[1:]))
        if arguments[:1] == ["diagnose"]:
            return _diagnose(_diagnose_parser().parse_args(arguments[1:]))
        if arguments[:1] == ["explain"]:
            return _explain(_explain_parser().parse_args(arguments[1:]))
        options = _search_parser().parse_args(arguments)
        return _search(options, arguments)
    except UserError as error:
        _print_error(error)
        return USER_ERROR
    except KeyboardInterrupt:
        print("Interrupted at once; what was recorded is kept. The same command goes on.", file=sys.stderr)
        return INTERRUPTED


def _search_parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="run_search.py",
        description=_SEARCH_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    data = parser.add_argument_group("images")
    data.add_argument(
        "--data", action=_Once, type=_path, metavar="DIR", help="folder with one sub-folder of images a class"
    )
    data.add_argument("--demo", action="store_true", help="write a small real image folder and search it")
    data.add_argument(
        "--test",
        action=_Once,
        type=_path,
        metavar="DIR",
        help="like --data, never searched on: scores the recommendation once",
    )
    data.add_argument(
        "--groups", type=_path, metavar="FILE.csv", help="columns file, group: groups are kept together in a fold"
    )
    data.add_argument(
        "--image-size", type=_image_size, metavar="auto|N", help="pixels a side (default: auto, says why)"
    )
    study = parser.add_argument_group("study")
    study.add_argument("--out", type=_path, metavar="DIR", help="run folder (default: runs/<name of the data folder>)")
    study.add_argument(
        "--space", default="default", metavar="core|default|FILE.yaml", help="what is searched (default: default)"
    )
    study.add_argument("--start", type=_path, metavar="FILE.yaml", help="configurations of your own to try first")
    study.add_argument(
        "--metric", default="balanced_accuracy", choices=METRICS, metavar="NAME", help=f"one of {', '.join(METRICS)}"
    )
    study.add_argument("--folds", type=_whole(2), default=5, metavar="N", help="of the cross-validation (default: 5)")
    study.add_argument("--epochs", type=_epochs, metavar="auto|N", help="of each fit (default: auto)")
    study.add_argument("--seed", type=_whole(0), default=0, metavar="N", help="root of all randomness (default: 0)")
    study.add_argument("--storage", metavar="URL", help="database for the study (default: study.db in the run folder)")
    study.add_argument("--study", default="steadynet", metavar="NAME", help="name of the study in its database")
    budget = parser.add_argument_group(
        "budget",
        "Totals of the study over all restarts. Without any: 200 trials, 8 hours, or no more progress. "
        "Raise them to go on.",
    )
    budget.add_argument("--trials", type=_whole(1), metavar="N", help="configurations to judge")
    budget.add_argument("--timeout", type=_duration, metavar="TIME", help="30s, 10m, 8h, 1d, or 1h30m; kept to 30 s")
    machine = parser.add_argument_group("machine")
    machine.add_argument(
        "--workers", type=_workers, metavar="auto|N", help="processes that train (default: one a GPU, else one)"
    )
    machine.add_argument("--quiet", action="store_true", help="print the result only")
    return parser


def _report_parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="run_search.py report",
        description="Make report, YAML, tables and summary again from the study, without training.\n\n"
        "example:\n  run_search.py report --out runs/images",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    _add_run_options(parser)
    return parser


def _explain_parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="run_search.py explain",
        description="Follow the changes from your configuration to the recommended one of a finished run, one at a\n"
        "time, each verified by trainings, and write the report again: which change mattered how much.\n\n"
        "example:\n  run_search.py explain --out runs/images --from mine.yaml",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    _add_run_options(parser)
    parser.add_argument(
        "--from", dest="start", type=_path, required=True, metavar="FILE.yaml", help="your configuration, as --start's"
    )
    parser.add_argument("--data", type=_path, metavar="DIR", help="the run's images, if they were moved")
    parser.add_argument("--quiet", action="store_true", help="print the result only")
    return parser


def _add_run_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=_path, required=True, metavar="DIR", help="run folder of a search")
    parser.add_argument("--storage", metavar="URL", help="database of the study, if not in the run folder")
    parser.add_argument("--study", default="steadynet", metavar="NAME", help="name of the study in its database")


def _diagnose_parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="run_search.py diagnose",
        description=_DIAGNOSE_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--data",
        action=_Once,
        type=_path,
        required=True,
        metavar="DIR",
        help="folder with one sub-folder of images a class",
    )
    parser.add_argument(
        "--model", required=True, metavar="net.py:build", help="function that builds your network, or a model.keras"
    )
    parser.add_argument(
        "--out", type=_path, metavar="DIR", help="for diagnosis.html and .json (default: runs/<name>-diagnosis)"
    )
    parser.add_argument("--seed", type=_whole(0), default=0, metavar="N", help="root of all randomness (default: 0)")
    parser.add_argument(
        "--budget", type=_duration, default=120.0, metavar="TIME", help="for its trainings (default: 2m)"
    )
    return parser


def _path(text: str) -> Path:
    if not text.strip():  # --data "$UNSET" is not the folder we are in
        raise argparse.ArgumentTypeError(f"a path is expected, got {text!r}")
    return Path(text)


def _whole(least: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not re.fullmatch(r"[+-]?\d+", text) or int(text) < least:
            raise argparse.ArgumentTypeError(f"a whole number from {least} on is expected, got {text!r}")
        return int(text)

    return parse


def _auto_or(parse: Callable[[str], int]) -> Callable[[str], int | None]:
    return lambda text: None if text == "auto" else parse(text)


_image_size, _epochs, _workers = _auto_or(_whole(8)), _auto_or(_whole(1)), _auto_or(_whole(1))


def _duration(text: str) -> float:
    if not re.fullmatch(r"(\d+(\.\d+)?[smhd])+", text):
        raise argparse.ArgumentTypeError(f"a time such as 90s, 10m, 8h or 1h30m is expected, got {text!r}")
    seconds = sum(float(number) * _UNITS[unit] for number, _, unit in re.findall(r"(\d+(\.\d+)?)([smhd])", text))
    if seconds <= 0:
        raise argparse.ArgumentTypeError(f"a time above zero is expected, got {text!r}")
    return seconds


def _search(options: argparse.Namespace, arguments: list[str]) -> int:
    from search.study.clock import Clock

    clock = Clock(_budget(options).seconds)
    _listen_for_the_end(clock)
    if options.demo:
        _use_demo(options)
    if options.data is None:
        raise UserError("no images: pass --data DIR, a folder with one sub-folder of images a class, or try --demo.")
    from spaces.config import ConfigurationError
    from spaces.definitions import SpaceError
    from spaces.yaml_io import load_configurations, load_space

    try:
        space = load_space(options.space)
        starts = load_configurations(options.start) if options.start else []
    except (SpaceError, ConfigurationError) as error:
        raise UserError(str(error)) from None
    from rich.console import Console

    from reports.live import LiveDisplay
    from search.events import Silent
    from search.study.session import Broken, Ended, Request, search

    out = options.out or Path("runs") / options.data.resolve().name
    shown = {key: str(value) for key, value in vars(options).items() if value is not None and key != "storage"}
    request = Request(
        data=options.data,
        out=out,
        space=space,
        budget=_budget(options),
        starts=starts,
        test=options.test,
        groups=options.groups,
        folds=options.folds,
        epochs=options.epochs,
        image_size=options.image_size,
        seed=options.seed,
        metric=options.metric,
        workers=options.workers,
        storage=options.storage,
        study=options.study,
        command=_repeatable(arguments, options.storage),
        settings=shown,
    )
    console = Console(stderr=True)
    display = nullcontext(Silent()) if options.quiet else LiveDisplay(console)
    try:
        with _log_to(out, console, quiet=options.quiet), display as listener:
            results = search(request, listener, clock)
    except Ended:
        print("Interrupted before there was anything to report.")
        return INTERRUPTED
    except Broken as broken:  # our bug or a broken machine: the report first, then the traceback
        _write(broken.results, out, interrupted=False)
        raise
    return _write(results, out, interrupted=clock.asked.is_set())


def _repeatable(arguments: list[str], storage: str | None) -> str:
    """The command as reports show it: without the storage's password."""
    from search.study.storage import hide_credentials

    if storage:
        arguments = [argument.replace(storage, hide_credentials(storage)) for argument in arguments]
    return "python run_search.py " + shlex.join(arguments)


def _budget(options: argparse.Namespace) -> Budget:
    """A limit that is given replaces both defaults and the end for want of progress."""
    if options.demo and options.trials is None and options.timeout is None:
        return Budget(trials=None, seconds=_DEMO_SECONDS, until_no_progress=False)
    if options.trials is None and options.timeout is None:
        return Budget(trials=DEFAULT_TRIALS, seconds=DEFAULT_SECONDS, until_no_progress=True)
    return Budget(trials=options.trials, seconds=options.timeout, until_no_progress=False)


def _use_demo(options: argparse.Namespace) -> None:
    from search.data.demo import write_digits

    options.data = options.data or Path("demo") / "digits"
    options.out = options.out or Path("runs") / "demo"
    write_digits(options.data)


def _report(options: argparse.Namespace) -> int:
    from search.selection.analyse import analyse
    from search.study.reading import open_study

    _check_run_folder(options.out)
    return _write(analyse(open_study(options.out, options.storage, options.study)), options.out, interrupted=False)


def _diagnose(options: argparse.Namespace) -> int:
    from rich.console import Console

    from reports.diagnosis_summary import diagnosis_lines
    from reports.live import LiveDisplay
    from reports.write import write_diagnosis
    from search.diagnosis.examination import Request, examine

    name = Path(options.model.partition(":")[0]).stem
    out = options.out or Path("runs") / f"{name}-diagnosis"
    request = Request(data=options.data, model=options.model, out=out, seed=options.seed, budget=options.budget)
    print(
        f"This runs your own code ({options.model}) in a process of its own; what it prints goes to {request.log}.",
        file=sys.stderr,
    )
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with LiveDisplay(Console(stderr=True)) as listener:
            diagnosis = examine(request, listener)
    except KeyboardInterrupt:
        print("Interrupted; nothing was written but what your code printed.", file=sys.stderr)
        return INTERRUPTED
    page = write_diagnosis(diagnosis, out)
    print(*diagnosis_lines(diagnosis, page), sep="\n")
    return DONE


def _print_error(error: UserError) -> None:
    """In one line, the last one; above it the last lines of the user's own traceback. Names come from strangers."""
    lines = [*(f"  {line}" for line in getattr(error, "lines", ())), f"error: {' '.join(str(error).split())}"]
    if not all(line.isprintable() for line in lines):
        from reports.wording import shown

        lines = [shown(line) for line in lines]
    print(*lines, sep="\n", file=sys.stderr)


def _explain(options: argparse.Namespace) -> int:
    from search.study.clock import Clock
    from spaces.config import ConfigurationError
    from spaces.yaml_io import load_configurations

    _check_run_folder(options.out)
    try:
        start, *others = load_configurations(options.start)
    except ConfigurationError as error:
        raise UserError(str(error)) from None
    from rich.console import Console

    from reports.live import LiveDisplay
    from search.events import Silent
    from search.study.explanation import explain

    clock, console = Clock(), Console(stderr=True)
    _listen_for_the_end(clock)
    display = nullcontext(Silent()) if options.quiet else LiveDisplay(console)
    with _log_to(options.out, console, quiet=options.quiet), display as listener:
        results = explain(
            options.out, start, listener, clock, data=options.data, storage=options.storage, study=options.study
        )
    if others:
        print(f"{options.start} holds {1 + len(others)} configurations: the first one is explained.")
    if results.recommended is None:
        print("There is nothing to explain without a recommended configuration.")
    return _write(results, options.out, interrupted=clock.asked.is_set())


def _check_run_folder(out: Path) -> None:
    if not out.is_dir():
        raise UserError(f"no such run folder: {out}. Pass the --out of an earlier search.")


def _write(results: Results, out: Path, *, interrupted: bool) -> int:
    from reports.closing import closing_lines
    from reports.write import write_all

    write_all(results, out)
    print(*closing_lines(results), sep="\n")
    print(f"Report: {out / 'report.html'}")
    if results.recommended is not None:
        print(f"Configuration: {out / 'best_config.yaml'}")
    if interrupted:
        print("Interrupted; everything is kept. The same command goes on.")
        return INTERRUPTED
    return DONE if results.recommended is not None else NOTHING_HEALTHY


def _listen_for_the_end(clock: Clock) -> None:
    """The first Ctrl-C or SIGTERM ends the search in good order, a second Ctrl-C at once."""

    def end(number: int, frame: object) -> None:
        if clock.asked.is_set() and number == signal.SIGINT:
            raise KeyboardInterrupt
        clock.asked.set()
        print(
            "\nStopping: the report is being written; everything is kept. Ctrl-C again stops at once.", file=sys.stderr
        )

    signal.signal(signal.SIGINT, end)
    signal.signal(signal.SIGTERM, end)


def _log_to(out: Path, console: Any, *, quiet: bool) -> Any:
    """Everything into `run.log`, warnings to the terminal too, for as long as the context is open."""
    from contextlib import ExitStack

    from rich.logging import RichHandler

    file = logging.FileHandler(out / "run.log", encoding="utf-8", delay=True, errors="backslashreplace")
    file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    screen = RichHandler(console=console, show_path=False, show_time=False, markup=False, highlighter=None)
    screen.setLevel(logging.ERROR if quiet else logging.WARNING)
    logger = logging.getLogger("search")
    logger.setLevel(logging.INFO)
    stack = ExitStack()
    for handler in (file, screen):
        logger.addHandler(handler)
        stack.callback(logger.removeHandler, handler)
    stack.callback(file.close)
    return stack


if __name__ == "__main__":
    sys.exit(main())
