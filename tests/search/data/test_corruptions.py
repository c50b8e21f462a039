"""One contract, held by every corruption: what it may do to an image and what not."""

from functools import cache

import numpy as np
import pytest
from PIL import Image

from search.data.corruptions import CORRUPTIONS, FORMS, corrupt

pytestmark = pytest.mark.slow


@cache  # nobody writes to them: the first test looks
def scenes(side: int, channels: int, count: int = 6) -> np.ndarray:
    """Images with shades, edges and fine structure: smooth random fields with a dark disc, not all alike."""
    rng = np.random.default_rng(side * channels)
    grain = min(4, side // 4)
    coarse = rng.integers(60, 220, (count, grain, grain, channels), dtype=np.uint8)
    down, right = np.mgrid[:side, :side] / side - 0.4
    images = []
    for number, small in enumerate(coarse):
        flat = Image.fromarray(small[..., 0] if channels == 1 else small)
        field = np.asarray(flat.resize((side, side), Image.Resampling.BICUBIC)).reshape(side, side, channels).copy()
        field[down**2 + right**2 < 0.02 + 0.01 * number] //= 3
        field[side // 3 :: side // 2] //= 2
        images.append(field)
    return np.stack(images)


def change(images: np.ndarray, form: str) -> np.ndarray:
    """Mean absolute difference of each image's copy, in levels."""
    return np.abs(corrupt(images, form).astype(float) - images).mean(axis=(1, 2, 3))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("side", [8, 9, 32, 64, 224])
@pytest.mark.parametrize("form", FORMS)
def test_a_copy_is_an_image_like_the_original_and_yet_another(form, side, channels) -> None:
    images = scenes(side, channels)
    before = images.copy()
    copies = corrupt(images, form)
    assert (copies.shape, copies.dtype) == (images.shape, np.uint8)
    assert (change(images, form) > 0.25).all()
    assert (images == before).all()
    assert not np.shares_memory(copies, images)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("side", [8, 32, 64, 224])
@pytest.mark.parametrize("name", CORRUPTIONS)
def test_strong_changes_more_than_mild(name, side, channels) -> None:
    images = scenes(side, channels)
    assert change(images, f"{name}/2").mean() > 1.2 * change(images, f"{name}/1").mean()


@pytest.mark.parametrize("form", FORMS)
def test_a_copy_depends_on_the_image_and_the_seed_alone(form) -> None:
    images = scenes(16, 3, count=12)
    order = np.random.default_rng(1).permutation(len(images))
    copies = corrupt(images, form, seed=3)
    assert (corrupt(images, form, seed=3) == copies).all()
    assert (corrupt(images[order], form, seed=3) == copies[order]).all()
    assert (corrupt(images[4:5], form, seed=3) == copies[4:5]).all()
    assert (corrupt(images.transpose(0, 2, 1, 3).copy().transpose(0, 2, 1, 3), form, seed=3) == copies).all()


@pytest.mark.parametrize("name", ["noise", "brightness", "shift", "rotation"])
def test_chance_differs_from_image_to_image_and_from_seed_to_seed(name) -> None:
    images = np.repeat(scenes(16, 1, count=1), 24, axis=0)
    images[:, 0, 0, 0] = np.arange(24)  # all but alike
    copies = corrupt(images, f"{name}/2").astype(float)
    assert np.abs(copies[1:] - copies[0]).mean(axis=(1, 2, 3)).max() > 3
    assert (corrupt(images, f"{name}/2", seed=1) != copies).any()


@pytest.mark.parametrize("name", ["noise", "brightness", "rotation"])
def test_both_strengths_go_the_same_way(name) -> None:
    images = scenes(40, 1, count=20)
    mild, strong = (corrupt(images, f"{name}/{strength}").astype(float) - images for strength in (1, 2))
    for one, other in zip(mild, strong, strict=True):
        assert np.corrcoef(one.ravel(), other.ravel())[0, 1] > 0.4


def test_it_gets_lighter_as_often_as_darker() -> None:
    images = scenes(16, 3, count=60)
    lighter = corrupt(images, "brightness/1").mean(axis=(1, 2, 3)) > images.mean(axis=(1, 2, 3))
    assert 15 < lighter.sum() < 45


@pytest.mark.parametrize("name", ["shift", "rotation"])
def test_what_moves_in_comes_from_the_edge_itself(name) -> None:
    bright = np.full((20, 32, 32, 3), 180, np.uint8)
    assert (corrupt(bright, f"{name}/2") == 180).all()  # no black wedges


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("level", [0, 255])
def test_blank_images_pass(form, level) -> None:
    blank = np.full((2, 12, 12, 3), level, np.uint8)
    assert corrupt(blank, form).shape == blank.shape


def test_a_shift_moves_the_whole_image() -> None:
    images = scenes(50, 1)
    for image, copy in zip(images, corrupt(images, "shift/2"), strict=True):
        moves = [(down, right) for down in range(-6, 7) for right in range(-6, 7)]
        middle = copy[10:40, 10:40].astype(int)
        found = [m for m in moves if (middle == image[10 + m[0] : 40 + m[0], 10 + m[1] : 40 + m[1]]).all()]
        assert len(found) == 1
        assert 5 < np.hypot(*found[0]) < 7


def test_noise_has_the_width_that_is_written() -> None:
    grey = np.full((4, 64, 64, 3), 128, np.uint8)
    for form, share in (("noise/1", 0.02), ("noise/2", 0.06)):
        assert (corrupt(grey, form) - 128.0).std() == pytest.approx(255 * share, rel=0.03)


def test_contrast_keeps_the_mean_and_takes_the_share_that_is_written() -> None:
    image = scenes(32, 1)
    copies = corrupt(image, "contrast/2")
    assert copies.mean(axis=(1, 2, 3)) == pytest.approx(image.mean(axis=(1, 2, 3)), abs=0.3)
    assert copies.std(axis=(1, 2, 3)) == pytest.approx(0.4 * image.std(axis=(1, 2, 3)), rel=0.02)


def test_no_images_give_none() -> None:
    assert corrupt(np.zeros((0, 16, 16, 3), np.uint8), "jpeg/2").shape == (0, 16, 16, 3)


@pytest.mark.parametrize("form", ["fog/1", "noise", "noise/3", "noise/"])
def test_an_unknown_form_is_told(form) -> None:
    with pytest.raises(ValueError, match=r"form must be one of noise/1, noise/2, .*resolution/2, got '"):
        corrupt(np.zeros((1, 8, 8, 1), np.uint8), form)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("shape", [(8, 30), (64, 20)])
def test_images_need_not_be_squares(form, shape) -> None:
    squares = (Image.fromarray(scene) for scene in scenes(64, 3))
    images = np.stack([np.asarray(scene.resize((shape[1], shape[0]))) for scene in squares])
    copies = corrupt(images, form)
    assert copies.shape == images.shape
    assert (change(images, form) > 0.1).all()
