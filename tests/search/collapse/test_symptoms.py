"""Ends that are not simply good, told from a collapse."""

import numpy as np
import pytest

from search.causes import SYMPTOMS
from search.collapse.symptoms import symptom

EVEN, ONE = [0.5, 0.5], [1.0, 0.0]


@pytest.mark.parametrize(
    ("skills", "end", "shares", "expected"),
    [
        ((0.1, 0.4, 0.5), {"score": 0.9, "auc": 0.95}, EVEN, None),
        ((0.0, 0.1, 0.1), {"score": 0.5, "auc": 0.8}, ONE, "threshold"),  # ranks, but never says the other class
        ((0.0, 0.0, 0.0), {"score": 0.5, "auc": 0.52}, ONE, "chance"),
        ((0.2, 0.3, 0.6), {"score": 0.9, "auc": 0.9, "stale_skill": -4.0}, EVEN, "batchnorm"),
        ((0.2, 0.3, 0.6), {"score": 0.9, "auc": 0.9, "stale_skill": 0.55}, EVEN, None),
        ((-1.0, -2.0, -3.0), {"score": 0.52, "auc": 0.52, "train_skill": 0.9}, EVEN, "memoriser"),
        ((0.0, 0.0, 0.0), {"score": 0.5, "auc": 0.55, "logit_spread": 0.2}, EVEN, "slow"),
    ],
)
def test_a_table_of_ends(curve, skills, end, shares, expected) -> None:
    fields = {name: [before, before, value] for name, value in end.items() for before in (BEFORE.get(name, value),)}
    checks = curve(skills, **fields)
    assert symptom(checks, np.tile(np.float32(shares), (3, 1)), 0.5) == expected


BEFORE = {"logit_spread": 0.05, "stale_skill": float("nan"), "train_skill": 0.0}


def test_a_class_that_is_never_said_is_a_symptom_among_several(curve) -> None:
    checks = curve([0.2, 0.3, 0.4], score=0.6, auc=0.9)
    assert symptom(checks, np.float32([[0.5, 0.5, 0.0]] * 3), 1 / 3) == "minority"
    assert symptom(checks, np.float32([[0.4, 0.5, 0.1]] * 3), 1 / 3) is None


def test_without_validation_images_there_is_nothing_to_say(stuck) -> None:
    assert symptom([], np.zeros((0, 2), np.float32), 0.5) is None
    assert symptom([stuck(1, val_skill=float("nan"))], np.zeros((1, 2), np.float32), 0.5) is None


def test_every_word_is_explained() -> None:
    assert set(SYMPTOMS) == {"threshold", "batchnorm", "slow", "memoriser", "minority", "chance"}
