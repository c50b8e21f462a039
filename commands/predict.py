"""The command `predict`: apply a trained model to images and write a table."""

from __future__ import annotations

import argparse
from typing import Final

from commands.options import Parser, add_data, add_follow_links, add_quiet, path
from commands.terminal import run_with_progress

_HELP: Final = """\
Predict the classes of images with a model that train wrote, and write a table.

examples:
  run_search.py predict --model model.keras --data ./new_images --csv predictions.csv
  run_search.py predict --model model.keras --data photo.jpg --csv photo.csv

Columns: file (relative to DIR); class; p_<class>, the probability of each class; unlike, 1 for an image that differs
so much from the training images that its prediction is unreliable; and, if the model has a decision offset,
raw_<class>, the probabilities without it. Files that can't be read are listed and skipped.
"""


def parser() -> argparse.ArgumentParser:
    """Return the parser of `predict`."""
    options = Parser("predict", _HELP)
    options.add_argument("--model", type=path, required=True, metavar="model.keras", help="model that train wrote")
    add_data(options, "folder of images in any layout, or a single image")
    options.add_argument("--csv", type=path, required=True, metavar="out.csv", help="table to write")
    add_follow_links(options)
    add_quiet(options)
    return options


def run(options: argparse.Namespace, argv: list[str]) -> int:
    """Predict, write the table and return the exit code."""
    from reports.terminal_summary import predicted_lines
    from search.delivery.predict_folder import PredictRequest, predict

    request = PredictRequest(model=options.model, data=options.data, csv=options.csv, follow_links=options.follow_links)
    return run_with_progress(lambda listener: predict(request, listener), predicted_lines, quiet=options.quiet)
