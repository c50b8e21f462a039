import numpy as np
import pytest

from search.metric_definitions import METRICS
from search.selection import baselines as room
from search.selection.baselines import baselines, shrink
from search.selection.metrics import chance

pytestmark = pytest.mark.slow


def _images(n: int = 120, classes: int = 3, side: int = 24, channels: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """A bright stripe, in another place in each class."""
    rng = np.random.default_rng(0)
    labels = rng.permutation(np.arange(n) % classes)
    pixels = rng.integers(0, 120, (n, side, side, channels), dtype=np.uint8)
    for image, label in zip(pixels, labels, strict=True):
        image[4 + 4 * label : 8 + 4 * label] += 100
    return pixels, labels


def _folds(n: int, k: int = 3) -> list[tuple[np.ndarray, np.ndarray]]:
    return [(np.flatnonzero(np.arange(n) % k != fold), np.flatnonzero(np.arange(n) % k == fold)) for fold in range(k)]


@pytest.mark.parametrize("metric", METRICS)
def test_simple_methods_read_simple_images(metric) -> None:
    pixels, labels = _images(n=60)
    found = baselines(pixels, labels, _folds(len(labels)), metric)
    assert list(found) == ["constant", "knn", "logistic"]
    assert found["constant"] == chance(metric, labels)
    assert found["knn"] > found["constant"] + 0.2
    assert found["logistic"] > found["constant"] + 0.2


def test_noise_stays_near_chance_and_blank_images_do_no_harm() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 300)
    noise = baselines(rng.integers(0, 256, (300, 16, 16, 1), dtype=np.uint8), labels, _folds(300), "balanced_accuracy")
    assert max(noise.values()) < 0.62
    blank = baselines(np.zeros((60, 16, 16, 1), np.uint8), labels[:60], _folds(60), "balanced_accuracy")
    assert blank == {"constant": 0.5, "knn": pytest.approx(0.5, abs=0.2), "logistic": pytest.approx(0.5, abs=0.2)}


def test_beyond_the_limit_a_fixed_part_is_used(monkeypatch) -> None:
    monkeypatch.setattr(room, "MAX_IMAGES", 60)
    pixels, labels = _images()
    once = baselines(pixels, labels, _folds(len(labels)), "accuracy")
    assert once == baselines(pixels, labels, _folds(len(labels)), "accuracy")
    assert once["logistic"] > 0.6


def test_a_handful_of_images_is_enough() -> None:
    pixels, labels = _images(n=6, classes=2)
    assert set(baselines(pixels, labels, _folds(6, 2), "accuracy")) == {"constant", "knn", "logistic"}


def test_shrinking_takes_means_of_blocks() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 48, 48, 3), dtype=np.uint8)
    blocks = pixels.reshape(3, 16, 3, 16, 3, 3).mean(axis=(2, 4))
    np.testing.assert_allclose(shrink(pixels, np.array([2, 0])), blocks[[2, 0]].reshape(2, -1), rtol=1e-4)


@pytest.mark.parametrize("side", [3, 16, 20, 100])
def test_shrinking_keeps_the_mean_at_any_size(side) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (1, side, side, 1), dtype=np.uint8)
    assert shrink(pixels, np.array([0])).mean() == pytest.approx(pixels.mean(), rel=1e-4)
