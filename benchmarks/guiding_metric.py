"""Which metric should a search rank by? Configurations trained on all folds, without racing; then halves of the images.

On one half of the images the best configuration is chosen by balanced accuracy, AUC or log-loss skill; its balanced
accuracy on the other half says how good the choice was. Many random halves, groups kept whole. The trainings are those
of `full_runs.py`; a configuration that a collapse rule would have stopped, or that was too slow, is never chosen.

    python -m benchmarks.guiding_metric [--runs benchmarks/full_runs.npz]
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from benchmarks.full_runs import FOLDS, PACKED, Run, load
from search.data.groups import strata
from search.selection.scores import OutOfFold, score_matrix

GUIDES: Final = ("balanced_accuracy", "auc", "skill")
HALVES: Final = 1000


def predictions(runs: Sequence[Run]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], list[OutOfFold]]:
    """Labels `(n,)` and groups `(n,)` of a set, and what each configuration with all its folds says of its images."""
    n = 1 + max(int(run.rows.max()) for run in runs)
    labels, groups = np.zeros(n, np.int64), np.zeros(n, np.int64)
    found = []
    for number in sorted({run.number for run in runs}):
        own = [run for run in runs if run.number == number]
        for run in own:
            labels[run.rows], groups[run.rows] = run.labels, run.groups
        if len(own) < FOLDS or any(run.caught or run.verdict != "learned" for run in own):
            continue
        probabilities = np.zeros((n, own[0].probabilities.shape[1]), np.float32)
        folds = np.zeros(n, np.int64)
        for run in own:
            probabilities[run.rows], folds[run.rows] = run.probabilities, run.fold
        found.append(OutOfFold(probabilities=probabilities, folds=folds))
    return labels, groups, found


def choices(
    labels: npt.NDArray[np.int64], groups: npt.NDArray[np.int64], found: Sequence[OutOfFold]
) -> dict[str, npt.NDArray[np.float64]]:
    """Balanced accuracy on the other half of what each guide chooses on one, `(HALVES,)`; `best` knows that half."""
    whole = len(np.unique(groups)) < len(groups)
    unit, stratum = strata(labels, groups if whole else None)
    rng = np.random.default_rng(0)
    weights = np.zeros((HALVES, len(labels)))
    for row in range(HALVES):
        inside = np.zeros(len(stratum), np.bool_)
        for label in np.unique(stratum):
            ours = rng.permutation(np.flatnonzero(stratum == label))
            inside[ours[: len(ours) // 2]] = True
        weights[row] = inside[unit]
    other = score_matrix("balanced_accuracy", labels, found, 1 - weights)
    told = {"best": other.max(axis=1), "mean": other.mean(axis=1)}
    for guide in GUIDES:
        chosen = np.nan_to_num(score_matrix(guide, labels, found, weights), nan=-9.0).argmax(axis=1)
        told[guide] = other[np.arange(HALVES), chosen]
    return told


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, default=PACKED)
    runs = load(parser.parse_args().runs)
    for name in sorted({run.data for run in runs}):
        labels, groups, found = predictions([run for run in runs if run.data == name])
        if len(found) < 2:
            print(f"{name}: fewer than two configurations with all their folds")
            continue
        told = choices(labels, groups, found)
        print(f"{name}, {len(labels)} images, {len(found)} networks: balanced accuracy on the other half")
        for what, values in told.items():
            gap = values - told["balanced_accuracy"]
            print(f"  {what:18} {values.mean():.4f}   over balanced accuracy's choice {gap.mean():+.4f}")


if __name__ == "__main__":
    main()
