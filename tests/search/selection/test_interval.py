from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm
from scipy.stats import t as student

from search.selection.bootstrap import draws
from search.selection.interval import between_repeats, evidence, images_needed


@pytest.mark.parametrize(
    ("value", "low", "baseline", "needed"),
    [(0.7, 0.6, 0.65, 400), (0.7, 0.6, 0.55, None), (0.6, 0.5, 0.65, None), (0.7, 0.6, 0.6999, None)],
)
def test_four_times_the_images_halve_the_interval(value, low, baseline, needed) -> None:
    assert images_needed(100, value, low, baseline) == needed


def test_without_a_mistake_a_hit_and_a_miss_are_added_to_each_class() -> None:
    labels = np.repeat([0, 1], [55, 55])
    known = evidence(labels, None, np.ones(110))
    share = 56 / 57
    assert known.least == pytest.approx([share * (1 - share) / 55] * 2)
    assert known.half(0.0, 0.0, "balanced_accuracy") == pytest.approx(
        student.ppf(0.975, 108) * np.sqrt(share * (1 - share) / 55 / 2)
    )


def test_groups_count_not_images() -> None:
    """Three groups a class of forty images each, all right: six things were seen, not 240."""
    labels, groups = np.repeat([0, 1], 120), np.repeat(np.arange(6), 40)
    alone, grouped = evidence(labels, None, np.ones(240)), evidence(labels, groups, np.ones(240))
    assert grouped.units.tolist() == [3, 3]
    assert grouped.half(0.0, 0.0, "balanced_accuracy") > 10 * alone.half(0.0, 0.0, "balanced_accuracy")
    assert grouped.half(0.0, 0.0, "mcc") == pytest.approx(2 * grouped.half(0.0, 0.0, "balanced_accuracy"))


def test_skill_has_no_end_and_no_least_variance() -> None:
    assert evidence(np.repeat([0, 1], 20), None, np.ones(40)).half(0.0, 0.0, "skill") == 0.0


@pytest.mark.parametrize("groups_a_class", [4, 8])
def test_few_groups_are_covered(groups_a_class: int) -> None:
    """Groups are right or wrong as a whole but for noise; the truth lies in the interval in nine studies of ten."""
    labels = np.repeat([0, 1], groups_a_class * 10)
    groups = np.repeat(np.arange(2 * groups_a_class), 10)
    rng, covered = np.random.default_rng(0), 0
    for _ in range(200):
        ease = 0.8 * rng.standard_normal(2 * groups_a_class)[groups]
        right = (0.6 + ease + 0.6 * rng.standard_normal(len(labels)) > 0).astype(float)
        weights = draws(labels, groups, 200, rng)
        drawn = np.mean(
            [(weights[:, labels == k] @ right[labels == k]) / weights[:, labels == k].sum(1) for k in (0, 1)], 0
        )
        value = np.mean([right[labels == k].mean() for k in (0, 1)])
        half = evidence(labels, groups, right).half(float(drawn.var(ddof=1)), 0.0, "balanced_accuracy")
        covered += abs(value - norm.cdf(0.6)) <= half
    assert 0.91 <= covered / 200 <= 1.0


def test_the_variance_between_repeats_is_shrunk_towards_that_of_all() -> None:
    scores = np.array([[0.7, 0.7, 0.7], [0.6, 0.7, 0.8]])
    assert between_repeats(scores) == pytest.approx((2 * 0.0 + 4 * 0.005) / 6)
