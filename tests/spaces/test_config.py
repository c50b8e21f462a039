"""A configuration checks itself, and equal networks have equal hashes."""

from dataclasses import replace
from typing import Any

import pytest

from spaces.config import Configuration, ConfigurationError, checked
from spaces.presets import KNOWN_GOOD

CONV, MLP = KNOWN_GOOD[0], KNOWN_GOOD[5]


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
    ],
)
def test_equal_networks_have_equal_hashes(base: Configuration, changes: dict[str, Any], same: bool) -> None:
    other = replace(base, **changes)
    assert (other.hash == base.hash) is same
    assert (other.canonical() == base.canonical()) is same


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("depth", 13, "depth lies between 1 and 12; got 13"),
        ("depth", float("inf"), "depth lies between 1 and 12; got inf"),
        ("dropout", float("nan"), "dropout lies between 0 and 0.9; got nan"),
        ("depth", True, "depth is a number; got True"),
        ("width", "16", "width is a number; got '16'"),
        ("activation", ["relu"], "activation is one of relu, .*; got \\['relu'\\]"),
        ("vertical_flip", 0, "vertical_flip is true or false; got 0"),
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
    with pytest.raises(ConfigurationError, match="needs head 'average' or 'max', got 'flatten'"):
        replace(CONV, head="flatten")
