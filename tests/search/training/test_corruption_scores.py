import numpy as np
import pytest

from search.data.corruptions import FORMS, corrupt
from search.selection.metrics import MetricScorer
from search.training import corruption_scores
from search.training.corruption_scores import corrupted_scores

SCORE = MetricScorer("balanced_accuracy").score


def images_of(labels: np.ndarray) -> np.ndarray:
    """Dark images of class 0, bright ones of class 1, with some texture."""
    rng = np.random.default_rng(0)
    levels = np.where(labels == 1, 150, 100)[:, None, None, None]
    return (levels + rng.integers(-30, 30, (len(labels), 16, 16, 1))).astype(np.uint8)


def by_brightness(images: np.ndarray, shape_ids: np.ndarray | None = None) -> np.ndarray:
    """Probabilities of a network that looks at nothing but the mean level."""
    bright = 1 / (1 + np.exp(-(images.mean(axis=(1, 2, 3)) - 125) / 5))
    return np.stack([1 - bright, bright], axis=1).astype(np.float32)


@pytest.fixture
def labels() -> np.ndarray:
    return np.random.default_rng(1).permutation(np.repeat([0, 1], [60, 20]))


def test_every_form_is_scored_on_the_copies_themselves(labels) -> None:
    pixels, rows = images_of(labels), np.arange(1, len(labels), 2)
    scores = corrupted_scores(pixels, rows, labels[rows], by_brightness(pixels[rows]), by_brightness, SCORE)
    assert tuple(scores) == FORMS
    for form, score in scores.items():  # the same, without chunks and samples
        assert score == SCORE(labels[rows], by_brightness(corrupt(pixels[rows], form)))
    assert scores["brightness/2"] < 0.9
    assert scores["shift/2"] == scores["jpeg/1"] == 1


def test_chunks_change_nothing_and_the_end_of_the_run_is_heeded_between_them(labels, monkeypatch) -> None:
    pixels, rows, heeded, sizes = images_of(labels), np.arange(len(labels)), [], []

    def predict(images: np.ndarray, shape_ids: np.ndarray | None) -> np.ndarray:
        sizes.append(len(images))
        return by_brightness(images)

    def run() -> dict[str, float]:
        return corrupted_scores(
            pixels, rows, labels, by_brightness(pixels), predict, SCORE, lambda: heeded.append(len(sizes))
        )

    whole = run()
    assert set(sizes) == {80}
    monkeypatch.setattr(corruption_scores, "CHUNK_BYTES", 30 * pixels[0].nbytes)
    heeded.clear()
    sizes.clear()
    assert run() == whole
    assert sizes == [30, 30, 20] * len(FORMS)
    assert heeded == list(range(len(sizes)))


def test_of_many_images_a_share_of_each_class_is_copied_and_compared_with_itself(labels, monkeypatch) -> None:
    pixels, rows, seen = images_of(labels), np.arange(len(labels)), []
    known = {image.tobytes(): label for image, label in zip(pixels, labels, strict=True)}
    clean = by_brightness(pixels)
    clean[np.flatnonzero(labels == 0)[:30]] = (0.1, 0.9)  # wrong, and some of these are left out of the sample

    def predict(images: np.ndarray, shape_ids: np.ndarray | None) -> np.ndarray:
        seen.append(images)
        return by_brightness(images)

    monkeypatch.setattr(corruption_scores, "corrupt", lambda images, form: images)
    scores = corrupted_scores(pixels, rows, labels, clean, predict, SCORE, most=40)
    copied = [known[image.tobytes()] for image in seen[0]]
    assert np.bincount(copied).tolist() == [30, 10]
    chosen = [np.flatnonzero((pixels == image).all(axis=(1, 2, 3)))[0] for image in seen[0]]
    gain = SCORE(labels[chosen], by_brightness(pixels[chosen])) - SCORE(labels[chosen], clean[chosen])
    assert gain > 0.1
    assert scores["noise/1"] == pytest.approx(SCORE(labels, clean) + gain)


def test_the_sample_is_the_same_each_time(labels) -> None:
    many = np.repeat(labels, 20)
    once = corruption_scores._sample(many, 500)
    assert (once == corruption_scores._sample(many, 500)).all()
    assert len(np.unique(once)) == 500
    assert (np.diff(once) > 0).all()


@pytest.mark.parametrize("clean", [np.zeros((0, 2)), np.full((80, 2), np.nan)])
def test_without_usable_answers_nothing_is_scored(labels, clean) -> None:
    rows = np.arange(len(labels))
    assert corrupted_scores(images_of(labels), rows, labels, clean, by_brightness, SCORE) == {}


def test_without_images_nothing_is_scored(labels) -> None:
    none = np.zeros(0, np.int64)
    assert corrupted_scores(images_of(labels), none, none, np.zeros((0, 2)), by_brightness, SCORE) == {}


def test_a_form_on_which_the_network_breaks_is_left_out(labels) -> None:
    pixels, rows, calls = images_of(labels), np.arange(len(labels)), []

    def predict(images: np.ndarray, shape_ids: np.ndarray | None) -> np.ndarray:
        calls.append(1)
        return by_brightness(images) * (np.nan if len(calls) == 3 else 1)

    scores = corrupted_scores(pixels, rows, labels, by_brightness(pixels), predict, SCORE)
    assert set(FORMS) - set(scores) == {FORMS[2]}


def test_copies_of_images_of_every_size_are_those_of_their_own_pixels(labels) -> None:
    shapes, shape_ids = ((8, 16), (16, 12)), np.arange(len(labels)) % 2
    pixels, rows = images_of(labels), np.arange(len(labels))
    seen = []

    def predict(images: np.ndarray, given: np.ndarray | None) -> np.ndarray:
        assert given is not None
        seen.append(images)
        return by_brightness(images)

    scores = corrupted_scores(
        pixels, rows, labels, by_brightness(pixels), predict, SCORE, shapes=shapes, shape_ids=shape_ids
    )
    assert tuple(scores) == FORMS
    for form, copies in zip(FORMS, seen, strict=True):
        for row, image in enumerate(copies):
            height, width = shapes[shape_ids[row]]
            own = pixels[row : row + 1, :height, :width]
            np.testing.assert_array_equal(image[:height, :width], corrupt(own, form)[0])
            assert not image[height:].any()
            assert not image[:, width:].any()
