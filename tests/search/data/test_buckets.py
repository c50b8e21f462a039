"""A few shapes for images of every size."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.data.buckets import LEAST_SIDE, MOST, STRETCH, Squares, choose_buckets, nearest, stretch
from search.selection.baselines import shrink

sizes_of_images = st.lists(st.tuples(st.integers(1, 4000), st.integers(1, 4000)), min_size=1, max_size=60)


@pytest.mark.parametrize(
    ("sizes", "max_side", "shapes", "of"),
    [
        ([(64, 64)] * 3, 128, ((64, 64),), [0, 0, 0]),
        ([(640, 480), (480, 640)], 64, ((48, 64), (64, 48)), [0, 1]),
        ([(30, 30), (60, 60), (31, 30)], 128, ((30, 30), (60, 60)), [0, 1, 0]),
        ([(1000, 10)], 100, ((8, 100),), [0]),
        ([(2, 2)], 64, ((8, 8),), [0]),
    ],
    ids=["one size", "both ways up", "small and large", "thin", "tiny"],
)
def test_shapes_that_the_eye_can_check(sizes, max_side, shapes, of) -> None:
    found = choose_buckets(sizes, max_side=max_side)
    assert set(found) == set(shapes)
    assert [shapes.index(found[place]) for place in nearest(sizes, found)] == of


def test_thin_images_are_widened_for_networks_that_need_it() -> None:
    sizes = [(640, 200), (640, 200), (640, 480)]
    assert choose_buckets(sizes, max_side=64) == ((20, 64), (48, 64))
    found = choose_buckets(sizes, max_side=64, min_side=32)
    assert found == ((32, 64), (48, 64))
    assert nearest(sizes, found).tolist() == [0, 0, 1]
    assert stretch(sizes, found) == pytest.approx(1.6)
    assert choose_buckets(sizes, max_side=24, min_side=32) == ((24, 24),)


@given(sizes_of_images, st.integers(16, 256))
def test_few_shapes_none_too_large_and_none_unused_by_design(sizes, max_side) -> None:
    found = choose_buckets(sizes, max_side=max_side)
    assert 1 <= len(found) <= MOST
    assert all(LEAST_SIDE <= side <= max_side for shape in found for side in shape)


@given(st.lists(st.tuples(st.integers(60, 130), st.integers(60, 130)), min_size=1, max_size=60))
def test_the_aspect_ratio_is_kept_where_eight_shapes_can(sizes) -> None:
    found = choose_buckets(sizes, max_side=224)
    assert stretch(sizes, found) <= STRETCH * (1 + 2 / 60)  # sides are whole pixels


@given(sizes_of_images, st.randoms(use_true_random=False))
def test_the_order_of_images_decides_nothing(sizes, random) -> None:
    order = list(range(len(sizes)))
    random.shuffle(order)
    one, other = choose_buckets(sizes, max_side=96), choose_buckets([sizes[row] for row in order], max_side=96)
    assert one == other
    assert nearest(sizes, one)[order].tolist() == nearest([sizes[row] for row in order], other).tolist()


@given(st.lists(st.tuples(st.integers(8, 4000), st.integers(8, 4000)), min_size=1, max_size=60))
def test_more_aspect_ratios_than_shapes_are_stretched_as_little_as_so_few_can(sizes) -> None:
    """Against the best that ranges of equal width can do, found by trying all of them."""
    few = choose_buckets(sizes, max_side=4000, max_shapes=2)
    aspects = np.sort([math.log(w / h) for w, h in sizes])
    best = min(max(np.ptp(aspects[:cut]) if cut else 0, np.ptp(aspects[cut:]) if cut < len(aspects) else 0)
               for cut in range(len(aspects) + 1))  # fmt: skip
    rounding = 1 + 1 / LEAST_SIDE
    assert stretch(sizes, few) <= max(STRETCH, math.exp(best / 2)) * rounding**2


def test_real_looking_folders_keep_their_images() -> None:
    rng = np.random.default_rng(0)
    sizes = [(int(w), int(h)) for w, h in rng.integers(80, 225, (800, 2))]
    found = choose_buckets(sizes, max_side=224)
    shown = np.array(found)[nearest(sizes, found)]
    enlarged = shown.prod(axis=1) / np.prod(sizes, axis=1)
    assert stretch(sizes, found) < 1.3
    assert np.median(np.abs(np.log(enlarged))) < math.log(1.6)


def made() -> Squares:
    rng = np.random.default_rng(0)
    return Squares(rng.integers(0, 256, (7, 40, 40, 3), dtype=np.uint8), ((10, 40), (40, 20)), np.arange(7) % 2, 16)


def test_it_is_indexed_as_an_array_is() -> None:
    squares = made()
    every = squares[:]
    assert every.shape == squares.shape == (7, 16, 16, 3)
    assert every.dtype == np.uint8
    np.testing.assert_array_equal(squares[3], every[3])
    np.testing.assert_array_equal(squares[np.int64(3)], every[3])
    np.testing.assert_array_equal(squares[2:5], every[2:5])
    np.testing.assert_array_equal(squares[np.array([6, 0])], every[[6, 0]])
    assert squares[np.array([], np.int64)].shape == (0, 16, 16, 3)


def test_only_an_images_own_pixels_are_seen() -> None:
    pixels = np.zeros((2, 40, 40, 1), np.uint8)
    pixels[0, :10, :40] = 90
    pixels[1, :40, :20] = 200
    squares = Squares(pixels, ((10, 40), (40, 20)), np.array([0, 1]), 8)
    assert (squares[0] == 90).all()
    assert (squares[1] == 200).all()


def test_simple_methods_take_it_for_an_array() -> None:
    squares = made()
    np.testing.assert_allclose(shrink(squares, np.arange(7)), shrink(squares[:], np.arange(7)))
