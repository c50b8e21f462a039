"""Every loss of the registry: its formulas agree with each other, and configurations, files and reports know it."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import yaml

from reports.configurations import sentence
from search.training.gradients import losses_of_images
from search.training.heads.loss import HeadLoss
from search.training.sampling import balance
from spaces.config import Configuration
from spaces.definitions import Choices
from spaces.losses import LOSSES, Loss
from spaces.presets import CORE
from spaces.yaml_io import load_configurations, load_space
from tests.factories import configuration

COUNTS = np.array([60, 25, 15])
LABELS = np.array([0, 1, 2, 2, 1, 0])
LOGITS = np.random.default_rng(0).normal(0, 2, (6, 3))
WEIGHTS, MARGIN = np.array([0.5, 1.0, 2.0]), np.log(COUNTS / 100)

pytestmark = pytest.mark.parametrize("name", LOSSES)


def written_out(loss: Loss, smoothing: float, logits: np.ndarray) -> np.ndarray:
    """The loss of each image `(6,)`, without class weights."""
    shifted = logits + MARGIN if loss.is_logit_adjusted else logits
    log_p = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
    own = log_p[np.arange(6), LABELS]
    if loss.modulation is not None:
        return loss.modulation.value(np.exp(own), -own)
    targets = np.eye(3)[LABELS] * (1 - smoothing) + smoothing / 3
    return -(targets * log_p).sum(1)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_the_gradient_by_the_logits_is_the_slope_of_the_value(name: str, smoothing: float) -> None:
    loss = HeadLoss(configuration(loss=name, label_smoothing=smoothing), WEIGHTS, MARGIN)
    _, gradient = loss(LOGITS, LABELS)
    for at in np.ndindex(LOGITS.shape):
        step = np.zeros_like(LOGITS)
        step[at] = 1e-6
        above, below = (written_out(LOSSES[name], smoothing, LOGITS + s * step) @ WEIGHTS[LABELS] / 6 for s in (1, -1))
        assert gradient[at] == pytest.approx((above - below) / 2e-6, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_tensorflow_computes_what_numpy_does(name: str, smoothing: float) -> None:
    logits, labels = tf.constant(LOGITS, tf.float32), tf.constant(LABELS, tf.int32)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        plain = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
        losses = losses_of_images(LOSSES[name], smoothing, labels, logits, plain, tf.constant(MARGIN, tf.float32))
        mean = tf.reduce_mean(losses * tf.gather(tf.constant(WEIGHTS, tf.float32), labels))
    np.testing.assert_allclose(losses, written_out(LOSSES[name], smoothing, LOGITS), rtol=1e-5)
    said, gradient = HeadLoss(configuration(loss=name, label_smoothing=smoothing), WEIGHTS, MARGIN)(LOGITS, LABELS)
    assert said == pytest.approx(float(tf.reduce_mean(plain)), rel=1e-6)
    np.testing.assert_allclose(tape.gradient(mean, logits), gradient, rtol=1e-4, atol=1e-7)


def test_the_derivatives_of_a_modulation_are_those_of_its_value(name: str) -> None:
    modulation = LOSSES[name].modulation
    if modulation is None:
        return
    p, step = np.linspace(0.02, 0.98, 49), 1e-6

    def by_p(p: np.ndarray) -> np.ndarray:
        return modulation.value(p, -np.log(p))

    slope = modulation.slope(p, np.log(p))
    np.testing.assert_allclose(slope, (by_p(p + step) - by_p(p - step)) / (2 * step), rtol=1e-5)
    np.testing.assert_allclose(modulation.gradient(3.0, p, -np.log(p)), -3.0 * p * slope, rtol=1e-9)
    assert (np.diff(slope) > 0).all(), "convex: there is one best constant"


@pytest.mark.parametrize("weighting", ["none", "sqrt"])
@pytest.mark.parametrize("oversampling", ["none", "sqrt", "balanced"])
def test_a_constant_predictor_can_do_no_better_than_the_effective_prior(
    name: str, oversampling: str, weighting: str
) -> None:
    got = balance(COUNTS, oversampling, weighting, name)
    loss = HeadLoss(configuration(loss=name), got.weights * got.drawn, got.margin)
    _, gradient = loss(np.tile(np.log(got.prior), (3, 1)), np.arange(3))  # each class once, weighted by its share
    np.testing.assert_allclose(gradient.sum(axis=0), 0, atol=1e-7)


def test_what_a_loss_ignores_is_no_part_of_a_configuration(name: str) -> None:
    canonical, loss = configuration(loss=name, label_smoothing=0.1).canonical(), LOSSES[name]
    assert ("label_smoothing" in canonical) == loss.takes_label_smoothing
    assert ("class_weighting" in canonical) == ("oversampling" in canonical) == (not loss.is_logit_adjusted)


def test_the_report_names_it(name: str) -> None:
    text = sentence(configuration(loss=name))
    assert LOSSES[name].sentence in text
    assert name == "cross_entropy" or LOSSES[name].sentence
    assert ("class weights" in text) != LOSSES[name].is_logit_adjusted


def test_files_name_it(name: str, tmp_path: Path) -> None:
    written = configuration(loss=name)
    path = tmp_path / "mine.yaml"
    values: dict[str, Any] = {field.name: getattr(written, field.name) for field in fields(Configuration)}
    path.write_text(yaml.safe_dump(values))
    assert load_configurations(path) == [written]
    path.write_text(yaml.safe_dump({"preset": "core", "loss": {"choices": [name, "cross_entropy"]}}))
    assert load_space(str(path)).hash == CORE.changed({"loss": Choices((name, "cross_entropy"))}).hash
