"""Images that show the same are found, others are not; what they become as groups."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageEnhance, ImageFilter

from search.data import duplicates
from search.data.duplicates import ALWAYS, Cluster, clusters, crossing, hashes, join_copies


def scene(seed: int) -> Image.Image:
    """A smooth picture with edges, as photographs are."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (9, 9), np.uint8)).resize((200, 160), Image.Resampling.BICUBIC)
    for _ in range(4):
        x, y, size = (int(value) for value in rng.integers((0, 0, 20), (150, 110, 60)))
        coarse.paste(int(rng.integers(256)), (x, y, x + size, y + size))
    return coarse.filter(ImageFilter.GaussianBlur(1))


def grey(*pictures: Image.Image) -> np.ndarray:
    return np.stack(
        [np.asarray(picture.convert("L").resize((64, 64), Image.Resampling.BILINEAR)) for picture in pictures]
    )


def encoded(picture: Image.Image, quality: int) -> Image.Image:
    buffer = BytesIO()
    picture.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer)


COPIES = {
    "another quality": lambda picture: encoded(picture, 40),
    "smaller": lambda picture: picture.resize((120, 96)),
    "brighter": lambda picture: ImageEnhance.Brightness(picture).enhance(1.1),
    "more contrast": lambda picture: ImageEnhance.Contrast(picture).enhance(1.2),
}
OTHERS = {
    "another picture": lambda picture: scene(99),
    "mirrored": lambda picture: picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    "a part of it": lambda picture: picture.crop((40, 30, 160, 130)),
    "negative": lambda picture: Image.eval(picture, lambda value: 255 - value),
}


@pytest.mark.parametrize("change", COPIES.values(), ids=COPIES)
def test_a_changed_copy_is_found(change) -> None:
    for seed in range(5):
        assert clusters("ab", grey(scene(seed), change(scene(seed)))) == [Cluster((0, 1), ())]


@pytest.mark.parametrize("change", OTHERS.values(), ids=OTHERS)
def test_what_is_no_copy_is_left_alone(change) -> None:
    for seed in range(5):
        assert clusters("ab", grey(scene(seed), change(scene(seed)))) == []


def test_the_same_bytes_are_the_same_whatever_they_show() -> None:
    blank = Image.new("L", (64, 64), 90)
    found = clusters(["x", "y", "x", "z", "x"], grey(blank, scene(1), blank, blank, blank))
    assert found == [Cluster((0, 2, 4), ((0, 2, 4),))]
    assert found[0].exact


def test_a_cluster_tells_which_of_it_have_the_same_bytes() -> None:
    one = scene(3)
    found = clusters(["x", "x", "y"], grey(one, one, encoded(one, 60)))
    assert found == [Cluster((0, 1, 2), ((0, 1),))]
    assert not found[0].exact


def test_blank_images_are_no_copies_of_each_other() -> None:
    rng = np.random.default_rng(0)
    assert clusters("abc", rng.integers(118, 122, (3, 64, 64), np.uint8)) == []


def test_each_of_a_cluster_is_a_copy_of_each_other() -> None:
    """A chain that drifts from one scene to another is cut where its ends differ too much."""
    first, last = (np.asarray(scene(seed), np.float32) for seed in (1, 2))
    chain = grey(*(Image.fromarray((first + (last - first) * t / 40).astype(np.uint8)) for t in range(41)))
    found = clusters([str(row) for row in range(41)], chain)
    assert len(found) > 2
    flat = chain.reshape(41, -1).astype(float)
    for cluster in found:
        assert np.corrcoef(flat[list(cluster.rows)]).min() >= 0.98 - 1e-6


def test_copies_in_another_set() -> None:
    own = grey(*(scene(seed) for seed in range(6)))
    other = grey(encoded(scene(4), 50), scene(77), encoded(scene(1), 50))
    assert sorted(crossing(own, other)) == [(1, 2), (4, 0)]


def test_a_hash_knows_nothing_of_brightness() -> None:
    one = hashes(grey(scene(1)))
    assert one.shape == (1, 256)
    darker = hashes(grey(ImageEnhance.Brightness(scene(1)).enhance(0.7)))
    assert (one != darker).sum() <= 8


LABELS = np.array([0] * 30 + [1] * 30)


@pytest.mark.parametrize(
    ("rows", "given_", "expected"),
    [
        ([], None, None),
        ([(3, 5)], None, {3, 5}),
        ([(3, 40)], None, {3, 40}),  # of two classes: kept together all the same
        ([(0, 1), (10, 11)], np.arange(60) // 2, {0, 1}),
        ([(1, 2)], np.arange(60) // 2, {0, 1, 2, 3}),  # two of the user's groups become one
    ],
)
def test_what_shows_the_same_is_one_group(rows, given_, expected) -> None:
    units, large = join_copies([Cluster(one, ()) for one in rows], LABELS, given_)
    assert large == []
    if expected is None:
        assert units is None
    else:
        assert set(np.flatnonzero(units == units[min(expected)]).tolist()) == expected


def test_a_cluster_that_is_much_of_a_class_is_left_out() -> None:
    many = Cluster(tuple(range(ALWAYS + 1)), ())
    assert join_copies([many], LABELS, None) == (None, [many])
    fewer = Cluster(tuple(range(ALWAYS)), ())
    assert join_copies([fewer], LABELS, None)[1] == []
    of_a_large_class = np.zeros(1000, np.int64)
    assert join_copies([Cluster(tuple(range(50)), ())], of_a_large_class, None)[1] == []
    assert len(join_copies([Cluster(tuple(range(51)), ())], of_a_large_class, None)[1]) == 1


@given(
    st.lists(st.sets(st.integers(0, 19), min_size=2, max_size=4), max_size=8),
    st.none() | st.lists(st.integers(0, 5), min_size=20, max_size=20),
)
def test_groups_are_the_connected_parts(found, given_) -> None:
    own = None if given_ is None else np.array(given_)
    units, _ = join_copies([Cluster(tuple(sorted(one)), ()) for one in found], np.zeros(20, np.int64), own)
    sets = [set(one) for one in found]
    sets += [] if own is None else [set(np.flatnonzero(own == name).tolist()) for name in set(given_)]
    parts = [{row} for row in range(20)]  # the brute-force way
    for one in sets:
        touched = [part for part in parts if part & one]
        parts = [part for part in parts if not part & one] + [set().union(*touched)]
    if units is None:
        assert not sets
    else:
        assert {frozenset(np.flatnonzero(units == unit).tolist()) for unit in set(units.tolist())} == set(
            map(frozenset, parts)
        )


@pytest.mark.parametrize("block", [7, 64])
def test_a_still_camera_is_one_cluster_however_the_pictures_are_compared(
    block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two scenes of many frames each, and pictures of their own between them."""
    monkeypatch.setattr(duplicates, "_BLOCK", block)
    rng = np.random.default_rng(3)
    scenes = grey(scene(1), scene(2)).astype(np.int64)
    frames = [np.clip(scenes[row % 2] + rng.integers(-2, 3, (64, 64)), 0, 255) for row in range(60)]
    every = np.concatenate([np.stack(frames).astype(np.uint8), grey(*(scene(seed) for seed in range(10, 30)))])
    found = clusters([f"{row}" for row in range(len(every))], every)
    assert [one.rows for one in found] == [tuple(range(0, 60, 2)), tuple(range(1, 60, 2))]
    pairs = crossing(every[:40], every[40:])
    assert sorted(pairs) == [(i, j) for i in range(40) for j in range(20) if i % 2 == j % 2]


def test_a_film_of_more_frames_than_are_compared_at_once_is_cut_between_its_moments(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As if all had been compared with all, though files come in no order."""
    wide = scene(5).resize((400, 160))
    moments = np.random.default_rng(0).permutation(120)
    frames = grey(*(wide.crop((moment // 2, 0, moment // 2 + 200, 160)) for moment in moments))
    names = [str(row) for row in range(120)]
    whole = clusters(names, frames)
    monkeypatch.setattr(duplicates, "_MOST_TOGETHER", 30)
    parts = clusters(names, frames)

    def together(found: list[Cluster]) -> int:
        of = {int(moments[row]): number for number, one in enumerate(found) for row in one.rows}
        return sum(of.get(moment) == of.get(moment + 1, -1) for moment in range(119))

    assert together(whole) > 100
    assert together(parts) > 0.95 * together(whole)
