"""Callback that measures a fit of the user's network, epoch by epoch, while Keras' own `fit` runs."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any, Final

import keras
import numpy as np
import tensorflow as tf

from search.arrays import IntArray
from search.diagnosis.evidence import DiagnosisFit, Epoch
from search.diagnosis.feeding import Floats
from search.diagnosis.layer_recording import array, kernels, leaves, record
from search.diagnosis.scoring import area, balanced_accuracy, cross_entropy, decided, top_share

CHECKS: Final = 30  # most epochs of a fit that are measured, roughly
SURE: Final = 0.25  # share of the epochs, at least 3, for which a changed network must hold its goal to end early

_CHUNK: Final = 256


class EpochWatch(keras.callbacks.Callback):  # type: ignore[misc]  # Keras is not typed
    """Measures the network after each epoch; ends a fit that is out of time, not finite, or clearly fixed.

    Args:
        training_images: `(n, h, w, c)` float32, training images that the fit is scored on.
        training_labels: `(n,)` 0..K-1.
        held_images: `(m, h, w, c)` float32, held-out images.
        held_labels: `(m,)` 0..K-1.
        classes: K.
        epochs: planned number of epochs.
        logits: whether outputs are logits rather than probabilities.
        deadline: value of `time.monotonic()` at which the fit ends.
        goal: balanced accuracy that ends the fit of a changed network once it is held; None for an unchanged one.
        small: images and encoded labels on which gradients and dead units are measured; None: not measured.
        on_epoch: called with the number of finished epochs and of planned epochs.
    """

    def __init__(
        self,
        training_images: Floats,
        training_labels: IntArray,
        held_images: Floats,
        held_labels: IntArray,
        classes: int,
        *,
        epochs: int,
        logits: bool,
        deadline: float,
        goal: float | None,
        small: tuple[Any, Any] | None,
        on_epoch: Callable[[int, int], None],
    ) -> None:
        super().__init__()
        self._pixels = np.concatenate([training_images, held_images])
        self._labels = np.concatenate([training_labels, held_labels])
        self._training_count, self._classes, self._planned, self._logits = len(training_images), classes, epochs, logits
        self._deadline, self._goal, self._small, self._on_epoch = deadline, goal, small, on_epoch
        self._every = max(1, epochs // CHECKS)
        self._epochs: list[Epoch] = []
        self._held_goal = 0
        self._stopped = False
        self._steps = 0
        self._before: dict[str, Any] = {}

    def on_train_begin(self, logs: Any = None) -> None:
        """Store the initial weights. Keras calls this."""
        self._before = self._weights()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """End the fit when its time is over, but not in the first epoch. Keras calls this."""
        self._steps += 1
        if time.monotonic() > self._deadline and self._epochs:
            self.model.stop_training = self._stopped = True

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Measure the network and decide whether the fit goes on; in long fits, not at each epoch. Keras calls this."""
        loss = float((logs or {}).get("loss", math.nan))
        last = epoch + 1 == self._planned
        out_of_time = time.monotonic() > self._deadline
        broken = not math.isfinite(loss)
        if (epoch + 1) % self._every == 0 or last or out_of_time or broken or epoch < 3:
            self._epochs.append(self._look(loss))
            reached = self._goal is not None and self._epochs[-1].val_score >= self._goal
            self._held_goal = self._held_goal + self._every if reached else 0
        else:
            self._epochs.append(_unseen(loss))
        self._on_epoch(epoch + 1, self._planned)
        sure = self._held_goal >= max(3, SURE * self._planned)
        if (out_of_time and not last) or broken or sure:
            self._stopped = self._stopped or (out_of_time and not last)
            self.model.stop_training = True

    def _predict(self) -> Any:
        chunk = min(_CHUNK, len(self._pixels))
        parts = []
        for start in range(0, len(self._pixels), chunk):
            part = self._pixels[start : start + chunk]
            full = np.concatenate([part, self._pixels[: chunk - len(part)]])  # one shape, so one graph
            parts.append(np.asarray(self.model.predict_on_batch(full))[: len(part)])
        outputs = np.concatenate(parts).astype(np.float64)
        return outputs.reshape(len(outputs), -1)

    def _look(self, loss: float) -> Epoch:
        outputs = self._predict()
        predicted = decided(outputs, self._logits)
        held = outputs[self._training_count :]
        held_labels = self._labels[self._training_count :]
        signals = (
            self._signals() if self._small is not None else (math.nan, math.nan, math.nan, None, math.nan, math.nan)
        )
        penalty = float(sum(float(array(term)) for term in self.model.losses))
        return Epoch(
            loss=loss,
            data_loss=loss - penalty,
            val_loss=cross_entropy(held_labels, held, self._logits),
            train_score=balanced_accuracy(
                self._labels[: self._training_count], predicted[: self._training_count], self._classes
            ),
            val_score=balanced_accuracy(held_labels, predicted[self._training_count :], self._classes),
            auc=area(held_labels, held, self._classes),
            top_share=top_share(predicted[self._training_count :]),
            first_gradient=signals[0],
            last_gradient=signals[1],
            dead=signals[2],
            dead_layer=signals[3],
            weight=signals[4],
            update=signals[5],
            finite=bool(math.isfinite(loss) and np.isfinite(outputs).all()),
        )

    def _weights(self) -> dict[str, Any]:
        return {key: array(kernel) for key, kernel in kernels(self.model).items()} if self._small is not None else {}

    def _signals(self) -> tuple[float, float, float, str | None, float, float]:
        """First and last gradient, worst dead share and its layer, norm of all kernels, largest update per step."""
        assert self._small is not None
        first, last, dead, where = gradients_and_dead(self.model, *self._small)
        now = self._weights()
        steps, self._steps = max(1, self._steps), 0
        moved = [
            float(np.linalg.norm(now[key] - old) / (np.linalg.norm(old) + 1e-12) / steps)
            for key, old in self._before.items()
            if key in now and now[key].shape == old.shape
        ]
        self._before = now
        norm = math.sqrt(sum(float((kernel**2).sum()) for kernel in now.values()))
        return first, last, dead, where, norm, max(moved, default=math.nan)

    def run(self, seed: int, wanted: float, seconds: float) -> DiagnosisFit:
        """Return the record of the finished fit.

        Args:
            seed: seed of the fit.
            wanted: balanced accuracy from which the fit has learned.
            seconds: duration of the fit.
        """
        last = self._epochs[-1]
        score = last.val_score if last.finite else min(last.val_score, 1 / self._classes)
        learned = last.finite and score >= wanted
        return DiagnosisFit(
            seed=seed,
            epochs=tuple(self._epochs),
            learned=learned,
            score=score,
            train_score=last.train_score,
            batch_statistics_score=None if learned else self._by_batch_statistics(),
            seconds=seconds,
            stopped=self._stopped,
        )

    def _by_batch_statistics(self) -> float | None:
        """Return the score with BatchNorm statistics re-estimated on training images; None without BatchNorm."""
        norms = [leaf.layer for leaf in leaves(self.model) if type(leaf.layer).__name__ == "BatchNormalization"]
        if not norms or not self._epochs[-1].finite:
            return None
        dropouts = [leaf.layer for leaf in leaves(self.model) if "Dropout" in type(leaf.layer).__name__]
        momenta = [(layer.momentum, layer.trainable) for layer in norms]
        rates = [layer.rate for layer in dropouts]
        try:
            for layer in norms:
                layer.momentum, layer.trainable = 0.0, True
            for layer in dropouts:
                layer.rate = 0.0
            self.model(self._pixels[: self._training_count], training=True)
        finally:
            for layer, (momentum, trainable) in zip(norms, momenta, strict=True):
                layer.momentum, layer.trainable = momentum, trainable
            for layer, rate in zip(dropouts, rates, strict=True):
                layer.rate = rate
        predicted = decided(self._predict()[self._training_count :], self._logits)
        return balanced_accuracy(self._labels[self._training_count :], predicted, self._classes)


def _unseen(loss: float) -> Epoch:
    nan = math.nan
    return Epoch(
        loss=loss, data_loss=nan, val_loss=nan, train_score=nan, val_score=nan, auc=nan, top_share=nan,
        first_gradient=nan, last_gradient=nan, dead=nan, dead_layer=None, weight=nan, update=nan,
        finite=math.isfinite(loss),
    )  # fmt: skip


def gradients_and_dead(model: Any, pixels: Any, labels: Any) -> tuple[float, float, float, str | None]:
    """Measure gradients and dead units on a small batch.

    Args:
        model: compiled Keras model.
        pixels: `(n, h, w, c)` float32.
        labels: labels in the form of the loss.

    Returns:
        Norm of the first and of the last trainable kernel's gradient, largest share of dead units of a layer (0..1),
        and the name of that layer (None: no dead units).
    """
    variables = [kernel for kernel in kernels(model).values() if kernel.trainable]
    dead, where = 0.0, None
    with tf.GradientTape() as tape:
        output, steps = record(model, pixels)
        loss = model.compute_loss(x=pixels, y=labels, y_pred=output, training=False)
    for step in steps:
        share = dead_share(array(step.output))
        if share > dead and step.output is not output and type(step.leaf.layer).__name__ not in ("Flatten",):
            dead, where = share, step.leaf.key
    if not variables:
        return 0.0, 0.0, dead, where
    first, last = tape.gradient(loss, [variables[0].value, variables[-1].value])
    norms = [0.0 if g is None else float(np.linalg.norm(array(tf.convert_to_tensor(g)))) for g in (first, last)]
    return norms[0], norms[1], dead, where


def dead_share(outputs: np.ndarray) -> float:
    """Return the share of units (channels), 0..1, of `(n, ..., units)` that are 0 for every image and position."""
    flat = outputs.reshape(-1, outputs.shape[-1])
    return float((flat == 0).all(axis=0).mean())
