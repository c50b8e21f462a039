"""The search, the command without a name: what was asked for, as a request."""

from __future__ import annotations

import argparse
import logging
import shlex
import sys
import threading
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
    auto_or_whole,
    duration,
    path,
    size,
    whole,
)
from commands.terminal import listen_for_the_end
from commands.working_hours import WorkingHours
from search.errors import UserError
from search.metric_definitions import METRICS
from search.settings import DEFAULT_SECONDS, DEFAULT_TRIALS, Budget

if TYPE_CHECKING:
    from search.data.weight_files import Weights
    from search.request import SearchRequest
    from search.schedule.windows import Hours
    from spaces.space import Space

_log = logging.getLogger("search.run")

_DEMO_SECONDS: Final = 165.0

_HELP: Final = """\
Search robust configurations for a folder of images, one sub-folder a class.

examples:
  run_search.py --demo                                   a study on a small real data set, about three minutes
  run_search.py --data ./images                          over night: 200 trials or 8 hours, whichever comes first
  run_search.py check --data ./images                    what is wrong with the images, in seconds, without training
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
        "--max-side",
        type=whole(8),
        metavar="N",
        help="with --image-size native: longer images are shrunk to it (default: 64; 128 on a GPU or of pretrained "
        "networks, on both 224)",
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
    study.add_argument("--epochs", type=auto_or_whole(1), metavar="auto|N", help="of each fit (default: auto)")
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
        type=auto_or_whole(1),
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
    return WorkingHours(_request(options, given), hours, asked, quiet=options.quiet, on_finish=options.on_finish).run()


def hours_of(options: argparse.Namespace) -> Hours:
    """When it may work. Raises UserError for hours that are none."""
    from search.schedule.windows import Hours, parse

    return Hours(parse(options.window) if options.window else None, options.deadline)


def check(options: argparse.Namespace, given: list[str]) -> None:
    """Raise what can be raised before any image is read: options that are none, no folder, no classes."""
    from search.data.layout import layout
    from search.request import refuse_overlapping_folders

    request = _request(options, given)
    refuse_overlapping_folders(request)
    if request.labels is None:
        layout(request.data)


def _request(options: argparse.Namespace, given: list[str]) -> SearchRequest:
    from search.request import SearchRequest
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
    return SearchRequest(
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
    from search.data.weight_files import find_weights
    from spaces.backbones import BACKBONES, IMAGENET, RANDOM
    from spaces.presets import DEFAULT

    def tell(text: str) -> None:
        print(f"{text} ...", file=sys.stderr)

    if space.backbones:
        found = find_weights(options.weights or IMAGENET, space.backbones, tell)
        if missing := [name for name in space.backbones if name not in found]:
            print(f"Left out, as their weights are not there: {', '.join(missing)}.", file=sys.stderr)
        return found
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
    from search.storage.database import hide_credentials

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
