"""Probe of the untrained network on a small batch: its loss, the scale of signals and gradients by layer."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any, Final

import keras
import numpy as np
import tensorflow as tf

from search.arrays import IntArray
from search.diagnosis.evidence import LayerStatistics, NetworkProbe
from search.diagnosis.feeding import Floats, encode
from search.diagnosis.keras_fits import rows_of_each_class
from search.diagnosis.layer_recording import Step, array, kernels, record
from search.diagnosis.loading import Case
from search.diagnosis.scoring import balanced_accuracy, decided, prior_entropy, top_share
from search.diagnosis.watching import dead_share

BATCH: Final = 32  # images that the network is measured on
HEART: Final = 16  # images to learn by heart
HEART_STEPS: Final = 200
HEART_SECONDS: Final = 8.0

_PASSING: Final = ("Flatten", "Dropout", "SpatialDropout2D", "Reshape", "Identity")  # outputs say nothing new


def probe(case: Case, fed: Floats, labels: IntArray, classes: int, seed: int, *, logits: bool) -> NetworkProbe:
    """Measure the untrained network on 32 images.

    Args:
        case: the user's network.
        fed: `(n, h, w, c)` float32 input of the network.
        labels: `(n,)` 0..K-1.
        classes: K.
        seed: seed of the initial weights.
        logits: whether outputs are logits rather than probabilities.
    """
    keras.utils.clear_session()
    keras.utils.set_random_seed(seed)
    model = case.build()
    rows = rows_of_each_class(labels, BATCH)
    pixels, wanted = fed[rows], encode(labels, case.labels, classes)[rows]
    with tf.GradientTape() as tape:
        output, steps = record(model, pixels)
        loss, total = _loss(model, pixels, wanted, output)
    outputs = array(output).reshape(len(rows), -1)
    penalty = sum(float(array(term)) for term in model.losses)
    gradients = _gradients(model, tape, total)
    inputs = _first_inputs(steps)
    layers = _layers(model, steps, gradients, _updates(model, gradients))
    shift, spread = _backbone(steps)
    return NetworkProbe(
        loss=loss - penalty,
        penalty=penalty,
        expected_loss=prior_entropy(np.bincount(labels, minlength=classes).tolist()),
        finite=bool(np.isfinite(outputs).all() and math.isfinite(loss)),
        top_share=top_share(decided(outputs, logits)),
        layers=layers,
        train_mode_loss=_training_mode(model, pixels, wanted),
        backbone_shift=shift,
        backbone_spread=spread,
        batch_ratio=_batch_ratio(model, wanted, outputs),
        low=float(inputs.min()) if inputs is not None else None,
        high=float(inputs.max()) if inputs is not None else None,
    )


def _loss(model: Any, pixels: Any, wanted: Any, output: Any) -> tuple[float, Any]:
    """The loss as a number and as a tensor; NaN and None where the loss does not take these labels."""
    try:
        total = model.compute_loss(x=pixels, y=tf.convert_to_tensor(wanted), y_pred=output, training=False)
        return float(array(total)), total
    except Exception:  # the user's loss; the fit will tell what it says
        return math.nan, None


def _batch_ratio(model: Any, wanted: Any, outputs: np.ndarray) -> float | None:
    """Data term of the loss on the whole batch by its mean over the two halves; None where it can't be told."""
    half = len(outputs) // 2
    if half < 2:
        return None
    parts = (slice(0, 2 * half), slice(0, half), slice(half, 2 * half))
    penalty = sum(float(array(term)) for term in model.losses)
    whole, first, second = (
        _loss(model, None, wanted[part], tf.convert_to_tensor(outputs[part], tf.float32))[0] - penalty for part in parts
    )
    mean = (first + second) / 2
    return whole / mean if math.isfinite(mean) and abs(mean) > 1e-9 else None


def _gradients(model: Any, tape: Any, total: Any) -> Mapping[str, Any]:
    variables = {key: kernel for key, kernel in kernels(model).items() if kernel.trainable}
    if total is None or not variables:
        return {}
    gradients = tape.gradient(total, [kernel.value for kernel in variables.values()])
    return {key: g for key, g in zip(variables, gradients, strict=True) if g is not None}


def _updates(model: Any, gradients: Mapping[str, Any]) -> Mapping[str, float]:
    """|change| / |kernel| of one optimizer step, kernels alone; the weights are put back."""
    kernels_with_gradient = {key: kernel for key, kernel in kernels(model).items() if key in gradients}
    if not kernels_with_gradient:
        return {}
    before = {key: array(kernel) for key, kernel in kernels_with_gradient.items()}
    try:
        model.optimizer.apply([gradients[key] for key in kernels_with_gradient], list(kernels_with_gradient.values()))
    except Exception:  # an optimizer of the user's own; the fit will tell
        return {}
    ratios = {}
    for key, kernel in kernels_with_gradient.items():
        size = float(np.linalg.norm(before[key]))
        ratios[key] = float(np.linalg.norm(array(kernel) - before[key])) / (size + 1e-12)
        kernel.assign(before[key])
    return ratios


def _first_inputs(steps: tuple[Step, ...]) -> np.ndarray | None:
    """Finite input values of the first layer with a kernel."""
    for step in steps:
        if getattr(step.leaf.layer, "kernel", None) is not None and step.inputs:
            values = array(step.inputs[0])
            values = values[np.isfinite(values)]
            return values if len(values) else None
    return None


def _layers(
    model: Any, steps: tuple[Step, ...], gradients: Mapping[str, Any], updates: Mapping[str, float]
) -> tuple[LayerStatistics, ...]:
    weights = {key: array(kernel) for key, kernel in kernels(model).items()}
    statistics = []
    for step in steps:
        if type(step.leaf.layer).__name__ in _PASSING:
            continue
        values = array(step.output)
        key, kind = step.leaf.key, _kind(step.leaf.layer)
        gradient = gradients.get(key)
        statistics.append(
            LayerStatistics(
                name=key,
                mean=float(values.mean()),
                deviation=float(values.std()),
                between_images=float(values.std(axis=0).mean()),
                dead=dead_share(values),
                saturated=_saturated(values, kind),
                weight=float(np.sqrt((weights[key] ** 2).mean())) if key in weights else None,
                gradient=float(np.linalg.norm(array(tf.convert_to_tensor(gradient)))) if gradient is not None else None,
                update=updates.get(key),
            )
        )
    return tuple(statistics)


def _kind(layer: Any) -> str:
    return str(getattr(getattr(layer, "activation", None), "__name__", ""))


def _saturated(values: np.ndarray, activation: str) -> float:
    if activation == "sigmoid":
        return float(((values < 0.01) | (values > 0.99)).mean())
    return float((np.abs(values) > 0.99).mean()) if activation == "tanh" else 0.0


def _training_mode(model: Any, pixels: Any, wanted: Any) -> float | None:
    """Loss in training mode; the weights are put back."""
    stored = [array(v) for v in model.variables]
    try:
        loss, _ = _loss(model, pixels, wanted, model(pixels, training=True))
    except Exception:  # the user's own layers; the fit will tell
        return None
    finally:
        for variable, value in zip(model.variables, stored, strict=True):
            variable.assign(value)
    return loss if math.isfinite(loss) else None


def _backbone(steps: tuple[Step, ...]) -> tuple[float | None, float | None]:
    """Shift of the first frozen BatchNorm's input from its stored mean, and spread, both in stored deviations."""
    for step in steps:
        layer = step.leaf.layer
        if type(layer).__name__ != "BatchNormalization" or layer.trainable or not step.inputs:
            continue
        values = array(step.inputs[0])
        axes = tuple(range(values.ndim - 1))
        deviation = np.sqrt(array(layer.moving_variance) + layer.epsilon)
        shift = np.abs(values.mean(axis=axes) - array(layer.moving_mean)) / deviation
        return float(np.median(shift)), float(np.median(values.std(axis=axes) / deviation))
    return None, None


def overfits(case: Case, fed: Floats, labels: IntArray, classes: int, seed: int, *, logits: bool) -> bool | None:
    """Whether the network learns 16 images by heart with the user's loss and optimizer, within 200 steps and 8 seconds.

    True if (balanced accuracy - chance) / (1 - chance) reaches 0.9 on these images. None if training raises.

    Args:
        case: the user's network.
        fed: `(n, h, w, c)` float32 input of the network.
        labels: `(n,)` 0..K-1.
        classes: K.
        seed: seed of the initial weights.
        logits: whether outputs are logits rather than probabilities.
    """
    keras.utils.clear_session()
    keras.utils.set_random_seed(seed)
    model = case.build()
    rows = rows_of_each_class(labels, HEART)
    pixels, wanted = fed[rows], encode(labels, case.labels, classes)[rows]
    ends = time.monotonic() + HEART_SECONDS
    skill = 0.0
    try:
        for step in range(1, HEART_STEPS + 1):
            model.train_on_batch(pixels, wanted)
            if step % 20 == 0 or time.monotonic() > ends:
                outputs = np.asarray(model.predict_on_batch(pixels), np.float64).reshape(len(rows), -1)
                score = balanced_accuracy(labels[rows], decided(outputs, logits), classes)
                present = len(np.unique(labels[rows]))
                skill = (score - 1 / present) / (1 - 1 / present)
                if skill >= 0.9 or time.monotonic() > ends:
                    break
    except Exception:  # the user's loss or layers; the fit tells what it says
        return None
    return skill >= 0.9
