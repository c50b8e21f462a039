from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from search.data.demo import SIDE, TEST, TRAIN, write_demo
from search.data.layout import Layout, layout
from search.selection.baselines import baselines


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo")
    write_demo(folder)
    return folder


def files(folder: Path) -> Sequence[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def pixels(folder: Path) -> np.ndarray:
    return np.stack([np.asarray(Image.open(path)) for path in files(folder)])


def labels(folder: Path) -> np.ndarray:
    return np.array([int(path.parent.name.removeprefix("digit-")) for path in files(folder)])


def test_training_and_test_images_have_the_counts_of_their_classes(demo: Path) -> None:
    assert layout(demo) == Layout(("train",), "test")
    for part, counts in (("train", TRAIN), ("test", TEST)):
        found = {child.name: len(files(child)) for child in (demo / part).iterdir()}
        assert found == {f"digit-{digit}": count for digit, count in counts.items()}


def test_one_class_is_rare() -> None:
    for counts in (TRAIN, TEST):
        rare, *others = sorted(counts.values())
        assert rare < min(others) / 3
        assert len(set(others)) == 1


def test_all_images_have_one_size_and_colours(demo: Path) -> None:
    images = pixels(demo)
    assert images.shape == (sum(TRAIN.values()) + sum(TEST.values()), SIDE, SIDE, 3)
    assert np.ptp(images, axis=3).mean() > 20  # the three channels differ


def test_every_written_digit_is_used_once(demo: Path) -> None:
    names = [path.name for path in files(demo)]
    assert len(set(names)) == len(names)


def test_the_pixels_are_the_same_every_time(demo: Path, tmp_path: Path) -> None:
    write_demo(tmp_path)
    assert [path.relative_to(tmp_path) for path in files(tmp_path)] == [path.relative_to(demo) for path in files(demo)]
    hashes = [hashlib.blake2b(pixels(folder).tobytes()).hexdigest() for folder in (demo, tmp_path)]
    assert hashes[0] == hashes[1]


def test_the_pixels_are_those_whose_difficulty_was_measured(demo: Path) -> None:
    # Another version of a library may round a few pixels otherwise, but not draw other places, colours or digits.
    images = pixels(demo / "train").astype(float)
    np.testing.assert_allclose(images.mean(axis=(0, 1, 2)), [110.8, 120.4, 110.8], atol=0.5)
    np.testing.assert_allclose(images.mean(axis=(1, 2, 3))[:5], [101.6, 175.0, 92.3, 55.2, 82.1], atol=0.5)


def test_existing_files_are_not_overwritten(demo: Path, tmp_path: Path) -> None:
    mine = tmp_path / "train" / "digit-0" / files(demo / "train" / "digit-0")[0].name
    mine.parent.mkdir(parents=True)
    mine.write_bytes(b"mine")
    write_demo(tmp_path)
    assert mine.read_bytes() == b"mine"
    assert len(files(tmp_path)) == len(files(demo))


def test_simple_methods_fail(demo: Path) -> None:
    images, classes = pixels(demo / "train"), np.unique(labels(demo / "train"), return_inverse=True)[1]
    rows = np.arange(len(classes))
    folds = [(rows[rows % 5 != fold], rows[rows % 5 == fold]) for fold in range(5)]
    scores = baselines(images, classes, folds, "balanced_accuracy")
    assert max(scores.values()) < 0.5, scores  # chance is 0.25; small networks reach 0.7
