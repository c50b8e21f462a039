"""Images of another kind are told from held-back ones of the same kind."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.covariance import LedoitWolf

from search.delivery import outlier_detector
from search.delivery.outlier_detector import FEWEST, OutlierDetector, features, fit_detector
from search.errors import DamagedError

pytestmark = pytest.mark.slow

Pixels = np.ndarray


def blobs(count: int, seed: int, side: int = 24, channels: int = 3, tint: tuple[int, ...] = (200, 140, 120)) -> Pixels:
    """A dark round patch of varying place, size and depth on a tinted, slightly noisy ground: a little like skin."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side]
    images = np.zeros((count, side, side, channels))
    for image in images:
        cx, cy = rng.uniform(side / 3, 2 * side / 3, 2)
        patch = np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / rng.uniform(8, 40))
        ground = np.array(tint[:channels]) * rng.uniform(0.8, 1.1)
        image[:] = ground * (1 - rng.uniform(0.3, 0.7) * patch[..., None]) + rng.normal(0, 4, image.shape)
    return images.clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def known() -> OutlierDetector:
    found = fit_detector(blobs(150, 0))
    assert found is not None
    return found


def flagged(known: OutlierDetector, pixels: Pixels) -> float:
    return float((known.distances(pixels) > 1).mean())


def test_new_images_of_the_same_kind_are_rarely_flagged() -> None:
    """The share over several small trainings, whose mean the conformal argument bounds by about one in 61."""
    shares = [flagged(fit_detector(blobs(60, seed, 12)), blobs(60, 1000 + seed, 12)) for seed in range(12)]
    assert 0 < np.mean(shares) <= 0.03


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("negative", lambda images: 255 - images),
        ("noise", lambda images: np.random.default_rng(0).integers(0, 256, images.shape).astype(np.uint8)),
        ("black", np.zeros_like),
        ("white", lambda images: np.full_like(images, 255)),
        ("other colour", lambda images: images[..., ::-1]),
        ("grey", lambda images: np.repeat(images[..., :1], 3, axis=-1)),
        ("much darker", lambda images: images // 4),
        ("stripes", lambda images: images // 2 + (np.arange(24) % 2 * 100).astype(np.uint8)[:, None]),
        ("blurred away", lambda images: np.repeat(np.repeat(images[:, ::8, ::8], 8, 1), 8, 2)),
    ],
)
def test_images_of_another_kind_are_flagged(known, name, change) -> None:
    assert flagged(known, change(blobs(60, 5))) > 0.9, name


@pytest.mark.parametrize(("side", "channels"), [(8, 1), (16, 3), (33, 1), (48, 3)])
def test_any_size_and_both_kinds_of_channels(side, channels) -> None:
    found = fit_detector(blobs(80, 0, side, channels))
    assert flagged(found, blobs(40, 1, side, channels)) < 0.1
    assert flagged(found, np.random.default_rng(0).integers(0, 256, (40, side, side, channels), np.uint8)) > 0.9


def test_the_distance_is_mahalanobis_with_a_shrunk_covariance() -> None:
    pixels, new = blobs(60, 0), blobs(20, 1)
    found, others = features(pixels), features(new)
    deviation = found.std(0, dtype=np.float64)
    scale = np.maximum(deviation, 0.01)
    covariance = LedoitWolf().fit(found / scale).covariance_
    precision = np.linalg.inv(covariance + np.diag(1 - (deviation / scale) ** 2))
    apart = (others - found.mean(0)) / scale
    expected = np.sqrt(np.einsum("ij,jk,ik->i", apart, precision, apart))
    given = fit_detector(pixels).distances(new)
    ratio = given / expected
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-3)


@given(st.integers(FEWEST, 60), st.integers(0, 1000))
@settings(max_examples=15)
def test_the_threshold_comes_from_images_that_were_held_back(count, seed) -> None:
    """The training images themselves lie nearer than held-back ones: at most the farthest of them is flagged."""
    pixels = blobs(count, seed, side=8, channels=1)
    assert (fit_detector(pixels).distances(pixels) > 1).sum() <= 1


def test_batches_give_the_same_features_as_all_at_once(monkeypatch) -> None:
    pixels = blobs(20, 0)
    at_once = features(pixels)
    monkeypatch.setattr(outlier_detector, "_AT_ONCE", 3)
    np.testing.assert_allclose(features(pixels), at_once, atol=1e-5)


def test_constant_images_are_no_division_by_zero() -> None:
    found = fit_detector(np.full((20, 16, 16, 3), 7, np.uint8))
    assert flagged(found, np.full((1, 16, 16, 3), 7, np.uint8)) == 0
    assert flagged(found, blobs(5, 0, 16)) == 1


def test_images_of_one_group_are_held_back_together() -> None:
    """Copies that differ by a little noise only: without groups their like are always at hand, with groups never."""
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(12), 20)
    pixels = blobs(12, 0)[groups].astype(int) + rng.integers(-2, 3, (240, 24, 24, 3))
    pixels = pixels.clip(0, 255).astype(np.uint8)
    new = blobs(200, 1)
    assert flagged(fit_detector(pixels, groups), new) < flagged(fit_detector(pixels), new)


def test_a_few_odd_training_images_hide_no_others() -> None:
    odd = np.concatenate([blobs(98, 0), np.zeros((1, 24, 24, 3), np.uint8), np.full((1, 24, 24, 3), 255, np.uint8)])
    found = fit_detector(odd)
    assert flagged(found, 255 - blobs(60, 5)) > 0.9
    assert flagged(found, blobs(60, 5)) < 0.1


def test_too_few_images_tell_nothing() -> None:
    assert fit_detector(blobs(FEWEST - 1, 0)) is None
    assert fit_detector(blobs(FEWEST, 0)) is not None


def test_it_comes_back_from_bytes(known) -> None:
    content = known.to_bytes()
    assert len(content) < 20_000
    pixels = blobs(10, 3)
    np.testing.assert_array_equal(OutlierDetector.of_bytes(content, 3, 24).distances(pixels), known.distances(pixels))


def test_other_bytes_are_refused(known) -> None:
    stream = io.BytesIO()
    np.savez(stream, centre=np.array([{}]), whitener=np.eye(2))
    for content in (b"", b"nonsense", known.to_bytes()[:-40], stream.getvalue()):
        with pytest.raises(DamagedError, match=r"the outlier detector in the model can't be read"):
            OutlierDetector.of_bytes(content, 3, 24)
    with pytest.raises(DamagedError, match="shapes"):
        OutlierDetector.of_bytes(known.to_bytes(), 1, 24)
