from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search.data.folds import make_folds
from search.data.fresh_splits import fresh_count, fresh_folds, smallest_part
from search.data.groups import strata
from search.errors import DataError


def partition(folds):
    return frozenset(frozenset(fold.val.tolist()) for fold in folds)


def tiles(per_class: int, classes: int = 3, images: int = 4):
    """Equally large groups of images, none in two classes."""
    groups = np.repeat(np.arange(per_class * classes), images)
    return groups // per_class, groups


@pytest.mark.parametrize(
    ("groups_a_class", "folds", "expected"),
    [
        (None, 5, 5),
        (10, 5, 5),
        (9, 5, 4),
        (5, 5, 4),
        (4, 5, 3),
        (3, 5, 2),
        (2, 5, 2),
        (4, 2, 2),
        (3, 2, 2),
        (30, 10, 10),
    ],
)
def test_few_groups_take_fewer_folds(groups_a_class, folds, expected):
    labels, groups = tiles(groups_a_class or 10)
    assert fresh_count(labels, groups if groups_a_class else None, folds) == expected


def test_few_groups_of_one_size_are_split_anew_each_time():
    """Five tiles a class, as of magnetic defects: scikit-learn's splitter finds one way to split them, ours many."""
    labels, groups = tiles(5, classes=6)
    theirs = {partition(make_folds(labels, folds=5, seed=seed, groups=groups)) for seed in range(6)}
    ours = {
        partition(fresh_folds(labels, groups, folds=fresh_count(labels, groups, 5), seed=0, repeat=repeat))
        for repeat in range(6)
    }
    tiles_apart = {tuple(sorted(len(np.unique(groups[list(val)])) for val in split)) for split in theirs}
    assert tiles_apart == {(6, 6, 6, 6, 6)}
    assert len(ours) == 6


def test_repeats_differ_without_groups():
    labels = np.repeat([0, 1], [8, 12])
    assert len({partition(fresh_folds(labels, None, folds=4, seed=0, repeat=repeat)) for repeat in range(8)}) == 8


def test_a_repeat_is_the_same_in_every_session_and_another_seed_gives_another():
    labels, groups = tiles(6)
    once, again = (fresh_folds(labels, groups, folds=3, seed=1, repeat=2) for _ in range(2))
    assert partition(once) == partition(again)
    assert partition(once) != partition(fresh_folds(labels, groups, folds=3, seed=2, repeat=2))


@given(
    sizes=st.lists(st.tuples(st.integers(0, 2), st.integers(1, 5)), min_size=4, max_size=30),
    folds=st.integers(2, 4),
    repeat=st.integers(0, 3),
)
@settings(max_examples=60)
def test_every_image_is_held_back_once_and_no_group_is_on_both_sides(sizes, folds, repeat):
    labels = np.concatenate([np.full(size, label) for label, size in sizes])
    groups = np.repeat(np.arange(len(sizes)), [size for _, size in sizes])
    labels = np.unique(labels, return_inverse=True)[1]
    try:
        split = fresh_folds(labels, groups, folds=folds, seed=0, repeat=repeat)
    except DataError:
        assert min(np.bincount(labels)) < folds or min(len(np.unique(groups[labels == k])) for k in set(labels)) < folds
        return
    assert np.array_equal(np.sort(np.concatenate([fold.val for fold in split])), np.arange(len(labels)))
    for fold in split:
        assert not set(groups[fold.train]) & set(groups[fold.val])
        assert set(labels[fold.train]) == set(labels)
        assert np.array_equal(np.sort(np.concatenate([fold.train, fold.val])), np.arange(len(labels)))


def test_classes_are_spread_evenly():
    labels, groups = tiles(12, classes=2)
    for fold in fresh_folds(labels, groups, folds=4, seed=0, repeat=0):
        assert np.bincount(labels[fold.val]).tolist() == [12, 12]


def test_groups_of_mixed_labels_count_for_the_class_of_most_of_their_images():
    labels = np.array([0, 0, 1, 1, 1, 0, 0, 1])
    unit, stratum = strata(labels, np.array([7, 7, 7, 3, 3, 3, 5, 5]))
    assert unit.tolist() == [2, 2, 2, 0, 0, 0, 1, 1]
    assert stratum.tolist() == [1, 0, 0]  # a draw goes to the rarer class; here both have four: the first


def test_the_smallest_part_is_of_a_fresh_split_where_groups_are_few():
    """Three groups a class: the search's folds train on two of three groups, fresh halves on three of six."""
    labels, groups = tiles(3, classes=2, images=10)
    folds = make_folds(labels, folds=3, seed=0, groups=groups)
    assert min(len(fold.train) for fold in folds) == 40
    assert smallest_part(labels, groups, folds, seed=0, repeats=5) == 30
    plain = make_folds(labels, folds=3, seed=0)
    assert smallest_part(labels, None, plain, seed=0, repeats=5) == 40
