"""Scaling and augmentation: known draws against NumPy, random draws against what they promise."""

import numpy as np
import pytest
import tensorflow as tf

from search.training import pixels

ALL = {
    "horizontal_flip": True,
    "vertical_flip": True,
    "shift": 0.2,
    "zoom": 0.2,
    "shear": 10.0,
    "rotation": 15.0,
}
ANGLE, SHEAR, ZOOM, HORIZONTAL, VERTICAL, SHIFT_X, SHIFT_Y = range(7)


@pytest.fixture
def photographs() -> np.ndarray:
    """`(6, 16, 16, 3)` float32, 50 to 200, smooth from pixel to pixel as photographs are."""
    coarse = np.random.default_rng(0).uniform(50, 200, (6, 4, 4, 3)).astype(np.float32)
    return tf.image.resize(coarse, (16, 16)).numpy()


@pytest.fixture
def drawn(monkeypatch):
    """Have all random draws come out as given; the others are 0 (and flip nothing)."""

    def give(**draws: float) -> None:
        values = np.zeros(7)
        for name, value in draws.items():
            values[globals()[name]] = value
        given = lambda shape, *_: tf.tile(tf.constant(values, tf.float32)[:, None], [1, shape[1]])  # noqa: E731
        monkeypatch.setattr(tf.random, "stateless_uniform", given)

    return give


def augmented(images: np.ndarray, configuration, seed: tuple[int, int] = (1, 2)) -> np.ndarray:
    return pixels.augment(tf.constant(images), configuration, tf.constant(seed, tf.int32)).numpy()


def test_nothing_asked_nothing_changed(make_configuration, photographs) -> None:
    configuration = make_configuration()
    assert not pixels.augments(configuration)
    np.testing.assert_array_equal(augmented(photographs, configuration), photographs)


@pytest.mark.parametrize("name", ALL)
def test_each_alone_changes_images(make_configuration, photographs, name) -> None:
    configuration = make_configuration(**{name: ALL[name]})
    assert pixels.augments(configuration)
    assert not np.allclose(augmented(photographs, configuration), photographs, atol=1)


@pytest.mark.parametrize("warp", [0.0, 1e-7])  # with 0, flips have a quicker way of their own
@pytest.mark.parametrize(
    ("draws", "flipped"),
    [
        ({"HORIZONTAL": -1.0}, lambda x: x[:, :, ::-1]),
        ({"VERTICAL": -1.0}, lambda x: x[:, ::-1]),
        ({"HORIZONTAL": -0.5, "VERTICAL": -0.5}, lambda x: x[:, ::-1, ::-1]),
        ({"HORIZONTAL": 0.5, "VERTICAL": 0.5}, lambda x: x),
    ],
)
def test_flips(make_configuration, photographs, drawn, warp, draws, flipped) -> None:
    drawn(**draws)
    configuration = make_configuration(horizontal_flip=True, vertical_flip=True, shift=warp)
    np.testing.assert_allclose(augmented(photographs, configuration), flipped(photographs), atol=1e-3)


def test_a_flip_that_is_not_asked_for_does_not_happen(make_configuration, photographs, drawn) -> None:
    drawn(HORIZONTAL=-1.0, VERTICAL=-1.0)
    got = augmented(photographs, make_configuration(vertical_flip=True))
    np.testing.assert_array_equal(got, photographs[:, ::-1])


@pytest.mark.parametrize("quarters", [1, -1, 2])
def test_rotation_by_quarters(make_configuration, photographs, drawn, quarters) -> None:
    drawn(ANGLE=quarters / 2)
    got = augmented(photographs, make_configuration(rotation=180.0))
    np.testing.assert_allclose(got, np.rot90(photographs, quarters, axes=(1, 2)), atol=0.05)


@pytest.mark.parametrize(("shift_x", "shift_y"), [(4, 0), (0, 4), (-3, 2)])
def test_shift_by_known_pixels(make_configuration, photographs, drawn, shift_x, shift_y) -> None:
    """A quarter of 16 pixels is at most 4; what comes in from outside is the mirrored edge."""
    drawn(SHIFT_X=shift_x / 4, SHIFT_Y=shift_y / 4)
    got = augmented(photographs, make_configuration(shift=0.25))
    mirrored = np.pad(photographs, ((0, 0), (4, 4), (4, 4), (0, 0)), mode="symmetric")
    expected = mirrored[:, 4 + shift_y : 20 + shift_y, 4 + shift_x : 20 + shift_x]
    np.testing.assert_allclose(got, expected, atol=1e-3)


def test_zoom_in_by_two_shows_the_middle(make_configuration, drawn) -> None:
    ramp = np.tile(np.arange(16, dtype=np.float32)[None, None, :, None], (1, 16, 1, 3))
    drawn(ZOOM=-1.0)
    got = augmented(ramp, make_configuration(zoom=0.5))
    np.testing.assert_allclose(got[0, 5, :, 0], 7.5 + (np.arange(16) - 7.5) / 2, atol=1e-4)


def test_shear_moves_rows_by_their_distance_from_the_middle(make_configuration, drawn) -> None:
    ramp = np.tile(np.arange(16, dtype=np.float32)[None, None, :, None], (1, 16, 1, 3))
    drawn(SHEAR=1.0)
    got = augmented(ramp, make_configuration(shear=45.0))[0, :, 7, 0]
    np.testing.assert_allclose(np.diff(got)[4:10], 1, atol=1e-4)


@pytest.mark.parametrize("draw", [-1.0, 1.0])
def test_extremes_stay_in_range_without_a_black_border(make_configuration, photographs, drawn, draw) -> None:
    drawn(ANGLE=draw, SHEAR=draw, ZOOM=draw, SHIFT_X=draw, SHIFT_Y=-draw)
    got = augmented(photographs, make_configuration(shift=0.5, zoom=0.5, shear=45.0, rotation=180.0))
    assert got.min() >= photographs.min() - 1e-3
    assert got.max() <= photographs.max() + 1e-3


def test_each_image_has_its_own_draw_and_the_seed_decides(make_configuration, photographs) -> None:
    alike = np.repeat(photographs[:1], 6, axis=0)
    configuration = make_configuration(**ALL)
    got = augmented(alike, configuration)
    assert len({image.tobytes() for image in got}) == 6
    np.testing.assert_array_equal(got, augmented(alike, configuration))
    for seed in ((1, 3), (2, 2)):  # the next batch, the next epoch
        assert not np.array_equal(got, augmented(alike, configuration, seed))


def test_about_half_of_the_images_are_flipped(make_configuration) -> None:
    one = np.arange(4, dtype=np.float32).reshape(1, 2, 2, 1)
    got = augmented(np.repeat(one, 400, axis=0), make_configuration(horizontal_flip=True))
    flipped = (got[:, 0, 0, 0] == 1).sum()
    assert 160 < flipped < 240
    assert (got == one).all((1, 2, 3)).sum() == 400 - flipped


@pytest.mark.parametrize(("scaling", "low", "high"), [("unit", 0, 1), ("symmetric", -1, 1), ("standardized", -2, 0.55)])
def test_scaling(make_configuration, scaling, low, high) -> None:
    configuration = make_configuration(input_scaling=scaling)
    offset, factor = pixels.scaling(configuration, tf.constant([200.0]), tf.constant([100.0]))
    np.testing.assert_allclose((np.array([0.0, 255.0]) - offset) * factor, [low, high], atol=1e-6)


def test_statistics_are_numpys(images) -> None:
    rows = np.arange(5, 50)
    mean, deviation = pixels.statistics(tf.constant(images), tf.constant(rows))
    np.testing.assert_allclose(mean, images[rows].mean((0, 1, 2)), rtol=1e-5)
    np.testing.assert_allclose(deviation, images[rows].std((0, 1, 2)), rtol=1e-4)


def test_statistics_are_the_same_in_pieces(images, monkeypatch) -> None:
    rows, shapes = tf.range(50), tf.constant([[8, 4], [2, 8]] * 25, tf.int32)
    whole = [pixels.statistics(tf.constant(images), rows, some) for some in (None, shapes)]
    monkeypatch.setattr(pixels, "_CHUNK_VALUES", 7 * images[0].size)
    pieces = [pixels.statistics(tf.constant(images), rows, some) for some in (None, shapes)]
    for one, other in zip(whole, pieces, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5)


def test_statistics_of_many_images_speak_for_every_class() -> None:
    """Rows are ordered by class: here the last class alone is bright."""
    many = np.repeat(np.array([0, 100], np.uint8), [4500, 1500])[:, None, None, None]
    mean, deviation = pixels.statistics(tf.constant(many), tf.range(6000))
    assert mean.numpy() == pytest.approx([25], rel=0.01)
    assert deviation.numpy() == pytest.approx([many.std()], rel=0.01)


def test_a_constant_channel_is_centred_not_blown_up() -> None:
    _, deviation = pixels.statistics(tf.fill((4, 2, 2, 1), tf.constant(7, tf.uint8)), tf.range(4))
    assert deviation.numpy() == [1.0]
