"""The search space and the network that a careful user writes by hand: our seven dimensions and the learning rate."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np

EPOCHS = 30
PATIENCE = 6
INITIALIZERS = ["glorot_uniform", "he_normal", "random_uniform", "lecun_normal", "orthogonal", "random_normal"]


def drawn(
    choice: Callable[[str, list[Any]], Any],
    whole: Callable[[str, int, int], int],
    real: Callable[[str, float, float, bool], float],
) -> dict[str, Any]:
    """A configuration, by whatever draws; `real` is told whether the scale is logarithmic."""
    return {
        "depth": whole("depth", 2, 8),
        "dense_ratio": real("dense_ratio", 0.0, 0.8, False),
        "width": choice("width", [8, 16, 32]),
        "units": choice("units", [32, 64, 128, 256]),
        "initializer": choice("initializer", INITIALIZERS),
        "dropout": real("dropout", 0.0, 0.6, False),
        "class_weight": choice("class_weight", ["none", "balanced"]),
        "oversample": choice("oversample", ["none", "balanced"]),
        "batch": choice("batch", [4, 8, 16, 32, 64]),
        "rate": real("rate", 1e-5, 1e-1, True),
    }


def network(chosen: Mapping[str, Any], shape: tuple[int, ...], classes: int) -> keras.Model:
    """Convolutions with pooling while there is something to pool, then dense layers; compiled."""
    dense = round(chosen["depth"] * chosen["dense_ratio"])
    given = keras.Input(shape)
    x = keras.layers.Rescaling(1 / 255)(given)
    width, kind = chosen["width"], {"activation": "relu", "kernel_initializer": chosen["initializer"]}
    for _ in range(chosen["depth"] - dense):
        x = keras.layers.Conv2D(width, 3, padding="same", **kind)(x)
        if min(x.shape[1:3]) >= 4:
            x = keras.layers.MaxPooling2D()(x)
            width = min(2 * width, 128)
    x = keras.layers.Flatten()(x)
    for _ in range(dense):
        x = keras.layers.Dense(chosen["units"], **kind)(x)
        x = keras.layers.Dropout(chosen["dropout"])(x)
    said = keras.layers.Dense(classes, activation="softmax", kernel_initializer=chosen["initializer"])(x)
    model = keras.Model(given, said)
    metrics = ["accuracy", BalancedAccuracy(classes)]
    model.compile(keras.optimizers.Adam(chosen["rate"]), "sparse_categorical_crossentropy", metrics=metrics)
    return model


class BalancedAccuracy(keras.metrics.Metric):
    """What all are compared by, so that nobody has to choose by another score."""

    def __init__(self, classes: int) -> None:
        super().__init__(name="balanced_accuracy")
        self._right, self._all = (self.add_weight(shape=(classes,), initializer="zeros") for _ in range(2))

    def update_state(self, given: Any, said: Any, sample_weight: Any = None) -> None:
        given = keras.ops.cast(keras.ops.reshape(given, (-1,)), "int32")
        of_class = keras.ops.one_hot(given, self._all.shape[0])
        right = keras.ops.cast(keras.ops.equal(keras.ops.argmax(said, axis=-1), given), of_class.dtype)
        self._all.assign_add(keras.ops.sum(of_class, axis=0))
        self._right.assign_add(keras.ops.sum(of_class * right[:, None], axis=0))

    def result(self) -> Any:
        there = keras.ops.cast(self._all > 0, "float32")
        shares = self._right / keras.ops.maximum(self._all, 1.0)
        return keras.ops.sum(shares) / keras.ops.maximum(keras.ops.sum(there), 1.0)


def fitted(
    chosen: Mapping[str, Any],
    model: keras.Model,
    images: np.ndarray,
    labels: np.ndarray,
    held_out: tuple[np.ndarray, np.ndarray],
    rng: np.random.Generator,
    callbacks: list[keras.callbacks.Callback],
    epochs: int = EPOCHS,
    **more: Any,
) -> keras.callbacks.History:
    """`model.fit` with the balancing that was chosen."""
    counts = np.bincount(labels)
    rows = np.arange(len(labels))
    if chosen["oversample"] == "balanced":
        parts = [np.flatnonzero(labels == k) for k in range(len(counts))]
        more_of = [rng.choice(part, counts.max() - len(part)) for part in parts]
        rows = rng.permutation(np.concatenate([*parts, *more_of]))
    weights = None
    if chosen["class_weight"] == "balanced":
        weights = {k: len(labels) / (len(counts) * count) for k, count in enumerate(counts)}
    return model.fit(
        images[rows],
        labels[rows],
        batch_size=chosen["batch"],
        epochs=epochs,
        class_weight=weights,
        validation_data=held_out,
        callbacks=callbacks,
        **{"verbose": 0, **more},
    )


def patient(*, restore: bool = True) -> keras.callbacks.Callback:
    """Early stopping, as the guides have it."""
    return keras.callbacks.EarlyStopping(patience=PATIENCE, restore_best_weights=restore)
