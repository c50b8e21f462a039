"""Fits of the user's network, changed or not, by Keras' own `fit`, with what they show epoch by epoch."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any, Final

import keras
import numpy as np
import tensorflow as tf

from search.diagnosis import changes as c
from search.diagnosis.changes import Change
from search.diagnosis.feeding import Floats, Split, encode
from search.diagnosis.loading import Case
from search.diagnosis.recording import array, kernels, leaves, record
from search.diagnosis.records import Epoch, Run
from search.diagnosis.scoring import area, balanced_accuracy, cross_entropy, decided, top_share
from search.diagnosis.surgery import NotApplicableError, changed
from search.records import IntArray

CHECKS: Final = 30  # epochs of a fit that are looked at, at most
SEEN: Final = 256  # training images on which a fit is scored, at most
SMALL: Final = 16  # images for gradients and dead units
SURE: Final = 0.25  # share of the epochs, at least 3, for which a changed network must hold its goal to end early

_CHUNK: Final = 256


class KerasTrainer:
    """Trains the user's network on the fixed split: the same images, other initial weights and order for each seed."""

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
        self._kept: tuple[tuple[c.Edit, ...], Any] | None = None  # the last network, by its edits
        rng = np.random.default_rng(0)
        self._scored = np.sort(rng.permutation(parts.training)[:SEEN])
        self._small = parts.training[few_of_each(labels[parts.training], SMALL)]

    def fit(self, change: Change | None, seed: int, seconds: float, on_epoch: Callable[[int, int], None]) -> Run:
        """Train once; a fit that takes longer than `seconds` is ended, and one that fails tells its error."""
        started = time.monotonic()
        edits = change.edits if change else ()
        try:
            network = self._network(edits, seed)
        except NotApplicableError as error:
            return failed(seed, f"the change can't be made to this network: {error}")
        pixels, labels, epochs, weights, augment = self._given(edits)
        watch = _Watch(
            pixels[self._scored], self._labels[self._scored], pixels[self._parts.held_out],
            self._labels[self._parts.held_out], self._classes, epochs=epochs, logits=_gives_logits(edits, self._logits),
            deadline=started + seconds, goal=self._goal if change else None, on_epoch=on_epoch,
            small=None if change else (pixels[self._small], labels[self._small]),
        )  # fmt: skip
        rows = self._parts.training
        batch = min(self._case.batch_size, len(rows))
        given: dict[str, Any] = {"x": pixels[rows], "y": labels[rows], "batch_size": batch}
        if augment is not None:
            given = {"x": _Augmented(pixels[rows], labels[rows], batch, augment, seed)}
        try:
            network.fit(**given, epochs=epochs, class_weight=weights, verbose=0, callbacks=[watch])
            return watch.run(seed, self._goal if change else self._learned, time.monotonic() - started)
        except Exception as error:  # the user's loss, layers or pipeline: part of what is diagnosed
            return failed(seed, f"{type(error).__name__}: {' '.join(str(error).split())[:300]}")

    def _network(self, edits: tuple[c.Edit, ...], seed: int) -> Any:
        """The network with this seed's initial weights; the one at hand, whose graphs exist, if it has these edits."""
        keras.utils.clear_session()  # layers get the same names at each building
        keras.utils.set_random_seed(seed)
        model = self._case.build()
        network = changed(model, edits) if edits else model
        if self._kept is None or self._kept[0] != edits or not _start_over(self._kept[1], network):
            self._kept = (edits, network)
        return self._kept[1]

    def _given(self, edits: tuple[c.Edit, ...]) -> tuple[Floats, Any, int, Any, Any]:
        pixels, form, epochs = self._fed, self._case.labels, self._case.epochs
        weights, augment = self._case.class_weight, self._case.augment
        for edit in edits:
            match edit:
                case c.Unprocessed(scale):
                    pixels = self._raw * np.float32(scale)
                case c.Feed(scale, offset):
                    pixels = pixels * np.float32(scale) + np.float32(offset)
                case c.LabelForm(wanted):
                    form = wanted
                case c.Epochs(number):
                    epochs = number
                case c.ClassWeights(wanted):
                    weights = wanted
                case c.Unaugmented():
                    augment = None
        return pixels, encode(self._labels, form, self._classes), epochs, dict(weights) if weights else None, augment


def _start_over(network: Any, new: Any) -> bool:
    """Put `network`, trained before, where `new` stands, optimizer and all. False where the two don't match."""
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


def failed(seed: int, error: str) -> Run:
    """A fit that did not come about."""
    return Run(seed=seed, epochs=(), learned=False, score=0.0, train_score=0.0, error=error)


def _gives_logits(edits: tuple[c.Edit, ...], logits: bool) -> bool:
    for edit in edits:
        if isinstance(edit, c.Loss):
            logits = edit.from_logits
    return logits


def few_of_each(labels: IntArray, count: int) -> IntArray:
    """Rows of about `count` images, classes in turn."""
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


class _Watch(keras.callbacks.Callback):  # type: ignore[misc]  # Keras is not typed
    """Notes what each epoch shows; ends a fit that is out of time, not finite, or changed and clearly learned."""

    def __init__(
        self,
        seen: Floats,
        seen_labels: IntArray,
        held: Floats,
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
        self._pixels = np.concatenate([seen, held])
        self._labels = np.concatenate([seen_labels, held_labels])
        self._seen, self._classes, self._planned, self._logits = len(seen), classes, epochs, logits
        self._deadline, self._goal, self._small, self._on_epoch = deadline, goal, small, on_epoch
        self._every = max(1, epochs // CHECKS)
        self._epochs: list[Epoch] = []
        self._held_goal = 0
        self._stopped = False
        self._steps = 0
        self._before: dict[str, Any] = {}

    def on_train_begin(self, logs: Any = None) -> None:
        self._before = self._weights()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self._steps += 1
        if time.monotonic() > self._deadline and self._epochs:
            self.model.stop_training = self._stopped = True

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
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
        found = decided(outputs, self._logits)
        held = outputs[self._seen :]
        held_labels = self._labels[self._seen :]
        signals = (
            self._signals() if self._small is not None else (math.nan, math.nan, math.nan, None, math.nan, math.nan)
        )
        penalty = float(sum(float(array(term)) for term in self.model.losses))
        return Epoch(
            loss=loss,
            data_loss=loss - penalty,
            val_loss=cross_entropy(held_labels, held, self._logits),
            train_score=balanced_accuracy(self._labels[: self._seen], found[: self._seen], self._classes),
            val_score=balanced_accuracy(held_labels, found[self._seen :], self._classes),
            auc=area(held_labels, held, self._classes),
            top_share=top_share(found[self._seen :]),
            output_spread=float(np.nanmax(np.append(held.std(axis=0), 0.0))),
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

    def run(self, seed: int, wanted: float, seconds: float) -> Run:
        """What the fit amounts to."""
        last = self._epochs[-1]
        score = last.val_score if last.finite else min(last.val_score, 1 / self._classes)
        learned = last.finite and score >= wanted
        return Run(
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
        """The score with BatchNorm's statistics taken anew from the training images; None without BatchNorm."""
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
            self.model(self._pixels[: self._seen], training=True)
        finally:
            for layer, (momentum, trainable) in zip(norms, momenta, strict=True):
                layer.momentum, layer.trainable = momentum, trainable
            for layer, rate in zip(dropouts, rates, strict=True):
                layer.rate = rate
        found = decided(self._predict()[self._seen :], self._logits)
        return balanced_accuracy(self._labels[self._seen :], found, self._classes)


def _unseen(loss: float) -> Epoch:
    nan = math.nan
    return Epoch(
        loss=loss, data_loss=nan, val_loss=nan, train_score=nan, val_score=nan, auc=nan, top_share=nan,
        output_spread=nan, first_gradient=nan, last_gradient=nan, dead=nan, dead_layer=None, weight=nan, update=nan,
        finite=math.isfinite(loss),
    )  # fmt: skip


def gradients_and_dead(model: Any, pixels: Any, labels: Any) -> tuple[float, float, float, str | None]:
    """Norms of the first and the last trainable kernel's gradient, and the worst layer by its share of dead units."""
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
    """Share of units (channels) that are 0 for every image and place of `(n, ..., units)`."""
    flat = outputs.reshape(-1, outputs.shape[-1])
    return float((flat == 0).all(axis=0).mean())
