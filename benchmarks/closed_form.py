"""Linear heads on frozen features: candidates a minute of each kind, beside scikit-learn's logistic regression.

    python -m benchmarks.closed_form [--images 500] [--features 1280] [--classes 5] [--rounds 3] [--embeddings FILE.npz]

A candidate is a kind and a strength, fitted on each of five folds and asked for the probabilities of the validation
images. Every core has a process with one thread, as in a search; each fits the whole grid of a kind on all folds. Kinds
and scikit-learn's `LogisticRegression` with the same penalties take turns, and which one begins changes. It has two
settings: its own tolerance on float32 features, with which weakly regularized fits end far from the optimum, and a
tolerance and float64 with which none does. Printed are the medians of the rounds with the least and the most, the ratio
of candidates a minute to each of scikit-learn's in the same round, and how far its probabilities are from ours.
Features are drawn: correlated, >= 0, as after a ReLU; or the arrays `x` and `y` of a file.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, Final

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from benchmarks.machine import machine
from search import resources, seeds
from search.training.heads.closed_form.linear_head import predict
from search.training.heads.closed_form.registry import HEADS
from search.training.heads.closed_form.training_part import TrainingPart

FOLDS: Final = 5
PEERS: Final = {"scikit-learn": (1e-4, np.float32), "scikit-learn, converged": (1e-9, np.float64)}  # tolerance, dtype
Images = tuple[np.ndarray, np.ndarray]  # features and labels

ours: Images  # in each process


def drawn(images: int, features: int, classes: int) -> Images:
    """Features whose variance falls off as that of backbones does, and labels that can mostly be told from them."""
    rng = seeds.generator(0, "closed_form")
    labels = rng.permutation(np.arange(images) % classes)
    axes = rng.normal(size=(features, features)) / np.sqrt(features)
    spread = np.sqrt(np.exp(-np.arange(features) / (features / 16)) + 0.02)
    x = 5 * (rng.normal(size=(images, features)) * spread) @ axes + 0.12 * rng.normal(size=(classes, features))[labels]
    return np.maximum(x + 0.3, 0).astype(np.float32), labels


def splits(labels: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Training and validation rows, by class."""
    fold_of = np.empty(len(labels), np.int64)
    fold_of[np.argsort(labels, kind="stable")] = np.arange(len(labels)) % FOLDS
    for fold in range(FOLDS):
        yield np.flatnonzero(fold_of != fold), np.flatnonzero(fold_of == fold)


def of_kind(kind: str) -> list[np.ndarray]:
    """Probabilities `(S, validation images, K)` of each fold."""
    x, labels = ours
    head = HEADS[kind]
    return [
        predict(head.fit(TrainingPart.of(x[train], labels[train], labels.max() + 1), head.strengths), x[val])
        for train, val in splits(labels)
    ]


def of_peer(peer: str) -> list[np.ndarray]:
    tolerance, dtype = PEERS[peer]
    x, labels = ours[0].astype(dtype), ours[1]
    found = []
    for train, val in splits(labels):
        scaler = StandardScaler().fit(x[train])
        training, validation = scaler.transform(x[train]), scaler.transform(x[val])
        models = (
            LogisticRegression(C=1 / strength, tol=tolerance, max_iter=10_000)
            for strength in HEADS["logistic"].strengths
        )
        found.append(np.array([model.fit(training, labels[train]).predict_proba(validation) for model in models]))
    return found


def begin(images: Images) -> None:
    global ours
    ours = images
    threadpool_limits(1)
    of_kind("ridge")  # first calls


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--features", type=int, default=1280)
    parser.add_argument("--classes", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--embeddings", type=Path)
    options = parser.parse_args()
    if options.embeddings:
        with np.load(options.embeddings) as stored:
            images = stored["x"], stored["y"]
    else:
        images = drawn(options.images, options.features, options.classes)
    print(machine("numpy", "scipy", "scikit-learn"), flush=True)
    print(f"{images[0].shape[0]} images, {images[0].shape[1]} features, {images[1].max() + 1} classes, {FOLDS} folds")

    cores = resources.cores()
    arms: dict[str, Callable[[str], Any]] = {**dict.fromkeys(HEADS, of_kind), **dict.fromkeys(PEERS, of_peer)}
    rates: dict[str, list[float]] = {arm: [] for arm in arms}
    answers = {}
    with ProcessPoolExecutor(cores, initializer=begin, initargs=(images,)) as pool:
        list(pool.map(time.sleep, [0.5] * cores))  # until all processes are there
        for number in range(options.rounds):
            order = list(arms)[number % len(arms) :] + list(arms)[: number % len(arms)]
            for arm in order:
                began = time.perf_counter()
                answers[arm] = [*pool.map(arms[arm], [arm] * cores)][-1]
                strengths = HEADS["logistic" if arm in PEERS else arm].strengths
                rates[arm].append(60 * cores * len(strengths) / (time.perf_counter() - began))
            print(f"{number}: " + ", ".join(f"{arm} {rates[arm][-1]:,.0f}" for arm in arms), flush=True)
    for arm, found in rates.items():
        print(f"{arm}: {statistics.median(found):,.0f} candidates a minute ({min(found):,.0f} to {max(found):,.0f})")
        for peer in PEERS if arm in HEADS else ():
            ratios = [rate / of_it for rate, of_it in zip(found, rates[peer], strict=True)]
            print(f"    {statistics.median(ratios):.1f} times {peer} ({min(ratios):.1f} to {max(ratios):.1f})")
    for peer in PEERS:
        apart = max(np.abs(a - b).max() for a, b in zip(answers["logistic"], answers[peer], strict=True))
        print(f"probabilities of {peer} and of ours differ by {apart:.1e} at most")


if __name__ == "__main__":
    main()
