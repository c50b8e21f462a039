"""The search, the command without a name: one session, or one in each of the hours in which it may work."""

from __future__ import annotations

import argparse
import logging
import os
import shlex
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from commands.options import (
    NATIVE,
    Once,
    Parser,
    add_data,
    add_follow_links,
    add_labels,
    add_quiet,
    add_storage,
    add_weights,
    auto_or,
    duration,
    path,
    size,
    whole,
)
from commands.terminal import DONE, INTERRUPTED, listen_for_the_end, log_to, no_room, tell, write
from search.errors import UserError
from search.settings import DEFAULT_SECONDS, DEFAULT_TRIALS, METRICS, Budget

if TYPE_CHECKING:
    from search.data.weights import Weights
    from search.events import Listener
    from search.study.folder import Hold
    from search.study.request import Request
    from search.study.session import Session
    from search.study.windows import Hours
    from spaces.space import Space

_log = logging.getLogger("search.run")

_DEMO_SECONDS: Final = 165.0
_LEAST_SECONDS: Final = 60.0  # that hours must have left to be begun, if others follow
_WORTH_SECONDS: Final = 600.0  # left of the hours, for which it is worth to go on
_AGAIN_SECONDS: Final = 60.0  # to the next try, where a session of later hours could not begin or end
_FINISH_SECONDS: Final = 1800.0  # that --on-finish may take
_LOOK_SECONDS: Final = 1.0  # at the clock on the wall, while waiting: somebody may set it, a laptop may wake up

_HELP: Final = """\
Search robust configurations for a folder of images, one sub-folder a class.

examples:
  run_search.py --demo                                   a study on a small real data set, about three minutes
  run_search.py --data ./images                          over night: 200 trials or 8 hours, whichever comes first
  run_search.py --data ./images --timeout 30m --space core --test ./holdout
  run_search.py --data ./images --space my_space.yaml --start mine.yaml --groups patients.csv
  run_search.py --data ./images --timeout 40h --window "Mon-Fri 20:00-07:00, Sat-Sun 00:00-24:00"
  run_search.py status --out runs/images                 how a search is getting on, from another terminal
  run_search.py schedule --data ./images --window 22:00-07:00    start it each night, also after a reboot
  run_search.py report --out runs/images                 the reports again, without training
  run_search.py explain --out runs/images --from mine.yaml       what separates yours from the recommended one
  run_search.py diagnose --data ./images --model net.py:build    why a network of your own does not learn
  run_search.py train --config runs/images/best_config.yaml --data ./images --model model.keras
  run_search.py predict --model model.keras --data ./new_images --csv predictions.csv

The same command goes on with an interrupted study. Ctrl-C stops it and keeps everything.
"""


def parser(command: str = "", description: str = _HELP) -> argparse.ArgumentParser:
    """Its options, also for a command that takes the same ones."""
    options = Parser(command, description)
    data = options.add_argument_group("images")
    add_data(data, "folder with one sub-folder of images a class", required=False)
    data.add_argument("--demo", action="store_true", help="write a small real image folder and search it")
    data.add_argument(
        "--test",
        action=Once,
        type=path,
        metavar="DIR",
        help="like --data, never searched on: scores the recommendation once",
    )
    data.add_argument(
        "--groups", type=path, metavar="FILE.csv", help="columns file, group: groups are kept together in a fold"
    )
    add_labels(data)
    add_follow_links(data)
    data.add_argument(
        "--split-copies",
        action="store_true",
        help="let images that show the same fall on both sides of a split: scores will be too good",
    )
    data.add_argument(
        "--image-size",
        type=size,
        metavar="auto|N|native",
        help="pixels a side (default: auto, says why); native: images keep their sizes, as well as eight shapes allow",
    )
    data.add_argument(
        "--max-side", type=whole(8), metavar="N", help="with --image-size native: longer images are shrunk to it"
    )
    study = options.add_argument_group("study")
    study.add_argument("--out", type=path, metavar="DIR", help="run folder (default: runs/<name of the data folder>)")
    study.add_argument(
        "--space",
        default="default",
        metavar="core|default|transfer|FILE.yaml",
        help="default: default; transfer: pretrained networks, which default tries too if --weights is given",
    )
    add_weights(study)
    study.add_argument("--start", type=path, metavar="FILE.yaml", help="configurations of your own to try first")
    study.add_argument(
        "--metric", default="balanced_accuracy", choices=METRICS, metavar="NAME", help=f"one of {', '.join(METRICS)}"
    )
    study.add_argument("--folds", type=whole(2), default=5, metavar="N", help="of the cross-validation (default: 5)")
    study.add_argument("--epochs", type=auto_or(whole(1)), metavar="auto|N", help="of each fit (default: auto)")
    study.add_argument("--seed", type=whole(0), default=0, metavar="N", help="root of all randomness (default: 0)")
    add_storage(study)
    budget = options.add_argument_group(
        "budget",
        "Totals of the study over all restarts. Without any: 200 trials, 8 hours, or no more progress. "
        "Raise them to go on.",
    )
    budget.add_argument("--trials", type=whole(1), metavar="N", help="configurations to judge")
    budget.add_argument(
        "--timeout", type=duration, metavar="TIME", help="of computing: 30s, 10m, 8h, 1d, or 1h30m; kept to 30 s"
    )
    budget.add_argument(
        "--window",
        action="append",
        metavar="HOURS",
        help="work in these hours only, night after night until the budget is used up: 22:00-07:00, or 'Mon-Fri "
        "20:00-07:00, Sat-Sun 00:00-24:00'; local time; the report is written at the end of each",
    )
    budget.add_argument(
        "--deadline", type=_moment, metavar="MOMENT", help="end then, whatever is left: 2026-12-01T06:00, local time"
    )
    machine = options.add_argument_group("machine")
    machine.add_argument(
        "--workers",
        type=auto_or(whole(1)),
        metavar="auto|N",
        help="processes that train (default: auto: one a GPU; without a GPU one, or as many as cores and memory bear, "
        "whichever is found to train more epochs a second)",
    )
    machine.add_argument(
        "--on-finish",
        metavar="COMMAND",
        help="run by the shell when a session has ended, with STEADYNET_OUT (the run folder) and STEADYNET_ENDED "
        "(finished, hours, interrupted or failed) in its environment",
    )
    add_quiet(machine)
    return options


def run(options: argparse.Namespace, given: list[str]) -> int:
    """Search; returns the exit code."""
    hours = hours_of(options)
    asked = threading.Event()
    listen_for_the_end(asked)
    return _Shifts(_request(options, given), hours, asked, options).run()


def hours_of(options: argparse.Namespace) -> Hours:
    """When it may work. Raises UserError for hours that are none."""
    from search.study.windows import Hours, parse

    return Hours(parse(options.window) if options.window else None, options.deadline)


class _Shifts:
    """One session after the other, the run folder being held all the while."""

    def __init__(self, request: Request, hours: Hours, asked: threading.Event, options: argparse.Namespace) -> None:
        from rich.console import Console

        self._request, self._hours, self._asked = request, hours, asked
        self._quiet, self._on_finish = options.quiet, options.on_finish
        self._has_failed = False  # in the last session
        self._console = Console(stderr=True)

    def run(self) -> int:
        """Until the study is finished, the last hours are over, or somebody asks for the end."""
        from reports.live_status import StatusFile
        from search.study.folder import locked
        from search.study.request import refuse_tangled
        from search.study.session import Ended, OutOfTime

        request, code, after, is_known_good = self._request, None, 0.0, False
        refuse_tangled(request)
        with (
            locked(request.out, request.storage) as hold,
            log_to(request.out, self._console, quiet=self._quiet),
            StatusFile(request.out) as self._status,
        ):
            try:
                while (span := self._hours.next(max(after, time.time()))) is not None:
                    if span[0] > time.time():
                        if not is_known_good:
                            self._rehearse(hold)
                            is_known_good = True
                        span = self._wait(after)
                    if span is None:  # a machine that slept missed its last hours
                        break
                    if span[1] is not None and span[1] - time.time() < _LEAST_SECONDS and self._hours.next(span[1]):
                        after = span[1]
                        continue
                    try:
                        code, session = self._session(hold, span[1])
                    except OutOfTime as error:
                        if span[1] is None or self._hours.next(span[1]) is None:
                            raise
                        _log.warning("%s Going on in the next hours.", error)
                        after = span[1]
                        continue
                    except (UserError, OSError) as error:
                        known = error if isinstance(error, UserError) else no_room(error)
                        if not is_known_good or span[1] is None or known is None:
                            raise
                        # A database that is away, say, or a full disk: it may get better.
                        _log.error("%s Trying again in a minute.", known)
                        if self._asked.wait(_AGAIN_SECONDS):
                            raise Ended from None
                        continue
                    is_known_good = True
                    if session.is_last or span[1] is None or self._asked.is_set():
                        return code
                    goes_on = session.has_trained and span[1] - time.time() >= _WORTH_SECONDS  # finalists took less
                    after = 0.0 if goes_on else span[1]
            except Ended:
                tell(
                    "Interrupted before there was anything to report." if code is None else "Interrupted while waiting."
                )
                return INTERRUPTED
            if code is None and (request.out / "report.html").exists():
                tell(f"--deadline is over. What was found stands in {request.out / 'report.html'}.")
                return DONE
            if code is None:
                deadline = datetime.fromtimestamp(self._hours.deadline or 0)
                raise UserError(
                    f"--deadline {deadline:%Y-%m-%dT%H:%M} is over, or comes before the next hours of work. Pass a "
                    "later one. The report of a study that is there is made again by: run_search.py report --out DIR."
                )
            return code

    def _rehearse(self, hold: Hold) -> None:
        """What is wrong is said now, not in the night."""
        from search.study.clock import Clock
        from search.study.session import rehearse

        with self._display() as listener:
            rehearse(self._request, listener, Clock(asked=self._asked), hold)

    def _wait(self, after: float) -> tuple[float, float | None] | None:
        """Until the next hours begin, by the clock on the wall as it then is. Returns them; None: there are no more.

        Raises:
            Ended: somebody asked for it.
        """
        from search.study.session import Ended

        told = None
        with self._display() as listener:
            while (span := self._hours.next(max(after, time.time()))) is not None and span[0] > time.time():
                if span[0] != told:
                    listener.waiting(span[0])
                    told = span[0]
                if self._asked.wait(_LOOK_SECONDS):
                    raise Ended
        return span

    def _session(self, hold: Hold, end: float | None) -> tuple[int, Session]:
        """Work until `end`. Returns the exit code, and what came of it."""
        from search.study.clock import Clock
        from search.study.session import Broken, Ended, OutOfTime, search

        later = None if end is None else self._hours.next(end)
        usual = None if later is None or later[1] is None else later[1] - later[0]
        clock = Clock(self._request.budget.seconds, until=end, usual=usual, asked=self._asked)
        try:
            with self._display(end) as listener:
                session = search(self._request, listener, clock, hold=hold)
            code = write(session.results, self._request.out, interrupted=self._asked.is_set())
        except BaseException as error:
            if isinstance(error, Broken):  # our bug or a broken machine: the report first, then the traceback
                write(error.results, self._request.out, interrupted=False)
            if not isinstance(error, OutOfTime) or later is None:  # else the next hours may do for the images
                self._finish("interrupted" if isinstance(error, Ended | KeyboardInterrupt) else "failed")
            raise
        if self._asked.is_set():
            self._finish("interrupted")
        elif not session.is_last and end is not None:
            self._finish("hours")
        elif session.has_trained:  # a finished study, started again each night, is no news
            self._finish("finished")
        return code, session

    def _finish(self, ended: str) -> None:
        """Run the user's command, if there is one; of failures one after the other, after the first."""
        is_known, self._has_failed = self._has_failed and ended == "failed", ended == "failed"
        if self._on_finish is not None and not is_known:
            _run_shell(self._on_finish, self._request.out, ended)

    @contextmanager
    def _display(self, ends: float | None = None) -> Iterator[Listener]:
        from reports.live import LiveDisplay
        from reports.live_log import EventLog
        from search.events import Several, Silent

        display = nullcontext(Silent()) if self._quiet else LiveDisplay(self._console)
        later = None if ends is None else self._hours.next(ends)
        self._status.hours(ends, None if later is None else later[0])
        with display as shown:
            yield Several(shown, self._status, EventLog())


def _run_shell(command: str, out: Path, ended: str) -> None:
    """The user's own command; what comes of it is theirs, but a failure is said."""
    surroundings = {**os.environ, "STEADYNET_OUT": str(out.resolve()), "STEADYNET_ENDED": ended}
    _log.info("--on-finish begins: %s", ended)
    try:
        code = subprocess.run(command, shell=True, env=surroundings, check=False, timeout=_FINISH_SECONDS).returncode
    except subprocess.TimeoutExpired:
        _log.error("--on-finish: the command was ended after %.0f minutes.", _FINISH_SECONDS / 60)
        return
    if code:  # its text may hold a password
        _log.error("--on-finish: the command ended with %d.", code)


def check(options: argparse.Namespace, given: list[str]) -> None:
    """Raise what can be raised before any image is read: options that are none, no folder, no classes."""
    from search.data.layout import layout
    from search.study.request import refuse_tangled

    request = _request(options, given)
    refuse_tangled(request)
    if request.labels is None:
        layout(request.data)


def _request(options: argparse.Namespace, given: list[str]) -> Request:
    from search.study.request import Request
    from spaces.config import ConfigurationError
    from spaces.definitions import SpaceError
    from spaces.presets import with_weights
    from spaces.yaml_io import load_configurations, load_space

    if options.demo:
        from search.data.demo import write_digits

        options.data = options.data or Path("demo") / "digits"
        options.out = options.out or Path("runs") / "demo"
        write_digits(options.data)
    native = options.image_size == NATIVE
    if options.max_side is not None and not native:
        raise UserError("--max-side goes with --image-size native, where images keep their sizes. Leave one out.")
    if options.data is None:
        raise UserError("no images: pass --data DIR, a folder with one sub-folder of images a class, or try --demo.")
    try:
        space = load_space(options.space)
        weights = _weights(options, space)
        space = with_weights(space, tuple(weights))
        starts = load_configurations(options.start) if options.start else []
    except (SpaceError, ConfigurationError) as error:
        raise UserError(str(error)) from None
    secret = ("storage", "on_finish")  # may hold a password
    return Request(
        data=options.data,
        out=out_of(options),
        space=space,
        budget=_budget(options),
        starts=starts,
        test=options.test,
        groups=options.groups,
        folds=options.folds,
        epochs=options.epochs,
        image_size=options.max_side if native else options.image_size,
        native=native,
        weights=weights,
        labels=options.labels,
        follow_links=options.follow_links,
        split_copies=options.split_copies,
        seed=options.seed,
        metric=options.metric,
        workers=options.workers,
        storage=options.storage,
        study=options.study,
        command=_repeatable(given, options),
        settings={key: str(value) for key, value in vars(options).items() if value is not None and key not in secret},
    )


def _weights(options: argparse.Namespace, space: Space) -> dict[str, Weights]:
    """Of the backbones that the space offers; none where it offers none."""
    from search.data.weights import find_weights
    from spaces.backbones import BACKBONES, IMAGENET, RANDOM
    from spaces.presets import DEFAULT

    def tell(text: str) -> None:
        print(f"{text} ...", file=sys.stderr)

    if space.backbones:
        return find_weights(options.weights or IMAGENET, space.backbones, tell)
    if options.weights is None:
        return {}
    if space != DEFAULT:
        raise UserError(
            f"--weights goes with pretrained networks, but --space {options.space} has none. Pass --space transfer, or "
            "add a backbone to the space."
        )
    if options.weights == RANDOM:
        raise UserError(
            f"--weights {RANDOM}, random first weights, goes with --space transfer; the default space has no "
            "pretrained networks without --weights."
        )
    return find_weights(options.weights, tuple(BACKBONES), tell)


def out_of(options: argparse.Namespace) -> Path:
    """The run folder."""
    out: Path = options.out or Path("runs") / options.data.resolve().name
    return out


def _repeatable(given: list[str], options: argparse.Namespace) -> str:
    """The command as reports show it: without the storage's password, and without what others run afterwards."""
    from search.study.storage import hide_credentials

    if options.storage:
        given = [argument.replace(options.storage, hide_credentials(options.storage)) for argument in given]
    if options.on_finish:
        given = [argument.replace(options.on_finish, "***") for argument in given]
    return "python run_search.py " + shlex.join(given)


def _budget(options: argparse.Namespace) -> Budget:
    """A limit that is given replaces both defaults and the end for want of progress."""
    if options.demo and options.trials is None and options.timeout is None:
        return Budget(trials=None, seconds=_DEMO_SECONDS, until_no_progress=False)
    if options.trials is None and options.timeout is None:
        return Budget(trials=DEFAULT_TRIALS, seconds=DEFAULT_SECONDS, until_no_progress=True)
    return Budget(trials=options.trials, seconds=options.timeout, until_no_progress=False)


def _moment(text: str) -> float:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"a moment such as 2026-12-01T06:00 is expected, got {text!r}") from None
    return found.timestamp()
