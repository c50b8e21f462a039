"""What is suspected, from made-up signals: a table of stories, and promises about the list."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search.causes import CAUSES
from search.collapse.likely_causes import likely_causes
from search.fit_checks import LAYER_SIGNALS
from spaces.config import Configuration
from tests.factories import configuration

H = math.log(2)
HEALTHY = {
    "dead_share": 0.1,
    "zero_share": 0.4,
    "scale": 0.5,
    "weight_scale": 0.1,
    "update_ratio": 1e-3,
    "gradient": 1e-3,
    "zero_gradients": 0.0,
}
START = {"finite": 1.0, "loss": H, "top_share": 0.6, "logit_spread": 0.2}


def configured(**changes: Any) -> Configuration:
    return configuration(**{"depth": 4, "dense_ratio": 0.25, "dropout": 0.2, **changes})


def signals(rows: int = 4, **changes: Any) -> np.ndarray:
    """(rows, 5, signals): a healthy network; a change is a value, or one for each layer, or (rows, layers)."""
    values = np.zeros((rows, 5, len(LAYER_SIGNALS)), np.float32)
    for place, name in enumerate(LAYER_SIGNALS):
        values[:, :, place] = changes.get(name, HEALTHY[name])
    return values


ON_BACKBONE = {"backbone": "mobilenet_v2", "head": "average", "statistics": "kept"}
FADING = [1.0, 1e-1, 1e-2, 1e-4, 1e-5]
SHRINKING = np.array([1.0, 0.5, 0.1, 0.01])[:, None]
LATE = np.array([0.1, 0.2, 1.0, 1.0])[:, None]


@pytest.mark.parametrize(
    ("changes", "story", "first", "layer"),
    [
        ({}, {}, None, None),
        ({}, {"dead_share": [0.1, 1.0, 0.1, 0.1, 0.0]}, "dead-relu", "conv 2"),
        ({}, {"dead_share": LATE}, "dead-relu", "conv 1"),
        ({"initializer": "random_uniform"}, {"scale": FADING}, "bad-initializer", None),
        ({}, {"gradient": FADING[::-1]}, "vanishing-gradient", "conv 1"),
        ({}, {"scale": [1.0, 1e2, 1e4, 1e6, 1e7]}, "exploding-gradient", None),
        ({"learning_rate": 1e-7}, {"update_ratio": 1e-6}, "lr-too-low", None),
        ({"learning_rate": 0.5}, {"update_ratio": 0.3}, "lr-too-high", None),
        ({"optimizer": "sgd", "weight_decay": 0.1}, {"weight_scale": SHRINKING}, "too-strong-l2", None),
        ({"dropout": 0.7}, {}, "too-much-dropout", None),
        (ON_BACKBONE, {}, "frozen-backbone-batchnorm", "mobilenet_v2"),
        ({**ON_BACKBONE, "statistics": "re_estimated"}, {}, None, None),
        ({**ON_BACKBONE, "backbone": "convnext_tiny"}, {}, None, None),
    ],
)
def test_the_first_suspect_of_a_story(stuck, changes, story, first, layer) -> None:
    checks = [stuck(epoch) for epoch in (1, 2, 3)]
    found = likely_causes(configured(**changes), checks, signals(**story), START, H, 1.0)
    assert (found[0].code if found else None) == first
    assert (found[0].layer if found else None) == layer


def test_what_became_infinite_points_at_the_rate(stuck) -> None:
    checks = [stuck(1), stuck(2, finite=False, train_loss=math.nan)]
    found = likely_causes(configured(learning_rate=1.0), checks, signals(3), START, H, 1.0)
    assert [cause.code for cause in found] == ["lr-too-high", "nan"]


def test_weights_that_are_no_numbers_tell_nothing_of_what_pulled_them(stuck) -> None:
    pulled, broken = configured(optimizer="sgd", weight_decay=0.1), signals(weight_scale=np.full((4, 1), np.nan))
    found = likely_causes(pulled, [stuck(1), stuck(2)], broken, START, H, 1.0)
    assert "too-strong-l2" not in [cause.code for cause in found]


@pytest.mark.parametrize(
    ("weighting", "imbalance", "named"), [("none", 10.0, True), ("balanced", 10.0, False), ("none", 2.0, False)]
)
def test_a_frequent_class_is_a_cause_only_when_nothing_balances_it(stuck, weighting, imbalance, named) -> None:
    found = likely_causes(configured(class_weighting=weighting), [stuck(1)], signals(2), START, H, imbalance)
    assert ("majority-class" in [cause.code for cause in found]) == named


def test_layers_are_named_as_people_count_them() -> None:
    assert configured().layer_names == ("conv 1", "conv 2", "conv 3", "dense 1", "output")


ODD = (0.0, -1.0, 1e-30, 1e30, np.inf, -np.inf, np.nan, 0.5, 1.0)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(1e-5, 1.0))
def test_whatever_the_signals_the_list_is_ranked_known_and_without_repeats(seed, rate) -> None:
    layers = np.random.default_rng(seed).choice(ODD, (3, 5, 7)).astype(np.float32)
    found = likely_causes(configured(learning_rate=rate), [], layers, {"finite": 0.0}, H, 5.0)
    scores = [cause.score for cause in found]
    assert scores == sorted(scores, reverse=True)
    assert all(0 <= score <= 1 for score in scores)
    assert len({cause.code for cause in found}) == len(found)
    assert {cause.code for cause in found} <= set(CAUSES)
    assert all(math.isfinite(v) for cause in found for v in cause.evidence.values() if isinstance(v, float))
