"""The command line: parse, wire, exit codes. Everything heavy is imported after the arguments are known to be good."""

from __future__ import annotations

import argparse
import logging
import shlex
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from search import arguments
from search.errors import UserError
from search.settings import DEFAULT_SECONDS, DEFAULT_TRIALS, Budget

if TYPE_CHECKING:
    from search.events import Listener
    from search.selection.results import Results
    from search.study.clock import Clock

DONE, USER_ERROR, NOTHING_HEALTHY, INTERRUPTED = 0, 2, 3, 130
_DEMO_SECONDS: Final = 165.0


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code: 0 done, 2 for the user to mend, 3 nothing healthy, 130 interrupted."""
    given = list(sys.argv[1:] if argv is None else argv)
    try:
        if given and given[0] in _COMMANDS:
            parser, run = _COMMANDS[given[0]]
            return run(parser().parse_args(given[1:]))
        return _search(arguments.search_parser().parse_args(given), given)
    except UserError as error:
        _print_error(error)
        return USER_ERROR
    except KeyboardInterrupt:
        print("Interrupted at once; what was recorded is kept. The same command goes on.", file=sys.stderr)
        return INTERRUPTED


def _search(options: argparse.Namespace, given: list[str]) -> int:
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
        command=_repeatable(given, options.storage),
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


def _repeatable(given: list[str], storage: str | None) -> str:
    """The command as reports show it: without the storage's password."""
    from search.study.storage import hide_credentials

    if storage:
        given = [argument.replace(storage, hide_credentials(storage)) for argument in given]
    return "python run_search.py " + shlex.join(given)


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


def _train(options: argparse.Namespace) -> int:
    from reports.delivery import trained_lines
    from search.delivery.order import Request
    from search.delivery.training import train

    request = Request(
        config=options.config,
        data=options.data,
        model=options.model,
        seed=options.seed,
        ensemble=options.ensemble,
        groups=options.groups,
    )
    return _say(trained_lines, lambda listener: train(request, listener), quiet=options.quiet)


def _predict(options: argparse.Namespace) -> int:
    from reports.delivery import predicted_lines
    from search.delivery.prediction import Request, predict

    request = Request(model=options.model, data=options.data, csv=options.csv)
    return _say(predicted_lines, lambda listener: predict(request, listener), quiet=options.quiet)


def _say(lines: Callable[[Any], list[str]], work: Callable[[Listener], Any], *, quiet: bool) -> int:
    """Do the work with its progress and warnings on the terminal, then say what came of it."""
    from rich.console import Console

    from reports.live import LiveDisplay
    from search.events import Silent

    console = Console(stderr=True)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with _log_to(None, console, quiet=quiet), nullcontext(Silent()) if quiet else LiveDisplay(console) as listener:
            result = work(listener)
    except KeyboardInterrupt:
        print("Interrupted; nothing was written.", file=sys.stderr)
        return INTERRUPTED
    print(*lines(result), sep="\n")
    return DONE


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


def _log_to(out: Path | None, console: Any, *, quiet: bool) -> Any:
    """Everything into `run.log` of a run folder, warnings to the terminal too, for as long as the context is open."""
    from contextlib import ExitStack

    from rich.logging import RichHandler

    screen = RichHandler(console=console, show_path=False, show_time=False, markup=False, highlighter=None)
    screen.setLevel(logging.ERROR if quiet else logging.WARNING)
    screen.setFormatter(_Printable("%(message)s"))
    logger = logging.getLogger("search")
    logger.setLevel(logging.INFO)
    handlers: list[logging.Handler] = [screen]
    if out is not None:
        file = logging.FileHandler(out / "run.log", encoding="utf-8", delay=True, errors="backslashreplace")
        file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        handlers.append(file)
    stack = ExitStack()
    for handler in handlers:
        logger.addHandler(handler)
        stack.callback(logger.removeHandler, handler)
        stack.callback(handler.close)
    return stack


class _Printable(logging.Formatter):
    """Messages whose file names and texts come from strangers, without what would steer the terminal."""

    def format(self, record: logging.LogRecord) -> str:
        from reports.wording import shown

        return "\n".join(shown(line) for line in super().format(record).split("\n"))


_COMMANDS: Final[dict[str, tuple[Callable[[], argparse.ArgumentParser], Callable[[argparse.Namespace], int]]]] = {
    "report": (arguments.report_parser, _report),
    "explain": (arguments.explain_parser, _explain),
    "diagnose": (arguments.diagnose_parser, _diagnose),
    "train": (arguments.train_parser, _train),
    "predict": (arguments.predict_parser, _predict),
}


if __name__ == "__main__":
    sys.exit(main())
