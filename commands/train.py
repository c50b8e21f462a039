"""`train`: the recommended configuration on all images, as a model that plain Keras loads."""

from __future__ import annotations

import argparse
from typing import Final

from commands.options import Parser, add_data, add_follow_links, add_labels, add_quiet, add_weights, path, whole
from commands.terminal import say

_HELP: Final = """\
Train what a search recommended on all your images, and write a model that plain Keras loads.

examples:
  run_search.py train --config runs/images/best_config.yaml --data ./images --model model.keras
  run_search.py train --config runs/images/best_config.yaml --data ./images --model model.keras --ensemble

The model takes images as float32 of 0 to 255 and gives the classes' probabilities; scaling, softmax and decision
offset are part of it. Beside it stands model.json: class names, how a file becomes an image, how it was trained. No
images are held back: what to expect is the promise in best_config.yaml. A training that collapses is begun anew with
another seed, and that is said. With --ensemble there are as many trainings as the search had folds.
"""


def parser() -> argparse.ArgumentParser:
    """Its options."""
    options = Parser("train", _HELP)
    options.add_argument(
        "--config", type=path, required=True, metavar="best_config.yaml", help="what a search recommended"
    )
    add_data(options, "folder with one sub-folder of images a class, the search's classes; all images are trained on")
    options.add_argument("--model", type=path, required=True, metavar="model.keras", help="file to write")
    options.add_argument("--seed", type=whole(0), metavar="N", help="root of all randomness (default: the search's)")
    options.add_argument(
        "--ensemble", action="store_true", help="one training a fold of the search; the model averages them"
    )
    options.add_argument(
        "--groups",
        type=path,
        metavar="FILE.csv",
        help="the search's groups: kept together in the folds of an --ensemble, and in telling unlike images",
    )
    add_labels(options)
    add_weights(options)
    add_follow_links(options)
    add_quiet(options)
    return options


def run(options: argparse.Namespace, given: list[str]) -> int:
    """Train it; returns the exit code."""
    from reports.terminal_summary import trained_lines
    from search.delivery.train_job import TrainRequest
    from search.delivery.train_model import train

    request = TrainRequest(
        config=options.config,
        data=options.data,
        model=options.model,
        seed=options.seed,
        ensemble=options.ensemble,
        groups=options.groups,
        labels=options.labels,
        weights=options.weights,
        follow_links=options.follow_links,
    )
    return say(trained_lines, lambda listener: train(request, listener), quiet=options.quiet)
