"""What the commands take: their options, checked as far as text can be. Starts light: nothing heavy is imported."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from search.errors import UserError
from search.settings import METRICS

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
  run_search.py train --config runs/images/best_config.yaml --data ./images --model model.keras
  run_search.py predict --model model.keras --data ./new_images --csv predictions.csv

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


_TRAIN_HELP: Final = """\
Train what a search recommended on all your images, and write a model that plain Keras loads.

examples:
  run_search.py train --config runs/images/best_config.yaml --data ./images --model model.keras
  run_search.py train --config runs/images/best_config.yaml --data ./images --model model.keras --ensemble

The model takes images as float32 of 0 to 255 and gives the classes' probabilities; scaling, softmax and decision
offset are part of it. Beside it stands model.json: class names, how a file becomes an image, how it was trained. No
images are held back: what to expect is the promise in best_config.yaml. A training that collapses is begun anew with
another seed, and that is said. With --ensemble there are as many trainings as the search had folds.
"""

_PREDICT_HELP: Final = """\
Ask a model that train wrote about images, and write a table.

examples:
  run_search.py predict --model model.keras --data ./new_images --csv predictions.csv
  run_search.py predict --model model.keras --data photo.jpg --csv photo.csv

Columns: file (relative to DIR); class; p_<class>, the probability of each class; unlike, 1 for an image that is unlike
the training images, so that the answer means little; and, where the model has a decision offset, raw_<class>, the
probabilities without it. Files that can't be read are named and left out.
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


def search_parser() -> argparse.ArgumentParser:
    """Options of the search, the command without a name."""
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
        "--workers",
        type=_workers,
        metavar="auto|N",
        help="processes that train (default: auto: one a GPU; without a GPU one, or as many as cores and memory bear, "
        "whichever is found to train more epochs a second)",
    )
    machine.add_argument("--quiet", action="store_true", help="print the result only")
    return parser


def report_parser() -> argparse.ArgumentParser:
    """Options of `report`."""
    parser = _Parser(
        prog="run_search.py report",
        description="Make report, YAML, tables and summary again from the study, without training.\n\n"
        "example:\n  run_search.py report --out runs/images",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    _add_run_options(parser)
    return parser


def explain_parser() -> argparse.ArgumentParser:
    """Options of `explain`."""
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


def train_parser() -> argparse.ArgumentParser:
    """Options of `train`."""
    parser = _Parser(
        prog="run_search.py train",
        description=_TRAIN_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--config", type=_path, required=True, metavar="best_config.yaml", help="what a search recommended"
    )
    parser.add_argument(
        "--data",
        action=_Once,
        type=_path,
        required=True,
        metavar="DIR",
        help="folder with one sub-folder of images a class, the search's classes; all images are trained on",
    )
    parser.add_argument("--model", type=_path, required=True, metavar="model.keras", help="file to write")
    parser.add_argument("--seed", type=_whole(0), metavar="N", help="root of all randomness (default: the search's)")
    parser.add_argument(
        "--ensemble", action="store_true", help="one training a fold of the search; the model averages them"
    )
    parser.add_argument(
        "--groups",
        type=_path,
        metavar="FILE.csv",
        help="the search's groups: kept together in the folds of an --ensemble, and in telling unlike images",
    )
    parser.add_argument("--quiet", action="store_true", help="print the result only")
    return parser


def predict_parser() -> argparse.ArgumentParser:
    """Options of `predict`."""
    parser = _Parser(
        prog="run_search.py predict",
        description=_PREDICT_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--model", type=_path, required=True, metavar="model.keras", help="written by train")
    parser.add_argument(
        "--data",
        action=_Once,
        type=_path,
        required=True,
        metavar="DIR",
        help="folder of images in any layout, or one image",
    )
    parser.add_argument("--csv", type=_path, required=True, metavar="out.csv", help="table to write")
    parser.add_argument("--quiet", action="store_true", help="print the result only")
    return parser


def _add_run_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=_path, required=True, metavar="DIR", help="run folder of a search")
    parser.add_argument("--storage", metavar="URL", help="database of the study, if not in the run folder")
    parser.add_argument("--study", default="steadynet", metavar="NAME", help="name of the study in its database")


def diagnose_parser() -> argparse.ArgumentParser:
    """Options of `diagnose`."""
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
