"""A pyramid's maxima against a loop over the parts, and what is trained against what is delivered."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from search.training.pyramid import Pyramid, delivered


def parts(side: int, finest: int, *, whole: bool) -> list[list[slice]]:
    """Pixels of each part of each level: those wholly inside, or all that it touches (He et al., 2015)."""
    levels = [2**power for power in range(int(np.log2(finest)) + 1)]
    inward, outward = (np.ceil, np.floor) if whole else (np.floor, np.ceil)
    return [[slice(int(inward(i * side / n)), int(outward((i + 1) * side / n))) for i in range(n)] for n in levels]


def exact(maps: np.ndarray, finest: int, *, whole: bool = False) -> np.ndarray:
    """Spatial pyramid pooling by a loop, (n, features); -inf where no pixel lies wholly in a part."""
    values = [
        maps[:, y, x].max(axis=(1, 2), initial=-np.inf)
        for rows, columns in zip(
            parts(maps.shape[1], finest, whole=whole), parts(maps.shape[2], finest, whole=whole), strict=True
        )
        for y in rows
        for x in columns
    ]
    return np.concatenate(values, axis=1)


BUILT = [lambda finest, filters: Pyramid(finest), delivered]


@pytest.mark.parametrize("built", BUILT, ids=["trained", "delivered"])
@pytest.mark.parametrize(("finest", "height", "width"), [(2, 2, 8), (4, 8, 16), (8, 8, 8), (8, 16, 32)])
def test_a_pyramid_of_maps_that_divide_evenly_is_exact(built, finest, height, width) -> None:
    maps = np.random.default_rng(0).normal(size=(3, height, width, 5)).astype(np.float32)
    np.testing.assert_array_equal(built(finest, 5)(maps), exact(maps, finest))


@pytest.mark.parametrize("built", BUILT, ids=["trained", "delivered"])
@pytest.mark.parametrize("finest", [2, 4, 8])
def test_a_pyramid_of_any_map_lies_between_the_pixels_inside_a_part_and_those_it_touches(built, finest) -> None:
    pool, rng = built(finest, 2), np.random.default_rng(1)
    for height, width in rng.integers(1, 33, (12, 2)):
        maps = rng.normal(size=(2, height, width, 2)).astype(np.float32)
        pooled = np.asarray(pool(maps))
        assert (pooled <= exact(maps, finest)).all()
        assert (pooled >= exact(maps, finest, whole=True)).all()


def gradient(layer, maps: np.ndarray, along: np.ndarray) -> np.ndarray:
    x = tf.Variable(maps)
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(layer(x) * along)
    return tape.gradient(total, x).numpy()


@pytest.mark.parametrize("finest", [2, 4, 8])
def test_what_is_trained_and_what_is_delivered_give_the_same_numbers_and_gradients(finest) -> None:
    ours, theirs, rng = Pyramid(finest), delivered(finest, 2), np.random.default_rng(2)
    for height, width in [(1, 1), (32, 32), (3, 24), *rng.integers(1, 33, (8, 2))]:
        maps = rng.normal(size=(2, height, width, 2)).astype(np.float32)
        pooled = ours(maps)
        np.testing.assert_array_equal(pooled, theirs(maps))
        along = rng.normal(size=pooled.shape).astype(np.float32)
        np.testing.assert_allclose(gradient(ours, maps, along), gradient(theirs, maps, along), atol=1e-5)


def test_one_trace_serves_maps_of_every_size() -> None:
    layer = Pyramid(4)
    pool = tf.function(lambda x: layer(x), input_signature=[tf.TensorSpec([None, None, None, 3])])
    for side in (1, 7, 32):
        maps = np.random.default_rng(0).normal(size=(2, side, 5, 3)).astype(np.float32)
        np.testing.assert_array_equal(pool(maps), delivered(4, 3)(maps))
    assert pool.experimental_get_tracing_count() == 1
