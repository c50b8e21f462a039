"""Fits of the user's network, changed or not, by Keras' own `fit`."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any, Final

import keras
import numpy as np

from search.arrays import IntArray
from search.diagnosis import changes as c
from search.diagnosis.changes import Change
from search.diagnosis.evidence import DiagnosisFit
from search.diagnosis.feeding import Floats, Split, encode
from search.diagnosis.loading import Case
from search.diagnosis.surgery import NotApplicableError, changed
from search.diagnosis.watching import EpochWatch

SEEN: Final = 256  # most training images that a fit is scored on
SMALL: Final = 16  # images on which gradients and dead units are measured


class KerasTrainer:
    """Trains the user's network on a fixed split. The seed sets initial weights and the order of the images.

    Args:
        case: the user's network and the settings of its training.
        raw: `(n, h, w, c)` float32, images before the user's PREPROCESS.
        fed: `(n, h, w, c)` float32, images after PREPROCESS.
        labels: `(n,)` 0..K-1.
        classes: K.
        parts: training and held-out images.
        logits: whether outputs are logits rather than probabilities.
        learned: balanced accuracy from which the unchanged network has learned.
        goal: balanced accuracy from which a changed network has learned.
    """

    def __init__(
        self,
        case: Case,
        raw: Floats,
        fed: Floats,
        labels: IntArray,
        classes: int,
        parts: Split,
        *,
        logits: bool,
        learned: float,
        goal: float,
    ) -> None:
        self._case, self._raw, self._fed, self._labels, self._classes = case, raw, fed, labels, classes
        self._parts, self._logits, self._learned, self._goal = parts, logits, learned, goal
        self._last_network: tuple[tuple[c.Edit, ...], Any] | None = None  # the last network, by its edits
        rng = np.random.default_rng(0)
        self._scored = np.sort(rng.permutation(parts.training)[:SEEN])
        self._small = parts.training[rows_of_each_class(labels[parts.training], SMALL)]

    def fit(
        self, change: Change | None, seed: int, seconds: float, on_epoch: Callable[[int, int], None]
    ) -> DiagnosisFit:
        """Train the network once. Errors of the user's code don't raise: they become `DiagnosisFit.error`.

        Args:
            change: change of the network or its training; None: unchanged.
            seed: seed of the initial weights and of the order of the images.
            seconds: time limit; the fit is stopped after it, but not in its first epoch.
            on_epoch: called with the number of finished epochs and of planned epochs.
        """
        started = time.monotonic()
        edits = change.edits if change else ()
        try:
            network = self._network(edits, seed)
        except NotApplicableError as error:
            return failed(seed, f"the change can't be made to this network: {error}")
        pixels, labels, epochs, weights, augment = self._fit_settings(edits)
        watch = EpochWatch(
            pixels[self._scored], self._labels[self._scored], pixels[self._parts.held_out],
            self._labels[self._parts.held_out], self._classes, epochs=epochs, logits=_gives_logits(edits, self._logits),
            deadline=started + seconds, goal=self._goal if change else None, on_epoch=on_epoch,
            small=None if change else (pixels[self._small], labels[self._small]),
        )  # fmt: skip
        rows = self._parts.training
        batch = min(self._case.batch_size, len(rows))
        inputs: dict[str, Any] = {"x": pixels[rows], "y": labels[rows], "batch_size": batch}
        if augment is not None:
            inputs = {"x": _Augmented(pixels[rows], labels[rows], batch, augment, seed)}
        try:
            network.fit(**inputs, epochs=epochs, class_weight=weights, verbose=0, callbacks=[watch])
            return watch.run(seed, self._goal if change else self._learned, time.monotonic() - started)
        except Exception as error:  # the user's loss, layers or pipeline: part of what is diagnosed
            return failed(seed, f"{type(error).__name__}: {' '.join(str(error).split())[:300]}")

    def _network(self, edits: tuple[c.Edit, ...], seed: int) -> Any:
        """Network with this seed's initial weights; the last one, whose graphs exist, if it has the same edits."""
        keras.utils.clear_session()  # layers get the same names at each building
        keras.utils.set_random_seed(seed)
        model = self._case.build()
        network = changed(model, edits) if edits else model
        if (
            self._last_network is None
            or self._last_network[0] != edits
            or not _start_over(self._last_network[1], network)
        ):
            self._last_network = (edits, network)
        return self._last_network[1]

    def _fit_settings(self, edits: tuple[c.Edit, ...]) -> tuple[Floats, Any, int, Any, Any]:
        """Pixels, labels, epochs, class weights and augmentation, as the edits change them."""
        pixels, form, epochs = self._fed, self._case.labels, self._case.epochs
        weights, augment = self._case.class_weight, self._case.augment
        for edit in edits:
            match edit:
                case c.ReplacePreprocessing(scale):
                    pixels = self._raw * np.float32(scale)
                case c.RescaleInput(scale, offset):
                    pixels = pixels * np.float32(scale) + np.float32(offset)
                case c.SetLabelForm(wanted):
                    form = wanted
                case c.SetEpochs(number):
                    epochs = number
                case c.SetClassWeights(wanted):
                    weights = wanted
                case c.RemoveAugmentation():
                    augment = None
        return pixels, encode(self._labels, form, self._classes), epochs, dict(weights) if weights else None, augment


def _start_over(network: Any, new: Any) -> bool:
    """Reset `network`, trained before, to the weights and optimizer of `new`; False where the two don't match."""
    try:
        new.optimizer.build(new.trainable_variables)
        pairs = [
            *zip(network.variables, new.variables, strict=True),
            *zip(network.optimizer.variables, new.optimizer.variables, strict=True),
        ]
        if any(old.shape != fresh.shape for old, fresh in pairs):
            return False
        for old, fresh in pairs:
            old.assign(fresh)
    except (ValueError, AttributeError, TypeError):
        return False
    return True


def failed(seed: int, error: str) -> DiagnosisFit:
    """Return the record of a fit that failed with this error message."""
    return DiagnosisFit(seed=seed, epochs=(), learned=False, score=0.0, train_score=0.0, error=error)


def _gives_logits(edits: tuple[c.Edit, ...], logits: bool) -> bool:
    for edit in edits:
        if isinstance(edit, c.SetLoss):
            logits = edit.from_logits
    return logits


def rows_of_each_class(labels: IntArray, count: int) -> IntArray:
    """Select at most `count` images, the same number of each class if possible.

    Args:
        labels: `(n,)` 0..K-1.
        count: number of images.

    Returns:
        `(min(n, count),)` row numbers, ascending.
    """
    rank = np.zeros(len(labels), np.int64)
    for k in np.unique(labels):
        rows = np.flatnonzero(labels == k)
        rank[rows] = np.arange(len(rows))
    return np.sort(np.argsort(rank, kind="stable")[:count])


class _Augmented(keras.utils.PyDataset):  # type: ignore[misc]  # Keras is not typed
    """Shuffled batches through the user's AUGMENT."""

    def __init__(self, pixels: Floats, labels: Any, batch: int, augment: Callable[[Any, Any], Any], seed: int) -> None:
        super().__init__()
        self._pixels, self._labels, self._batch, self._augment = pixels, labels, batch, augment
        self._rng = np.random.default_rng(seed)
        self._order = self._rng.permutation(len(pixels))

    def __len__(self) -> int:
        return math.ceil(len(self._pixels) / self._batch)

    def __getitem__(self, index: int) -> Any:
        rows = self._order[index * self._batch : (index + 1) * self._batch]
        pixels, labels = self._augment(self._pixels[rows], self._labels[rows])
        return np.asarray(pixels, np.float32), np.asarray(labels)

    def on_epoch_end(self) -> None:
        self._order = self._rng.permutation(len(self._pixels))
