"""`predict`: what a trained model says of images, as a table."""

from __future__ import annotations

import argparse
from typing import Final

from commands.options import Parser, add_data, add_follow_links, add_quiet, path
from commands.terminal import say

_HELP: Final = """\
Ask a model that train wrote about images, and write a table.

examples:
  run_search.py predict --model model.keras --data ./new_images --csv predictions.csv
  run_search.py predict --model model.keras --data photo.jpg --csv photo.csv

Columns: file (relative to DIR); class; p_<class>, the probability of each class; unlike, 1 for an image that is unlike
the training images, so that the answer means little; and, where the model has a decision offset, raw_<class>, the
probabilities without it. Files that can't be read are named and left out.
"""


def parser() -> argparse.ArgumentParser:
    """Its options."""
    options = Parser("predict", _HELP)
    options.add_argument("--model", type=path, required=True, metavar="model.keras", help="written by train")
    add_data(options, "folder of images in any layout, or one image")
    options.add_argument("--csv", type=path, required=True, metavar="out.csv", help="table to write")
    add_follow_links(options)
    add_quiet(options)
    return options


def run(options: argparse.Namespace, given: list[str]) -> int:
    """Ask it; returns the exit code."""
    from reports.terminal_summary import predicted_lines
    from search.delivery.predict_folder import PredictRequest, predict

    request = PredictRequest(model=options.model, data=options.data, csv=options.csv, follow_links=options.follow_links)
    return say(predicted_lines, lambda listener: predict(request, listener), quiet=options.quiet)
