"""What the recommended configuration does with the images it was not trained on: image by image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from search.arrays import FloatArray, IntArray
from search.metric_definitions import METRICS
from search.selection.metrics import prior, score
from search.selection.offset import offset_probabilities
from search.selection.results import ClassScores, LabelSuspect, Mistake, OnImages
from search.selection.scores import OutOfFold
from search.selection.weighted_metrics import class_scores

MOST: Final = 40
"""Mistakes, and labels under suspicion, that are kept: more than anyone looks through."""

AGREEING: Final = 0.75
"""A label is doubted only by networks that are so sure that, when they are, they agree so much with the labels beyond
chance (Cohen's kappa, chance being the frequency of the class that they name): naming the usual class proves nothing.

Confident learning alone suspects a third of all labels when the networks know little: in a simulation with 54 %
accuracy in five classes 85 of 300 sound labels, with this bar 13. Of the wrong labels that good networks find, the bar
costs none while at most a tenth of all labels is wrong; where a fifth is, most of them in two or three classes.
"""


def on_images(labels: IntArray, predictions: Sequence[OutOfFold], added: Sequence[float]) -> OnImages:
    """Confusion, the worst mistakes and likely wrong labels.

    Each repeat's networks have a say on the images they held back; their probabilities are averaged. What a network
    that collapsed left behind, the shares of the classes, is no say. Images on which nobody had a say are left out.

    Args:
        labels: `(n,)` of all images, 0..K-1.
        predictions: one for each repeat of the cross-validation.
        added: `(K,)` the decision offset. Labels are doubted without it: it serves decisions, not what is likely.
    """
    classes = int(labels.max(initial=-1)) + 1
    rows, plain = _averaged(labels, predictions, classes)
    given = labels[rows]
    shown = offset_probabilities(plain, added)
    decided = shown.argmax(axis=1)
    confusion = np.zeros((classes, classes), np.int64)
    np.add.at(confusion, (given, decided), 1)
    return OnImages(
        confusion=confusion,
        mistakes=_mistakes(rows, given, decided, shown),
        suspects=_suspects(rows, given, plain),
        by_class=tuple(_class_scores(label, given, decided, plain[:, label]) for label in range(classes)),
        in_metrics={
            metric: score(metric, given, shown if METRICS[metric].is_decided else plain)
            for metric in METRICS
            if len(rows)
        },
    )


def _class_scores(label: int, given: IntArray, decided: IntArray, said: FloatArray) -> ClassScores:
    """One class against all others."""
    is_it, named = given == label, decided == label
    right, images = int((is_it & named).sum()), int(is_it.sum())
    against = np.stack([1 - said, said], axis=1)

    def curve(metric: str) -> float:
        return float(class_scores(metric, is_it.astype(np.int64), against, np.ones((1, len(given))), (1,))[0, 0])

    return ClassScores(
        images=images,
        precision=right / max(1, int(named.sum())),
        recall=right / images if images else float("nan"),
        f1=2 * right / (images + int(named.sum())) if images else float("nan"),
        auc=curve("auc"),
        average_precision=curve("average_precision"),
        recall_at_precision=curve("recall_at_precision"),
    )


def _averaged(labels: IntArray, predictions: Sequence[OutOfFold], classes: int) -> tuple[IntArray, FloatArray]:
    """Rows that a network had a say on, and the mean of the probabilities `(rows, K)` it gave them."""
    shares = prior(labels, classes).astype(np.float32)
    total, count = np.zeros((len(labels), classes)), np.zeros(len(labels))
    for one in predictions:
        given = one.probabilities
        said = np.isfinite(given).all(axis=1) & (given != shares).any(axis=1)
        total[said] += given[said]
        count += said
    rows = np.flatnonzero(count)
    return rows, (total[rows] / count[rows, None]).astype(np.float32)


def _mistakes(rows: IntArray, given: IntArray, decided: IntArray, shown: FloatArray) -> tuple[Mistake, ...]:
    """The most confidently wrong ones first: by the probability of the wrong class, then by that of the given one."""
    wrong = np.flatnonzero(given != decided)
    order = np.lexsort((rows[wrong], shown[wrong, given[wrong]], -shown[wrong, decided[wrong]]))
    return tuple(
        Mistake(
            row=int(rows[at]),
            given=int(given[at]),
            predicted=int(decided[at]),
            probabilities=tuple(float(value) for value in shown[at]),
        )
        for at in wrong[order][:MOST]
    )


def _suspects(rows: IntArray, given: IntArray, plain: FloatArray) -> tuple[LabelSuspect, ...]:
    """Confident learning (Northcutt, Jiang, Chuang 2021) by cleanlab, where the networks know enough to doubt a label.

    The most suspicious ones first: by how far the likely class is ahead of the given one.
    """
    from cleanlab.filter import find_label_issues  # a second that no search waits for

    occurring = np.unique(given)
    if len(occurring) < 2:
        return ()
    likely = plain.argmax(axis=1)
    # cleanlab wants every class to occur, and rows that sum to 1.
    among = np.maximum(plain[:, occurring].astype(np.float64), 1e-9)
    places = np.searchsorted(occurring, given)
    doubted = find_label_issues(
        places,
        among / among.sum(axis=1, keepdims=True),
        filter_by="low_self_confidence",
        min_examples_per_class=0,
        n_jobs=1,
    )
    found = np.flatnonzero(doubted & (likely != given) & (plain.max(axis=1) >= _sure_enough(given, plain)))
    lead = plain[found, likely[found]] - plain[found, given[found]]
    return tuple(
        LabelSuspect(
            row=int(rows[at]),
            given=int(given[at]),
            likely=int(likely[at]),
            confidence=float(plain[at, likely[at]]),
        )
        for at in found[np.lexsort((rows[found], -lead))][:MOST]
    )


def _sure_enough(given: IntArray, plain: FloatArray) -> float:
    """The lowest probability at and above which the likely classes agree with the given ones by `AGREEING`.

    Above 1 where there is none.
    """
    sure, likely = plain.max(axis=1), plain.argmax(axis=1)
    order = np.argsort(-sure, kind="stable")
    agreed = np.cumsum((likely == given)[order])
    by_chance = np.cumsum(prior(given, plain.shape[1])[likely[order]])
    last_of_equals = np.append(sure[order][1:] < sure[order][:-1], True)
    enough = sure[order][(agreed - by_chance >= AGREEING * (np.arange(1, len(given) + 1) - by_chance)) & last_of_equals]
    return float(enough.min(initial=2.0))
