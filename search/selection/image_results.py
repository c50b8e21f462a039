"""Results by image of the recommended configuration, on images that its networks were not trained on."""

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
"""Largest number of mistakes, and of doubted labels, that are kept: more than anyone looks through."""

AGREEING: Final = 0.75
"""Agreement with the labels beyond chance from which confident predictions may cast doubt on a label.

It is Cohen's kappa among the predictions at least as confident as the one that doubts, chance being the frequency of
the class that they name: naming the usual class proves nothing.

Confident learning alone suspects a third of all labels when the networks know little: in a simulation with 54 %
accuracy in five classes 85 of 300 sound labels, with this bar 13. Of the wrong labels that good networks find, the bar
costs none while at most a tenth of all labels is wrong; where a fifth is, most of them in two or three classes.
"""


def on_images(labels: IntArray, predictions: Sequence[OutOfFold], added: Sequence[float]) -> OnImages:
    """Return the confusion matrix, scores by class, the worst mistakes and the likely wrong labels.

    The out-of-fold probabilities of an image are averaged over the repeats. Predictions equal to the class shares stand
    for a collapsed fit and don't count. Images without any other prediction are left out.

    Args:
        labels: `(n,)` int, 0..K-1, of all images.
        predictions: out-of-fold predictions of each repeat of the cross-validation.
        added: `(K,)` decision offset of the logits. Likely wrong labels are found without it: it shifts decisions, not
            probabilities.
    """
    classes = int(labels.max(initial=-1)) + 1
    rows, plain = _averaged(labels, predictions, classes)
    labelled = labels[rows]
    with_offset = offset_probabilities(plain, added)
    decided = with_offset.argmax(axis=1)
    confusion = np.zeros((classes, classes), np.int64)
    np.add.at(confusion, (labelled, decided), 1)
    return OnImages(
        confusion=confusion,
        mistakes=_mistakes(rows, labelled, decided, with_offset),
        suspects=_suspects(rows, labelled, plain),
        by_class=tuple(_class_scores(label, labelled, decided, plain[:, label]) for label in range(classes)),
        in_metrics={
            metric: score(metric, labelled, with_offset if METRICS[metric].is_decided else plain)
            for metric in METRICS
            if len(rows)
        },
    )


def _class_scores(label: int, labelled: IntArray, decided: IntArray, probability: FloatArray) -> ClassScores:
    """Scores of one class against all others; `probability` `(n,)` of the class."""
    is_class, is_decided_class = labelled == label, decided == label
    right, images = int((is_class & is_decided_class).sum()), int(is_class.sum())
    against = np.stack([1 - probability, probability], axis=1)

    def curve(metric: str) -> float:
        return float(class_scores(metric, is_class.astype(np.int64), against, np.ones((1, len(labelled))), (1,))[0, 0])

    return ClassScores(
        images=images,
        precision=right / max(1, int(is_decided_class.sum())),
        recall=right / images if images else float("nan"),
        f1=2 * right / (images + int(is_decided_class.sum())) if images else float("nan"),
        auc=curve("auc"),
        average_precision=curve("average_precision"),
        recall_at_precision=curve("recall_at_precision"),
    )


def _averaged(labels: IntArray, predictions: Sequence[OutOfFold], classes: int) -> tuple[IntArray, FloatArray]:
    """Rows of the images with a prediction, and the mean of their probabilities `(rows, K)`."""
    shares = prior(labels, classes).astype(np.float32)
    total, count = np.zeros((len(labels), classes)), np.zeros(len(labels))
    for one in predictions:
        probabilities = one.probabilities
        predicted = np.isfinite(probabilities).all(axis=1) & (probabilities != shares).any(axis=1)
        total[predicted] += probabilities[predicted]
        count += predicted
    rows = np.flatnonzero(count)
    return rows, (total[rows] / count[rows, None]).astype(np.float32)


def _mistakes(rows: IntArray, labelled: IntArray, decided: IntArray, with_offset: FloatArray) -> tuple[Mistake, ...]:
    """Mistakes, most confident first: by the probability of the wrong class, then by that of the label's class."""
    wrong = np.flatnonzero(labelled != decided)
    order = np.lexsort((rows[wrong], with_offset[wrong, labelled[wrong]], -with_offset[wrong, decided[wrong]]))
    return tuple(
        Mistake(
            row=int(rows[at]),
            label=int(labelled[at]),
            predicted=int(decided[at]),
            probabilities=tuple(float(value) for value in with_offset[at]),
        )
        for at in wrong[order][:MOST]
    )


def _suspects(rows: IntArray, labelled: IntArray, plain: FloatArray) -> tuple[LabelSuspect, ...]:
    """Find likely wrong labels by confident learning (Northcutt, Jiang, Chuang 2021), where the networks know enough.

    The most suspicious ones come first: by how far the likely class is ahead of the label's.
    """
    from cleanlab.filter import find_label_issues  # a second that no search waits for

    occurring = np.unique(labelled)
    if len(occurring) < 2:
        return ()
    likely = plain.argmax(axis=1)
    # cleanlab wants every class to occur, and rows that sum to 1.
    among = np.maximum(plain[:, occurring].astype(np.float64), 1e-9)
    places = np.searchsorted(occurring, labelled)
    doubted = find_label_issues(
        places,
        among / among.sum(axis=1, keepdims=True),
        filter_by="low_self_confidence",
        min_examples_per_class=0,
        n_jobs=1,
    )
    suspicious = np.flatnonzero(doubted & (likely != labelled) & (plain.max(axis=1) >= _sure_enough(labelled, plain)))
    lead = plain[suspicious, likely[suspicious]] - plain[suspicious, labelled[suspicious]]
    return tuple(
        LabelSuspect(
            row=int(rows[at]),
            label=int(labelled[at]),
            likely=int(likely[at]),
            confidence=float(plain[at, likely[at]]),
        )
        for at in suspicious[np.lexsort((rows[suspicious], -lead))][:MOST]
    )


def _sure_enough(labelled: IntArray, plain: FloatArray) -> float:
    """The lowest probability at and above which the likely classes agree with the labels by `AGREEING`.

    Above 1 where there is none.
    """
    sure, likely = plain.max(axis=1), plain.argmax(axis=1)
    order = np.argsort(-sure, kind="stable")
    agreed = np.cumsum((likely == labelled)[order])
    by_chance = np.cumsum(prior(labelled, plain.shape[1])[likely[order]])
    last_of_equals = np.append(sure[order][1:] < sure[order][:-1], True)
    enough = sure[order][
        (agreed - by_chance >= AGREEING * (np.arange(1, len(labelled) + 1) - by_chance)) & last_of_equals
    ]
    return float(enough.min(initial=2.0))
