"""The command `train`: train the recommended configuration on all images and save a plain Keras model."""

from __future__ import annotations

import argparse
from typing import Final

from commands.options import Parser, add_data, add_follow_links, add_labels, add_quiet, add_weights, path, whole
from commands.terminal import run_with_progress

_HELP: Final = """\
Train the configuration that a search recommended on all your images, and write a model that plain Keras loads.

examples:
  run_search.py train --config runs/images/best_config.yaml --data ./images --model model.keras
  run_search.py train --config runs/images/best_config.yaml --data ./images --model model.keras --ensemble

The model takes float32 images with values from 0 to 255 and returns class probabilities; scaling, softmax and the
decision offset are part of it. model.json is written next to it: class names, how to load an image, how the model was
trained. No images are held out, so the score to expect is the promise in best_config.yaml. A fit that collapses is
repeated with another seed, and a note says so. With --ensemble there is one fit per fold of the search.
"""


def parser() -> argparse.ArgumentParser:
    """Return the parser of `train`."""
    options = Parser("train", _HELP)
    options.add_argument(
        "--config",
        type=path,
        required=True,
        metavar="best_config.yaml",
        help="the configuration that a search recommended",
    )
    add_data(
        options, "folder with one sub-folder of images per class, with the classes of the search; all images are used"
    )
    options.add_argument("--model", type=path, required=True, metavar="model.keras", help="file to write")
    options.add_argument(
        "--seed", type=whole(0), metavar="N", help="seed of all randomness (default: the seed of the search)"
    )
    options.add_argument(
        "--ensemble", action="store_true", help="one fit per fold of the search; the model averages them"
    )
    options.add_argument(
        "--groups",
        type=path,
        metavar="FILE.csv",
        help="the groups of the search: kept together in the folds of --ensemble and in detecting unlike images",
    )
    add_labels(options)
    add_weights(options)
    add_follow_links(options)
    add_quiet(options)
    return options


def run(options: argparse.Namespace, argv: list[str]) -> int:
    """Train, save the model and return the exit code."""
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
    return run_with_progress(lambda listener: train(request, listener), trained_lines, quiet=options.quiet)
