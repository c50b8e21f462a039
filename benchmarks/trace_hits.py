"""Would traced networks be of use to later trials? Replays studies: how often a trial's graph is one of the last eight.

    python -m benchmarks.trace_hits RUN_FOLDER ...

Two trials have the same graph if they differ only by what could be fed into it: rates, weights and the shares by which
images are changed. Workers share traces over folds, seeds and finalists' repeats; over trials it would take more than
one hit in five to pay for the graphs that are fed more.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, Final

from search.storage.load import open_study
from search.workers.engine_cache import MAX_ENGINES
from spaces.config import Configuration

FED: Final = frozenset(
    {"learning_rate", "weight_decay", "initializer", "class_weighting", "oversampling", "backbone_rate"}
)
AMOUNTS: Final = frozenset({"dropout", "label_smoothing", "shift", "zoom", "shear", "rotation"})


def graph(configuration: Configuration) -> tuple[tuple[str, Any], ...]:
    """All that the graph depends on; of amounts only whether there are any."""
    known = configuration.canonical().items()
    return tuple((name, value > 0 if name in AMOUNTS else value) for name, value in known if name not in FED)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+")
    for folder in parser.parse_args().runs:
        trials = [trial.configuration for trial in open_study(folder).trials if not trial.configuration.embeds]
        graphs = [graph(configuration) for configuration in trials]
        hits = sum(one in graphs[max(0, place - MAX_ENGINES) : place] for place, one in enumerate(graphs))
        print(f"{folder}: {hits} of {len(graphs)}")


if __name__ == "__main__":
    main()
