"""Does the promise keep its word? Thousands of made-up studies whose truth is known, without a single training.

Every network gets image i right when quality + ease_i + taste_{network, i} + luck_{fit} + noise > 0. Networks share
what is easy and what is hard; retrainings of one network differ. The truth is the winner's chance to be right about a
new image after a new training, averaged over the classes; with groups, ease is shared within them.

    python -m benchmarks.promise_simulation [--studies 1000] [--images 110] [--networks 60] [--repeats 5] [--groups]
"""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

from search.data.fresh_splits import fresh_folds
from search.selection import robust_score
from search.selection.bootstrap import draws
from search.selection.metrics import score
from search.selection.promise import SecondStage, promise
from search.selection.scores import OutOfFold
from search.selection.shortlist import FINALISTS

EASE, TASTE, LUCK, NOISE = 0.7, 0.4, 0.15, 0.5
TOTAL = math.sqrt(EASE**2 + TASTE**2 + LUCK**2 + NOISE**2)
FOLDS = 5


@dataclass(frozen=True, slots=True)
class Told:
    """What a study says of its winner, and the truth."""

    truth: float
    promise: float
    low: float
    high: float
    naive: float
    naive_low: float
    naive_high: float
    regret: float  # of the winner, to the best network


def study(seed: int, images: int, networks: int, repeats: int, grouped: bool) -> Told:
    """One made-up study of two classes; 0 repeats: nothing is confirmed."""
    rng = np.random.default_rng(seed)
    labels = np.arange(images) % 2
    groups = None
    ease = EASE * rng.standard_normal(images)
    if grouped:
        groups = labels * 1000 + rng.integers(0, max(10, images // 10), images)
        of_group = dict(zip(np.unique(groups), rng.standard_normal(len(np.unique(groups))), strict=True))
        ease = EASE * (math.sqrt(0.5) * np.array([of_group[g] for g in groups]) + math.sqrt(0.5) * ease / EASE)
    quality = TOTAL * norm.ppf(np.clip(0.62 + 0.06 * rng.standard_normal(networks) + 0.1 * rng.random(), 0.5, 0.97))
    taste = TASTE * rng.standard_normal((networks, images))
    truth = norm.cdf(quality / TOTAL)

    def fitted(network: int, folds: np.ndarray) -> OutOfFold:
        luck = LUCK * rng.standard_normal(FOLDS)[folds]
        noise = NOISE * rng.standard_normal(images)
        right = quality[network] + ease + taste[network] + luck + noise > 0
        sure = np.where(right, 0.8, 0.2)
        probabilities = np.stack([np.where(labels == k, sure, 1 - sure) for k in (0, 1)], axis=1)
        return OutOfFold(probabilities=probabilities.astype(np.float32), folds=folds)

    def split(repeat: int) -> np.ndarray:
        found = np.zeros(images, np.int64)
        for fold, part in enumerate(fresh_folds(labels, groups, folds=FOLDS, seed=seed, repeat=repeat)):
            found[part.val] = fold
        return found

    first = split(1000)
    searched = [fitted(network, first) for network in range(networks)]
    scores = np.array([score("balanced_accuracy", labels, one.probabilities) for one in searched])
    best = np.argsort(-scores, kind="stable")[:FINALISTS]
    second, winner = None, int(best[0])
    if repeats:
        splits = [split(repeat) for repeat in range(repeats)]
        fresh = tuple(tuple(fitted(int(network), folds) for folds in splits) for network in best)
        table = np.array([[_fold(labels, one, f) for one in row for f in range(FOLDS)] for row in fresh])
        chosen = int(robust_score.winner(table, FOLDS, np.arange(len(best)), np.ones(len(best), np.bool_)))
        first = [chosen, *(place for place in range(len(best)) if place != chosen)]  # the winner comes first
        best, fresh, winner = best[first], tuple(fresh[place] for place in first), int(best[chosen])
        second = SecondStage(
            places=tuple(int(n) for n in best),
            repeats=fresh,
            healthy=(True,) * len(best),
            folds=FOLDS,
            order=tuple(range(len(best))),
            entitled=tuple(range(networks)),
            shortlist=len(best),
        )
    told, _ = promise(
        "balanced_accuracy", labels, groups, searched, winner, ("no", "yes"), 0.5, rng, bootstraps=300, second=second
    )
    naive = float(scores.max())
    spread = _spread(labels, groups, searched[int(best[0])], rng)
    return Told(
        float(truth[winner]),
        told.value,
        told.low,
        told.high,
        naive,
        naive - 1.96 * spread,
        naive + 1.96 * spread,
        float(truth.max() - truth[winner]),
    )


def _fold(labels: np.ndarray, one: OutOfFold, fold: int) -> float:
    rows = one.folds == fold
    return score("balanced_accuracy", labels[rows], one.probabilities[rows])


def _spread(labels: np.ndarray, groups: np.ndarray | None, one: OutOfFold, rng: np.random.Generator) -> float:
    """Of the naive mean, by its own bootstrap: the interval that one would draw around it."""
    right = one.probabilities.argmax(axis=1) == labels
    weights = draws(labels, groups, 200, rng)
    return float(
        np.mean([(weights[:, labels == k] @ right[labels == k]) / (labels == k).sum() for k in (0, 1)], 0).std()
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=1000)
    parser.add_argument("--images", type=int, nargs="+", default=[110, 300])
    parser.add_argument("--networks", type=int, nargs="+", default=[10, 60])
    parser.add_argument("--repeats", type=int, nargs="+", default=[0, 2, 5])
    parser.add_argument("--groups", action="store_true")
    options = parser.parse_args()
    print(f"{options.studies} studies a row; known truth; {'groups' if options.groups else 'no groups'}")
    print(
        "images networks repeats | promise: error +- SE  coverage  half-width (x binomial) | "
        "naive: error  coverage | regret"
    )
    for images in options.images:
        for networks in options.networks:
            for repeats in options.repeats:
                found = [study(seed, images, networks, repeats, options.groups) for seed in range(options.studies)]
                print(f"{images:>6} {networks:>8} {repeats:>7} | {_row(found, images)}", flush=True)


def _row(found: list[Told], images: int) -> str:
    error = np.array([one.promise - one.truth for one in found])
    naive = np.array([one.naive - one.truth for one in found])
    covered = np.mean([one.low <= one.truth <= one.high for one in found])
    naive_covered = np.mean([one.naive_low <= one.truth <= one.naive_high for one in found])
    half = np.mean([(one.high - one.low) / 2 for one in found])
    binomial = np.mean([1.96 * math.sqrt(one.truth * (1 - one.truth) / images) for one in found])
    regret = np.mean([one.regret for one in found])
    return (
        f"{error.mean():+.4f} +- {error.std() / math.sqrt(len(error)):.4f}    {covered:.3f}     {half:.3f} "
        f"({half / binomial:.2f}) | {naive.mean():+.4f}  {naive_covered:.3f} | {regret:.4f}"
    )


if __name__ == "__main__":
    main()
