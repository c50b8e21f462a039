"""Linear classifiers on a frozen backbone's embeddings, solved exactly. Training images decide their strength."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import cached_property
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from search.arrays import FloatArray, IntArray
from search.data.folds import make_folds
from search.errors import DataError
from search.records import FitOutcome, Verdict
from search.settings import TrainingProtocol
from search.training import network
from search.training.embeddings import FrozenBackbone
from search.training.heads.closed_form.linear_head import LinearHead, predict
from search.training.heads.closed_form.registry import HEADS
from search.training.heads.closed_form.training_part import TrainingPart
from search.training.interfaces import Scorer
from search.training.job import FitJob
from search.training.measures import log_loss, log_softmax, logit_statistics, skill
from search.training.sampling import Balance, balance_of, cross_entropy
from spaces.config import Configuration

STRENGTH: Final = "strength"
"""Key among the signals of a fit's start: the chosen strength of the regularization."""

LEAST_SHARE: Final = 0.05
"""Share of the features' median deviation that none is scaled up beyond: one that hardly varies in few training images
may vary a thousand times as much in others, and would decide alone. Measured on five image sets with eight images a
class: mean cross-entropy of test images 1.02 without it, 0.95 with it; with all their images 0.67 and 0.66."""

_INNER_FOLDS: Final = 5  # of the training images, on which strengths are compared
_ALL_FOLDS: Final = 1000  # training images up to which all of these are used: what they cost grows with the cube


class LinearClassifier:
    """Fits a linear classifier to the embeddings of a frozen backbone.

    The strength of its regularization is the one with the least cross-entropy in a cross-validation of the training
    images alone, in which groups stay together: validation images decide nothing, so their score needs no correction
    for this choice.

    Args:
        configuration: configuration with a classifier that is solved exactly.
        protocol: gives the image format and the number of classes.
        backbone: the backbone, with its embeddings of all images.
        labels: `(n,)` class of each image of the study, 0..K-1.
        groups: `(n,)` group of each image; None without groups.
    """

    microbatches = 1

    def __init__(
        self,
        configuration: Configuration,
        protocol: TrainingProtocol,
        backbone: FrozenBackbone,
        labels: IntArray,
        groups: IntArray | None,
    ) -> None:
        self.configuration, self.protocol = configuration, protocol
        self._backbone, self._labels, self._groups = backbone, labels, groups
        self._kind = HEADS[configuration.classifier]
        self._features = backbone.views(configuration)[0]
        self._head = LinearHead(np.zeros((configuration.features, protocol.classes)), np.zeros(protocol.classes))

    @cached_property
    def network(self) -> Any:
        """The Keras network that the head becomes in the delivered model."""
        images = self.protocol.images
        return network.build_network(
            self.configuration, images.image_size, images.channels, self.protocol.classes, 1, embedded=True
        )

    @property
    def weights(self) -> list[npt.NDArray[Any]]:
        """Weights of backbone and head, in the order of `build_network`."""
        return [*self._backbone.weights, self._head.kernel.astype(np.float32), self._head.bias.astype(np.float32)]

    def scaling(self) -> tuple[FloatArray, FloatArray]:
        """Return offset 0 and factor 1, each `(channels,)` float32: backbones scale the pixels themselves."""
        channels = self.protocol.images.channels
        return np.zeros(channels, np.float32), np.ones(channels, np.float32)

    def work_done(self) -> int:
        """Return a number that grows with time: a solver takes bounded steps, and ends without being watched."""
        return int(time.monotonic())

    def fit(self, rows: IntArray, seed: int, balance: Balance) -> float:
        """Fit the classifier to images of the study.

        Args:
            rows: `(m,)` row numbers of the training images.
            seed: seed of the inner folds.
            balance: weights of the classes.

        Returns:
            The chosen strength.
        """
        strengths = self._kind.strengths
        losses = np.zeros(len(strengths))
        weights = balance.weights[self._labels]
        for train, val in self._inner_folds(rows, seed):
            heads = self._solve(train, weights)
            log_p = np.log(np.maximum(predict(heads, self._features[val]), 1e-12))
            own = log_p[:, np.arange(len(val)), self._labels[val]]
            losses -= (own * weights[val]).sum(1)
        place = int(losses.argmin()) if losses.any() else len(strengths) // 2
        (self._head,) = self._solve(rows, weights, strengths[place : place + 1])
        return strengths[place]

    def _solve(
        self, rows: IntArray, weights: npt.NDArray[np.float64], strengths: tuple[float, ...] = ()
    ) -> list[LinearHead]:
        groups = None if self._groups is None else self._groups[rows]
        if groups is not None and len(np.unique(groups)) < 2:
            groups = None
        part = TrainingPart.of(
            self._features[rows],
            self._labels[rows],
            self.protocol.classes,
            weights[rows],
            groups,
            least_share=LEAST_SHARE,
        )
        return self._kind.fit(part, strengths or self._kind.strengths)

    def _inner_folds(self, rows: IntArray, seed: int) -> list[tuple[IntArray, IntArray]]:
        """Folds of the training images, as many as the rarest class allows; none if that is fewer than two.

        Of more than `_ALL_FOLDS` images only the first fold is used, whose validation images are enough to choose by.

        Groups are only split where even two folds can't keep them together.
        """
        labels = self._labels[rows]
        most = min(_INNER_FOLDS, int(np.bincount(labels).min()))
        for groups in (None,) if self._groups is None else (self._groups[rows], None):
            for count in range(most, 1, -1):
                try:
                    folds = make_folds(labels, folds=count, seed=seed, groups=groups)
                except DataError:  # too few groups of a class
                    continue
                used = folds if len(rows) <= _ALL_FOLDS else folds[:1]
                return [(rows[fold.train], rows[fold.val]) for fold in used]
        return []

    def logits(self, rows: IntArray) -> FloatArray:
        """Return logits `(len(rows), K)` float32 of images of the study."""
        return self._logits(self._features[rows])

    def logits_of(self, images: Any, rows: IntArray, shape_ids: IntArray | None = None) -> FloatArray:
        """Return logits `(len(rows), K)` float32 of any images, embedded first; see `Engine.logits_of`."""
        embeddings = self._backbone.embed_again(images, rows, shape_ids)
        return self._logits(embeddings[:, self._backbone.columns(self.configuration.head)])

    def _logits(self, features: FloatArray) -> FloatArray:
        return np.asarray(features @ self._head.kernel.astype(np.float32) + self._head.bias, np.float32)


def fit_classifier(classifier: LinearClassifier, job: FitJob, labels: IntArray, scorer: Scorer) -> FitOutcome:
    """Fit a classifier on one split and score it on the validation images.

    Args:
        classifier: classifier of the job's configuration.
        job: the split and the seed.
        labels: `(n,)` class of each image of the study, 0..K-1.
        scorer: the study's metric.

    Returns:
        The outcome, always LEARNED: an exact solution can't collapse. It has no epochs and no checks.
    """
    started = time.monotonic()
    classes = job.protocol.classes
    balance = balance_of(np.bincount(labels[job.train], minlength=classes), job.configuration)
    strength = classifier.fit(job.train, job.seed, balance)
    outcome = FitOutcome(verdict=Verdict.LEARNED, start={STRENGTH: strength})
    if len(job.val):
        logits = classifier.logits(job.val).astype(np.float64)
        log_p, val_labels = log_softmax(logits), labels[job.val]
        loss = log_loss(log_p, val_labels)
        shares = np.bincount(val_labels, minlength=classes) / len(job.val)
        probabilities = np.exp(log_p).astype(np.float32)
        outcome = replace(
            outcome,
            score=scorer.score(val_labels, probabilities),
            loss=loss,
            skill=skill(loss, cross_entropy(shares, balance.prior)),
            probabilities=probabilities,
            start={STRENGTH: strength, **logit_statistics(logits)},
        )
    return replace(outcome, seconds=time.monotonic() - started)
