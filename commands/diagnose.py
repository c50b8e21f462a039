"""The command `diagnose`: find out why the user's own network does not learn."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Final

from commands.options import Parser, add_data, add_follow_links, add_labels, duration, path, whole
from commands.terminal import run_with_progress

_HELP: Final = """\
Find out why your own network does not learn, and the smallest change that makes it learn.

example:
  run_search.py diagnose --data ./images --model net.py:build

It runs your code: net.py has a function build(input_shape, n_classes) that returns a compiled Keras model, and may have
  LABELS = "int", "onehot" or "binary"
  FIT = dict(batch_size=32, epochs=10, class_weight=None)
  PREPROCESS(x), AUGMENT(x, y)     your own input pipeline; without it the network gets raw pixels from 0 to 255
Instead of net.py:build you can pass a model that Keras saved, such as model.keras.
"""


def parser() -> argparse.ArgumentParser:
    """Return the parser of `diagnose`."""
    options = Parser("diagnose", _HELP)
    add_data(options, "folder with one sub-folder of images per class")
    options.add_argument(
        "--model",
        required=True,
        metavar="net.py:build",
        help="the function that builds your network, or a saved model.keras",
    )
    options.add_argument(
        "--out",
        type=path,
        metavar="DIR",
        help="folder for diagnosis.html and diagnosis.json (default: runs/<name>-diagnosis)",
    )
    options.add_argument("--seed", type=whole(0), default=0, metavar="N", help="seed of all randomness (default: 0)")
    options.add_argument(
        "--budget", type=duration, default=120.0, metavar="TIME", help="time for training (default: 2m)"
    )
    add_labels(options)
    add_follow_links(options)
    return options


def run(options: argparse.Namespace, argv: list[str]) -> int:
    """Examine the network, write the page and return the exit code."""
    from reports.diagnosis_summary import diagnosis_lines
    from reports.write import write_diagnosis
    from search.diagnosis.examination import DiagnosisRequest, examine

    name = Path(options.model.partition(":")[0]).stem
    out = options.out or Path("runs") / f"{name}-diagnosis"
    request = DiagnosisRequest(
        data=options.data,
        model=options.model,
        out=out,
        seed=options.seed,
        budget=options.budget,
        labels=options.labels,
        follow_links=options.follow_links,
    )
    print(
        f"Running your code ({options.model}) in a separate process; its output goes to {request.log}.",
        file=sys.stderr,
    )
    return run_with_progress(
        lambda listener: examine(request, listener),
        lambda diagnosis: diagnosis_lines(diagnosis, write_diagnosis(diagnosis, out)),
        quiet=False,
        if_interrupted="nothing was written except the output of your code",
    )
