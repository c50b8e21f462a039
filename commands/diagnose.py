"""`diagnose`: why a network of the user's own does not learn."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Final

from commands.options import Parser, add_data, add_follow_links, add_labels, duration, path, whole
from commands.terminal import say

_HELP: Final = """\
Say why a network of your own does not learn, and try the smallest change that makes it learn.

example:
  run_search.py diagnose --data ./images --model net.py:build

It runs your code: net.py has a function build(input_shape, n_classes) that returns a compiled Keras model, and may have
  LABELS = "int", "onehot" or "binary"
  FIT = dict(batch_size=32, epochs=10, class_weight=None)
  PREPROCESS(x), AUGMENT(x, y)     your own input pipeline; without them the network gets raw pixels of 0 to 255
Instead of net.py:build a file that Keras saved, model.keras, will do.
"""


def parser() -> argparse.ArgumentParser:
    """Its options."""
    options = Parser("diagnose", _HELP)
    add_data(options, "folder with one sub-folder of images a class")
    options.add_argument(
        "--model", required=True, metavar="net.py:build", help="function that builds your network, or a model.keras"
    )
    options.add_argument(
        "--out", type=path, metavar="DIR", help="for diagnosis.html and .json (default: runs/<name>-diagnosis)"
    )
    options.add_argument("--seed", type=whole(0), default=0, metavar="N", help="root of all randomness (default: 0)")
    options.add_argument(
        "--budget", type=duration, default=120.0, metavar="TIME", help="for its trainings (default: 2m)"
    )
    add_labels(options)
    add_follow_links(options)
    return options


def run(options: argparse.Namespace, given: list[str]) -> int:
    """Examine it; returns the exit code."""
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
        f"This runs your own code ({options.model}) in a process of its own; what it prints goes to {request.log}.",
        file=sys.stderr,
    )
    return say(
        lambda diagnosis: diagnosis_lines(diagnosis, write_diagnosis(diagnosis, out)),
        lambda listener: examine(request, listener),
        quiet=False,
        written="nothing was written but what your code printed",
    )
