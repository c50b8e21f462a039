import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search.data.folds import Fold, fold_warnings, make_folds
from search.errors import DataError

few = settings(max_examples=15)
seeds = st.integers(0, 1000)
numbers_of_folds = st.integers(2, 5)


def array(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.int64)


@st.composite
def labellings(draw: st.DrawFn) -> np.ndarray:
    """Two to four classes of 5 to 20 images, shuffled."""
    counts = draw(st.lists(st.integers(5, 20), min_size=2, max_size=4))
    return np.random.default_rng(draw(seeds)).permutation(np.repeat(np.arange(len(counts)), counts)).astype(np.int64)


@st.composite
def grouped(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Two or three classes of 6 to 10 groups of 1 to 4 images each, shuffled."""
    labels, groups = [], []
    for label, count in enumerate(draw(st.lists(st.integers(6, 10), min_size=2, max_size=3))):
        for _ in range(count):
            size = draw(st.integers(1, 4))
            groups += [max(groups, default=-1) + 1] * size
            labels += [label] * size
    order = np.random.default_rng(draw(seeds)).permutation(len(labels))
    return np.array(labels, np.int64)[order], np.array(groups, np.int64)[order]


def same(one: tuple[Fold, ...], other: tuple[Fold, ...]) -> bool:
    return all(
        np.array_equal(a.val, b.val) and np.array_equal(a.train, b.train) for a, b in zip(one, other, strict=True)
    )


def check_partition(folds: tuple[Fold, ...], rows: int) -> None:
    assert sorted(np.concatenate([fold.val for fold in folds])) == list(range(rows))
    for fold in folds:
        assert sorted([*fold.train, *fold.val]) == list(range(rows))
        assert np.all(np.diff(fold.train) > 0)
        assert np.all(np.diff(fold.val) > 0)
        assert fold.train.dtype == fold.val.dtype == np.int64


@few
@given(labels=labellings(), folds=numbers_of_folds, seed=seeds)
def test_folds_partition_the_rows_and_keep_the_shares_within_one_image(labels, folds, seed) -> None:
    result = make_folds(labels, folds=folds, seed=seed)
    assert len(result) == folds
    check_partition(result, len(labels))
    for label in np.unique(labels):
        parts = [np.sum(labels[fold.val] == label) for fold in result]
        assert max(parts) - min(parts) <= 1


@few
@given(data=grouped(), folds=numbers_of_folds, seed=seeds)
def test_groups_stay_together(data, folds, seed) -> None:
    labels, groups = data
    result = make_folds(labels, folds=folds, seed=seed, groups=groups)
    check_partition(result, len(labels))
    for fold in result:
        assert not set(groups[fold.train]) & set(groups[fold.val])


@few
@given(labels=labellings(), folds=numbers_of_folds, seed=seeds)
def test_renumbering_the_classes_keeps_the_folds(labels, folds, seed) -> None:
    renumbered = labels.max() - labels
    assert same(make_folds(labels, folds=folds, seed=seed), make_folds(renumbered, folds=folds, seed=seed))


@few
@given(data=grouped(), folds=numbers_of_folds, seed=seeds)
def test_same_seed_same_folds(data, folds, seed) -> None:
    labels, groups = data
    for given_groups in (None, groups):
        one, other = (make_folds(labels, folds=folds, seed=seed, groups=given_groups) for _ in range(2))
        assert same(one, other)


def test_another_seed_gives_other_folds() -> None:
    labels = np.repeat(np.arange(2), 20)
    assert not same(make_folds(labels, folds=5, seed=0), make_folds(labels, folds=5, seed=1))


@pytest.mark.parametrize(
    ("labels", "groups", "folds", "message"),
    [
        (array(0, 0, 1, 1), None, 1, "at least 2 folds, got 1"),
        (array(0, 0, 0, 1, 1), None, 3, r"class 'dog' has 2 readable image\(s\), but 3 folds .* or pass --folds 2"),
        (
            array(0, 0, 1),
            None,
            2,
            r"class 'dog' has 1 readable image\(s\), but 2 folds need at least 2\. Add images\.$",
        ),
        (array(0, 0, 1, 1), array(0, 1, 2, 2), 2, "all images of class 'dog' are in one group"),
        (array(0, 0, 0, 1, 1, 1), array(0, 0, 1, 0, 0, 1), 3, r"there are 2 groups, but 3 folds .* --folds 2"),
    ],
    ids=["one fold", "two images", "one image", "one group", "few groups"],
)
def test_what_cannot_be_split(labels, groups, folds: int, message: str) -> None:
    with pytest.raises(DataError, match=message):
        make_folds(labels, folds=folds, seed=0, groups=groups, class_names=["cat", "dog"])


def test_a_training_part_without_a_class_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = [(array(0, 1), array(2, 3)), (array(2, 3), array(0, 1))]
    monkeypatch.setattr("sklearn.model_selection.StratifiedGroupKFold.split", lambda *_: iter(parts))
    with pytest.raises(DataError, match="training part of fold 1 of 2 has no image of class 'dog'"):
        make_folds(array(0, 0, 1, 1), folds=2, seed=0, groups=array(0, 1, 2, 3), class_names=["cat", "dog"])


def test_a_validation_part_without_a_class_is_told() -> None:
    labels = array(0, 0, 0, 1, 1, 1)
    folds = make_folds(labels, folds=3, seed=0, groups=array(0, 1, 2, 3, 3, 4), class_names=["cat", "dog"])
    lacking = [number for number, fold in enumerate(folds, start=1) if not np.any(labels[fold.val] == 1)]
    told = fold_warnings(labels, folds, ["cat", "dog"])
    assert len(lacking) == 1
    assert len(told) == 1
    assert told[0].startswith(f"The validation part of fold {lacking[0]} of 3 has no image of class 'dog'")


def test_nothing_to_tell_when_every_class_is_validated() -> None:
    labels = np.repeat(np.arange(3), 5)
    assert fold_warnings(labels, make_folds(labels, folds=5, seed=0), ["a", "b", "c"]) == []


@pytest.mark.parametrize("groups", [None, np.arange(60) // 3])
def test_kept_folds_are_those_made_anew(tmp_path, monkeypatch, groups) -> None:
    monkeypatch.setenv("STEADYNET_CACHE", str(tmp_path))
    labels = np.repeat([0, 1, 2], 20)
    made = make_folds(labels, folds=4, seed=3, groups=groups)
    for _ in range(2):  # made and kept, then taken from there
        kept = make_folds(labels, folds=4, seed=3, groups=groups, cached=True)
        for one, other in zip(made, kept, strict=True):
            np.testing.assert_array_equal(one.train, other.train)
            np.testing.assert_array_equal(one.val, other.val)
        assert len(list(tmp_path.glob("*.folds.json"))) == 1
    make_folds(labels, folds=5, seed=3, groups=groups, cached=True)
    assert len(list(tmp_path.glob("*.folds.json"))) == 2


@pytest.mark.parametrize(
    "planted",
    [
        [0, 1, 2, 3] * 15,  # which parts groups
        [0] * 60,
        [0, 1, 2, 9] * 15,
        [0, 1, 2],
        [0.5] * 60,
        ["a"] * 60,
        [[0]] * 60,
        {"0": 1},
        "no list",
        None,
    ],
)
def test_folds_that_somebody_planted_in_the_cache_are_made_anew(tmp_path, monkeypatch, planted: object) -> None:
    monkeypatch.setenv("STEADYNET_CACHE", str(tmp_path))
    labels, groups = np.repeat([0, 1, 2], 20), np.arange(60) // 3
    made = make_folds(labels, folds=4, seed=3, groups=groups, cached=True)
    (entry,) = tmp_path.glob("*.folds.json")
    sound = entry.read_text()
    entry.write_text(json.dumps(planted))
    again = make_folds(labels, folds=4, seed=3, groups=groups, cached=True)
    for one, other in zip(made, again, strict=True):
        np.testing.assert_array_equal(one.val, other.val)
    assert entry.read_text() == sound
