"""The search, the default command: turns its options into a request."""

from __future__ import annotations

import argparse
import shlex
import sys
import threading
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
    moment,
    path,
    size,
    whole,
)
from commands.session_loop import SessionLoop
from commands.terminal import stop_on_signals
from search.errors import UserError
from search.metric_definitions import METRICS
from search.settings import DEFAULT_SECONDS, DEFAULT_TRIALS, Budget

if TYPE_CHECKING:
    from search.data.weight_files import Weights
    from search.request import SearchRequest
    from search.schedule.windows import Hours
    from spaces.space import Space

_DEMO_SECONDS: Final = 165.0

_HELP: Final = """\
Search for network configurations that train reliably on a folder of images with one sub-folder per class.

A trial is one configuration, trained on every fold of the cross-validation.

commands (run_search.py COMMAND --help):
  check      find problems in the images, in seconds, without training
  status     show the progress of a search from another terminal
  schedule   start a search every night, even after a reboot
  report     write the reports of a search again, without training
  explain    measure which changes to your configuration matter
  diagnose   find out why your own network does not learn
  train      train the recommended configuration on all images
  predict    apply the trained model to new images
Without a command it searches.

examples:
  run_search.py --demo                                   try it on handwritten digits, about three minutes
  run_search.py --data ./images                          overnight: 200 trials or 8 hours, whichever comes first
  run_search.py check --data ./images
  run_search.py --data ./images --timeout 30m --space core --test ./holdout
  run_search.py --data ./images --space my_space.yaml --start mine.yaml --groups patients.csv
  run_search.py --data ./images --timeout 40h --window "Mon-Fri 20:00-07:00, Sat-Sun 00:00-24:00"
  run_search.py status --out runs/images
  run_search.py schedule --data ./images --window 22:00-07:00
  run_search.py report --out runs/images
  run_search.py explain --out runs/images --from mine.yaml
  run_search.py diagnose --data ./images --model net.py:build
  run_search.py train --config runs/images/best_config.yaml --data ./images --model model.keras
  run_search.py predict --model model.keras --data ./new_images --csv predictions.csv

Ctrl-C stops a search and keeps all results. Run the same command again to continue.
"""


def parser(command: str = "", description: str = _HELP) -> argparse.ArgumentParser:
    """Return the parser of the search, or of another command that takes the same options."""
    options = Parser(command, description)
    data = options.add_argument_group("images")
    add_data(data, "folder with one sub-folder of images per class", required=False)
    data.add_argument(
        "--demo",
        action="store_true",
        help="write a small folder of images, handwritten digits on pieces of photographs, and search on it, beginning "
        "with a network that collapses",
    )
    data.add_argument(
        "--test",
        action=Once,
        type=path,
        metavar="DIR",
        help="folder like --data, not used in the search: the recommendation is scored on it once",
    )
    groups = "table with the columns file and group; a group is never split between folds"
    data.add_argument("--groups", type=path, metavar="FILE.csv", help=groups)
    add_labels(data)
    add_follow_links(data)
    data.add_argument(
        "--split-copies",
        action="store_true",
        help="allow copies of one image on both sides of a split; scores will be too high",
    )
    data.add_argument(
        "--image-size",
        type=size,
        metavar="auto|N|native",
        help="pixels per side (default: auto, chosen from the images); native: images keep their own size, rounded to "
        "at most eight shapes",
    )
    data.add_argument(
        "--max-side",
        type=whole(8),
        metavar="N",
        help="with --image-size native: larger images are scaled down to N pixels on the longer side (default: 64; "
        "128 on a GPU or with pretrained networks; 224 with both)",
    )
    study = options.add_argument_group("study")
    study.add_argument("--out", type=path, metavar="DIR", help="run folder (default: runs/<name of the data folder>)")
    study.add_argument(
        "--space",
        default="default",
        metavar="core|default|transfer|FILE.yaml",
        help="search space: core (depth, share of dense layers, initializer, dropout, class balance, batch size, "
        "learning rate), default (also optimizer, loss, architecture, augmentation and pretrained networks), transfer "
        "(pretrained networks only) or a file (default: default)",
    )
    add_weights(study)
    study.add_argument("--start", type=path, metavar="FILE.yaml", help="your own configurations, tried first")
    study.add_argument(
        "--metric",
        default="balanced_accuracy",
        choices=METRICS,
        metavar="NAME",
        help=f"score to maximize: {', '.join(METRICS)} (default: balanced_accuracy); recall_at_precision: recall at "
        "precision 0.9, mean over classes; skill: 1 - cross-entropy / cross-entropy of ignoring the image",
    )
    study.add_argument(
        "--folds", type=whole(2), default=5, metavar="N", help="folds of the cross-validation (default: 5)"
    )
    study.add_argument("--epochs", type=auto_or_whole(1), metavar="auto|N", help="epochs of each fit (default: auto)")
    study.add_argument("--seed", type=whole(0), default=0, metavar="N", help="seed of all randomness (default: 0)")
    add_storage(study)
    budget = options.add_argument_group(
        "budget",
        "Limits for the whole study, across restarts. By default a search ends after 200 trials, after 8 hours, or\n"
        "when more trials no longer improve the result. Raise a limit to continue a finished study.",
    )
    budget.add_argument("--trials", type=whole(1), metavar="N", help="number of trials")
    budget.add_argument(
        "--timeout",
        type=duration,
        metavar="TIME",
        help="computing time: 30s, 10m, 8h, 1d or 1h30m; may run over by 30 s",
    )
    budget.add_argument(
        "--window",
        action="append",
        metavar="HOURS",
        help="work only in these hours, every day until the budget is used up: 22:00-07:00, or 'Mon-Fri 20:00-07:00, "
        "Sat-Sun 00:00-24:00'; local time; the report is written at the end of each window",
    )
    budget.add_argument(
        "--deadline",
        type=moment,
        metavar="TIME",
        help="stop at this time, even if budget is left: 2026-12-01T06:00, local time",
    )
    machine = options.add_argument_group("machine")
    machine.add_argument(
        "--workers",
        type=auto_or_whole(1),
        metavar="auto|N",
        help="number of training processes (default: auto). auto: with GPUs, one per GPU; without, it measures whether "
        "one process or as many as cores and memory allow train more epochs per second. Only 1 makes a search exactly "
        "reproducible",
    )
    machine.add_argument(
        "--on-finish",
        metavar="COMMAND",
        help="shell command to run after each session, with STEADYNET_OUT (the run folder) and STEADYNET_ENDED "
        "(finished, hours, interrupted or failed) in its environment",
    )
    add_quiet(machine)
    return options


def run(options: argparse.Namespace, argv: list[str]) -> int:
    """Run the search and return the exit code."""
    hours = hours_of(options)
    stop = threading.Event()
    stop_on_signals(stop)
    return SessionLoop(_request(options, argv), hours, stop, quiet=options.quiet, on_finish=options.on_finish).run()


def hours_of(options: argparse.Namespace) -> Hours:
    """Return the hours of `--window` and `--deadline`. Raises `UserError` if they can't be parsed."""
    from search.schedule.windows import Hours, parse

    return Hours(parse(options.window) if options.window else None, options.deadline)


def check(options: argparse.Namespace, argv: list[str]) -> None:
    """Raise `UserError` for whatever is wrong with the options and the image folder before any image is read."""
    from search.data.layout import layout
    from search.request import refuse_overlapping_folders

    request = _request(options, argv)
    refuse_overlapping_folders(request)
    if request.labels is None:
        layout(request.data)


def _request(options: argparse.Namespace, given: list[str]) -> SearchRequest:
    from search.request import SearchRequest
    from spaces.backbones import AUTO
    from spaces.config import ConfigurationError
    from spaces.definitions import SpaceError
    from spaces.presets import COLLAPSING, with_weights
    from spaces.yaml_io import load_configurations, load_space

    if options.demo:
        from search.data.demo import write_demo

        options.data = options.data or Path("demo") / "digits-on-photographs"
        options.out = options.out or Path("runs") / "demo"
        write_demo(options.data)
    native = options.image_size == NATIVE
    if options.max_side is not None and not native:
        raise UserError("--max-side needs --image-size native. Add it, or leave out --max-side.")
    if options.data is None:
        raise UserError(
            "no images given. Pass --data DIR, a folder with one sub-folder of images per class, or try --demo."
        )
    try:
        space = load_space(options.space)
        weights = _weights(options, space)
        plain, space = space, with_weights(space, tuple(weights))
        starts = load_configurations(options.start) if options.start else []
        if options.demo and not starts and COLLAPSING in space:
            print("The demo begins with a network that collapses, as if it were your own.", file=sys.stderr)
            starts = [COLLAPSING]
    except (SpaceError, ConfigurationError) as error:
        raise UserError(str(error)) from None
    secret = ("storage", "on_finish")  # may contain a password
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
        auto_weights=plain if (options.weights or AUTO) == AUTO else None,
        labels=options.labels,
        follow_links=options.follow_links,
        split_copies=options.split_copies,
        seed=options.seed,
        metric=options.metric,
        workers=options.workers,
        storage=options.storage,
        study=options.study,
        command=_repeatable(given, options),
        settings={
            key: str(value) if isinstance(value, Path) else value
            for key, value in vars(options).items()
            if value is not None and key not in secret
        },
    )


def _weights(options: argparse.Namespace, space: Space) -> dict[str, Weights]:
    """Return the weights of the backbones that the search may use by name; empty without any."""
    from search.data.weight_files import find_weights
    from spaces.backbones import AUTO, BACKBONES, IMAGENET, NO_WEIGHTS, RANDOM
    from spaces.presets import DEFAULT

    def show_progress(text: str) -> None:
        print(f"{text} ...", file=sys.stderr)

    def show_bytes(done: int, total: int) -> None:
        if sys.stderr.isatty():
            of_all = f" of {total / 1e6:.1f}" if total else ""
            print(f"\r{done / 1e6:8.1f}{of_all} MB", end="\n" if done == total else "", file=sys.stderr, flush=True)

    source = options.weights or AUTO
    if space.backbones:
        if source == NO_WEIGHTS:
            raise UserError(
                f"--weights {NO_WEIGHTS}: --space {options.space} has pretrained networks only with weights. Pass "
                f"--weights {RANDOM} for random ones, or --space default."
            )
        weights = find_weights(source, space.backbones, show_progress, show_bytes)
        missing = [name for name in space.backbones if name not in weights]
        if not weights:
            raise UserError(
                f"--weights {source}: the weights of {', '.join(missing)} are not on this machine. Pass --weights "
                f"{IMAGENET} to download them, or a folder that has them."
            )
        if missing:
            print(f"Skipped, because their weights were not found: {', '.join(missing)}.", file=sys.stderr)
        return weights
    if source == NO_WEIGHTS or (source == AUTO and space != DEFAULT):
        return {}
    if space != DEFAULT:
        raise UserError(
            f"--weights needs pretrained networks, but --space {options.space} has none. Pass --space transfer, or add "
            "a backbone to the space."
        )
    if source == RANDOM:
        raise UserError(
            f"--weights {RANDOM} needs --space transfer: the default space has pretrained networks with their own "
            "weights only. Add --space transfer, or leave out --weights."
        )
    return find_weights(source, tuple(BACKBONES), show_progress, show_bytes)


def out_of(options: argparse.Namespace) -> Path:
    """Return the run folder: `--out`, or `runs/<name of the image folder>`."""
    out: Path = options.out or Path("runs") / options.data.resolve().name
    return out


def _repeatable(argv: list[str], options: argparse.Namespace) -> str:
    """Return the command as reports show it, without the storage's password and the command of `--on-finish`."""
    from search.storage.database import hide_credentials

    if options.storage:
        argv = [argument.replace(options.storage, hide_credentials(options.storage)) for argument in argv]
    if options.on_finish:
        argv = [argument.replace(options.on_finish, "***") for argument in argv]
    return "python run_search.py " + shlex.join(argv)


def _budget(options: argparse.Namespace) -> Budget:
    """Return the limits of the study; a given limit replaces both defaults and the stop for lack of progress."""
    if options.demo and options.trials is None and options.timeout is None:
        return Budget(trials=None, seconds=_DEMO_SECONDS, until_no_progress=False)
    if options.trials is None and options.timeout is None:
        return Budget(trials=DEFAULT_TRIALS, seconds=DEFAULT_SECONDS, until_no_progress=True)
    return Budget(trials=options.trials, seconds=options.timeout, until_no_progress=False)
