"""A configuration checks itself, and equal networks have equal hashes."""

from dataclasses import replace
from typing import Any

import pytest

from spaces.config import Configuration, ConfigurationError, checked
from spaces.presets import KNOWN_GOOD

CONV, MLP = KNOWN_GOOD[2], KNOWN_GOOD[5]
FROZEN = replace(CONV, backbone="resnet50")
TUNED = replace(FROZEN, trainable="all")


@pytest.mark.parametrize(
    ("base", "changes", "same"),
    [
        (CONV, {"dense_units": 256}, True),  # no dense layer
        (CONV, {"weight_decay": 0.5}, True),  # adam has none
        (CONV, {"dense_ratio": 0.1}, True),  # still no dense layer
        (CONV, {"shift": -0.0}, True),
        (CONV, {"width": 32}, False),
        (CONV, {"head": "max"}, False),
        (CONV, {"optimizer": "sgd"}, False),
        (MLP, {"width": 32, "kernel_size": 5, "head": "max"}, True),  # no convolution
        (MLP, {"dense_ratio": 0.8}, True),  # two dense layers either way
        (MLP, {"dense_units": 16}, False),
        (MLP, {"depth": 3}, False),
        (CONV, {"trainable": "all", "statistics": "adapted", "backbone_rate": 0.5}, True),  # no backbone
        (FROZEN, {"width": 32, "kernel_size": 5, "input_scaling": "unit", "depth": 7}, True),  # no convolution of ours
        (FROZEN, {"normalization": "batch", "activation": "elu"}, True),  # no dense layer
        (FROZEN, {"shift": 0.1, "backbone_rate": 1.0}, True),  # run once, and at rest
        (FROZEN, {"horizontal_flip": True}, False),
        (FROZEN, {"statistics": "re_estimated"}, False),
        (FROZEN, {"dense_ratio": 1.0}, False),
        (replace(FROZEN, dense_ratio=1.0), {"depth": 9}, True),  # two dense layers at most
        (TUNED, {"shift": 0.1}, False),
        (TUNED, {"backbone_rate": 1.0}, False),
        (replace(TUNED, backbone="convnext_tiny"), {"statistics": "adapted"}, True),  # it has no batch normalization
    ],
)
def test_equal_networks_have_equal_hashes(base: Configuration, changes: dict[str, Any], same: bool) -> None:
    other = replace(base, **changes)
    assert (other.hash == base.hash) is same
    assert (other.canonical() == base.canonical()) is same


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("depth", 13, "depth must lie between 1 and 12, got 13"),
        ("depth", float("inf"), "depth must lie between 1 and 12, got inf"),
        ("dropout", float("nan"), "dropout must lie between 0 and 0.9, got nan"),
        ("depth", True, "depth must be a number, got True"),
        ("width", "16", "width must be a number, got '16'"),
        ("activation", ["relu"], "activation must be one of relu, .*, got \\['relu'\\]"),
        ("vertical_flip", 0, "vertical_flip must be true or false, got 0"),
    ],
)
def test_bad_values_are_named(name: str, value: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        checked(name, value)
    with pytest.raises(ConfigurationError, match=message):
        replace(CONV, **{name: value})


def test_fields_that_contradict_each_other() -> None:
    with pytest.raises(ConfigurationError, match="normalization 'batch' needs batch_size >= 4, got 2"):
        replace(CONV, normalization="batch", batch_size=2)
    with pytest.raises(ConfigurationError, match="needs a head that pools, such as 'average', got 'flatten'"):
        replace(CONV, head="flatten")
    with pytest.raises(
        ConfigurationError, match="head must be one of average, max, average_and_middle on a backbone, got 'flatten'"
    ):
        replace(FROZEN, head="flatten")
    with pytest.raises(ConfigurationError, match="statistics 'adapted' needs batch_size >= 4, got 2"):
        replace(TUNED, statistics="adapted", batch_size=2)


@pytest.mark.parametrize(
    ("changes", "embeds", "normalized"),
    [
        ({"backbone": "none"}, False, False),
        ({}, True, False),
        ({"statistics": "re_estimated"}, False, False),
        ({"statistics": "adapted"}, False, True),
        ({"backbone": "convnext_tiny", "statistics": "adapted"}, True, False),
        ({"trainable": "last_block"}, False, False),
        ({"normalization": "batch"}, True, False),
        ({"normalization": "batch", "dense_ratio": 1.0}, True, True),
    ],
)
def test_what_runs_once_and_what_batches_normalize(changes: dict[str, Any], embeds: bool, normalized: bool) -> None:
    one = replace(FROZEN, **changes)
    assert (one.embeds, one.normalized) == (embeds, normalized)
