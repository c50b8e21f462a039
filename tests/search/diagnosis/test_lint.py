"""Faults that can be seen without training: one line for each guise."""

import pytest

from search.causes import CAUSES
from search.diagnosis.build_rules import second_moment
from search.diagnosis.evidence import Anatomy, DataSample
from search.diagnosis.lint import lint
from tests.search.diagnosis.networks import RESCALING, chain, conv, dense, healthy, material, plain, two_classes

THREE, TWO = material(), two_classes()
BIG = {"initializer": "RandomNormal", "initializer_settings": {"mean": 0.0, "stddev": 1.0}}
SMALL = {"initializer": "RandomUniform", "initializer_settings": {"minval": -0.05, "maxval": 0.05}}


def flat(name: str, **more: object) -> object:
    return dense(name, 40, "sigmoid", fan_in=40, **more)


NORMALIZED = (
    conv("conv", 16, "linear"),
    plain("bn", "BatchNormalization", momentum=0.9),
    plain("act", "ReLU", activation="relu"),
)

CASES = [
    ("softmax-on-one-unit", healthy(last=[dense("out", 1, "softmax")], loss="binary_crossentropy"), TWO, "out"),
    ("softmax-on-one-unit",
     healthy(last=[dense("out", 1, "linear"), plain("end", "Softmax", activation="softmax")],
             loss="binary_crossentropy"), TWO, "end"),
    ("double-softmax", healthy(last=[dense("out", 3, "softmax"), plain("end", "Activation", activation="softmax")]),
     THREE, "end"),
    ("double-softmax",
     healthy(last=[dense("out", 3, "linear"), plain("one", "Softmax", activation="softmax"),
                   plain("two", "Softmax", activation="softmax")]), THREE, "two"),
    ("missing-output-activation", healthy(last=[dense("out", 3, "linear")]), THREE, "out"),
    ("missing-output-activation", healthy(last=[dense("out", 1, "linear")], loss="binary_crossentropy"), TWO, "out"),
    ("relu-on-output", healthy(last=[dense("out", 3, "relu")]), THREE, "out"),
    ("relu-on-output", healthy(last=[dense("out", 1, "linear"), plain("end", "ReLU", activation="relu")],
                               loss="binary_crossentropy"), TWO, "end"),
    ("wrong-loss-pairing", healthy(last=[dense("out", 1, "sigmoid")], loss="categorical_crossentropy"), TWO, "out"),
    ("wrong-loss-pairing", healthy(last=[dense("out", 1, "sigmoid")], loss="sparse_categorical_crossentropy"),
     two_classes(labels="int"), "out"),
    ("wrong-loss-pairing", healthy(last=[dense("out", 1, "sigmoid")], loss="binary_crossentropy"), THREE, "out"),
    ("wrong-loss-pairing", healthy(last=[dense("out", 1, "tanh")], loss="binary_crossentropy"), TWO, "out"),
    ("wrong-loss-pairing", healthy(loss="categorical_crossentropy"), THREE, "out"),
    ("wrong-loss-pairing", healthy(), material(labels="onehot"), "out"),
    ("tied-constant-init", healthy(dense("fc", 32, initializer="Zeros")), THREE, "fc"),
    ("tied-constant-init",
     healthy(dense("fc", 32, initializer="RandomNormal", initializer_settings={"mean": 0.1, "stddev": 0.0})),
     THREE, "fc"),
    ("bad-initializer", healthy(dense("fc", 64, fan_in=256, **BIG)), THREE, "fc"),
    ("bad-initializer", healthy(*(dense(f"fc{i}", 64, **SMALL) for i in range(4))), THREE, "fc0"),
    ("no-nonlinearity",
     chain(RESCALING, conv("conv", 8, "linear"), dense("fc", 32, "linear"), dense("out", 3, "softmax")), THREE, "conv"),
    ("vanishing-gradient", healthy(*(flat(f"fc{i}") for i in range(6))), THREE, "fc0"),
    ("vanishing-gradient",
     healthy(*(layer for i in range(6) for layer in (dense(f"fc{i}", 40, "linear"),
                                                      plain(f"s{i}", "Activation", activation="sigmoid")))),
     THREE, "fc0"),
    ("bottleneck", healthy(dense("fc", 1)), THREE, "fc"),
    ("too-few-filters", chain(RESCALING, conv("c1", 2), conv("c2", 2), dense("fc", 32), dense("out", 3, "softmax")),
     THREE, "c1"),
    ("unscaled-input", healthy(first=()), THREE, "conv"),
    ("input-scaled-twice", healthy(), material(high=1.0, mean=0.4, deviation=0.2, preprocess=True), "rescaling"),
    ("input-scaled-twice", healthy(first=(RESCALING, plain("again", "Rescaling", scale=1 / 255, offset=0.0))), THREE,
     "again"),
    ("zero-variance-features", healthy(first=(plain("scale", "Rescaling", scale=1e-5, offset=1.0),)), THREE, "scale"),
    ("frozen-all", chain(RESCALING, conv("conv", 8, trainable=False), dense("out", 3, "softmax", trainable=False)),
     THREE, "out"),
    ("lr-too-high", healthy(learning_rate=0.5), THREE, None),
    ("lr-too-high", healthy(optimizer="RMSprop", learning_rate=0.1), THREE, None),
    ("lr-too-high", healthy(optimizer="SGD", learning_rate=2.0, momentum=0.9), THREE, None),
    ("lr-too-low", healthy(learning_rate=1e-7), THREE, None),
    ("lr-too-low", healthy(optimizer="SGD", learning_rate=1e-6), THREE, None),
    ("lr-too-low", healthy(optimizer="Adadelta", learning_rate=1e-3), THREE, None),
    ("clipnorm-too-small", healthy(optimizer="SGD", learning_rate=0.01, clipnorm=1e-4), THREE, None),
    ("clipnorm-too-small", healthy(optimizer="SGD", learning_rate=0.01, clipvalue=1e-6), THREE, None),
    ("clipnorm-too-small", healthy(clipnorm=1e-8), THREE, None),
    ("sum-not-mean-loss", healthy(optimizer="SGD", learning_rate=0.05, reduction="sum"), THREE, None),
    ("too-much-dropout", healthy(plain("drop", "Dropout", rate=0.95)), THREE, "drop"),
    ("too-much-dropout", healthy(plain("drop", "SpatialDropout2D", rate=0.8)), THREE, "drop"),
    ("too-strong-l2", healthy(dense("fc", 32, l2=1.0)), THREE, "fc"),
    ("too-strong-l2", healthy(dense("fc", 32, l1=0.05)), THREE, "fc"),
    ("too-strong-l2", healthy(optimizer="AdamW", weight_decay=10.0), THREE, None),
    ("excessive-augmentation",
     healthy(first=(RESCALING, plain("light", "RandomBrightness", augmentation={"factor": 0.2, "value_range": 255.0}))),
     THREE, "light"),
    ("excessive-augmentation",
     healthy(first=(RESCALING, plain("noise", "GaussianNoise", augmentation={"stddev": 3.0}))), THREE, "noise"),
    ("batchnorm-momentum",
     healthy(plain("bn", "BatchNormalization", momentum=0.999)), material(epochs=2), "bn"),
    ("majority-class", healthy(), material(class_weight={0: 100.0, 1: 0.1, 2: 0.1}), None),
]  # fmt: skip


@pytest.mark.parametrize(("code", "anatomy", "given", "layer"), CASES, ids=[f"{i}-{c[0]}" for i, c in enumerate(CASES)])
def test_the_fault_is_the_first_suspect(code: str, anatomy: Anatomy, given: DataSample, layer: str | None) -> None:
    first = lint(anatomy, given)[0]
    assert (first.code, first.layer) == (code, layer)
    assert first.score >= 0.5


@pytest.mark.parametrize(
    ("anatomy", "given"),
    [
        (healthy(), THREE),
        (chain(*NORMALIZED, dense("out", 3, "softmax")), THREE),  # raw pixels, but normalized at once
        (chain(plain("norm", "Normalization"), conv("conv", 8), dense("out", 3, "softmax")), THREE),
        (healthy(last=[dense("out", 1, "sigmoid")], loss="binary_crossentropy"), TWO),
        (healthy(last=[dense("out", 3, "linear")], from_logits=True), THREE),
        (healthy(from_logits=True), THREE),  # Keras takes the logits from before the softmax
        (healthy(flat("fc1"), flat("fc2")), THREE),
        (healthy(last=[dense("out", 3, "softmax", initializer="Zeros")]), THREE),  # the last layer alone may start at 0
        (healthy(plain("drop", "Dropout", rate=0.5)), THREE),
        (healthy(dense("fc", 64, l2=1e-3)), THREE),
        (healthy(optimizer="SGD", learning_rate=0.05, momentum=0.9), THREE),
        (healthy(optimizer="SGD", learning_rate=0.05, clipnorm=1.0), THREE),
        (healthy(plain("bn", "BatchNormalization", momentum=0.99)), material(epochs=60)),
        (healthy(), material(class_weight={0: 1.0, 1: 1.0, 2: 1.0})),
        (healthy(first=(plain("turn", "RandomRotation", augmentation={"factor": 0.1}), RESCALING)), THREE),
    ],
)
def test_a_sound_network_has_no_strong_suspect(anatomy: Anatomy, given: DataSample) -> None:
    strong = [cause for cause in lint(anatomy, given) if cause.score >= 0.5]
    assert strong == []


def test_every_code_is_named_once_and_known() -> None:
    found = lint(healthy(dense("fc", 1), dense("fc2", 1), learning_rate=1.0), material(labels="onehot"))
    codes = [cause.code for cause in found]
    assert len(set(codes)) == len(codes)
    assert set(codes) <= set(CAUSES)
    assert [cause.score for cause in found] == sorted((cause.score for cause in found), reverse=True)


@pytest.mark.parametrize(("blind", "least", "most"), [(False, 0.0, 0.2), (True, 0.8, 1.0)])
def test_a_softmax_before_logits_harms_only_a_loss_that_cannot_look_behind_it(
    blind: bool, least: float, most: float
) -> None:
    anatomy = healthy(loss="categorical_crossentropy", from_logits=True, blind=blind)
    found = {cause.code: cause.score for cause in lint(anatomy, material(labels="onehot"))}
    assert least <= found["double-softmax"] <= most


@pytest.mark.parametrize(
    ("kind", "mode", "moment"),
    [
        ("Dense", "fan_in", 2 / 64),
        ("Dense", "fan_out", 2 / 16),
        ("Dense", "fan_avg", 2 / 40),
        ("Conv2D", "fan_in", 2 / 64),
        ("Conv2D", "fan_out", None),  # the area of the kernel is not recorded
    ],
)
def test_variance_scaling_divides_by_the_fan_of_its_mode(kind: str, mode: str, moment: float | None) -> None:
    settings = {"scale": 2.0, "mode": mode, "distribution": "truncated_normal", "seed": None}
    layer = dense("layer", 16, fan_in=64, kind=kind, initializer="VarianceScaling", initializer_settings=settings)
    assert second_moment(layer) == moment
