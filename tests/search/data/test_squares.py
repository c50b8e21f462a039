from __future__ import annotations

import numpy as np

from search.data.squares import Squares
from search.selection.baselines import shrink


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
    np.testing.assert_allclose(shrink(squares, np.arange(7)), shrink(squares[:], np.arange(7)))  # type: ignore[arg-type]
