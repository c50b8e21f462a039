from __future__ import annotations

import pytest

from reports import wording
from tests.reports import fake_results as fake


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 s"), (59.6, "1 min 00 s"), (125, "2 min 05 s"), (29_000, "8 h 03 min"), (-3, "0 s"), (None, "–")],
)
def test_durations(seconds: float | None, words: str) -> None:
    assert wording.duration(seconds) == words


@pytest.mark.parametrize(("share", "words"), [(0, "0 %"), (0.034, "3.4 %"), (0.5, "50 %"), (1, "100 %"), (None, "–")])
def test_percentages(share: float | None, words: str) -> None:
    assert wording.percent(share) == words


@pytest.mark.parametrize(
    ("folder", "title"),
    [("./images", "images"), ("/data/moles/train", "moles/train"), ("/", "/"), ("a\nb", "a\\nb")],
)
def test_folder_titles(folder: str, title: str) -> None:
    assert wording.folder_title(folder) == title


def test_a_configuration_in_words_names_only_what_is_active() -> None:
    mlp = fake.configuration(0, depth=2, dense_ratio=1.0, optimizer="adam", weight_decay=0.5, horizontal_flip=True)
    text = wording.sentence(mlp)
    assert text.startswith("2 dense layers of 64 units;")
    assert "convolution" not in text
    assert "weight decay" not in text
    assert "Augmentation: horizontal flips" in text
    convnet = fake.configuration(0, depth=3, dense_ratio=0.0, head="max", horizontal_flip=False)
    assert wording.sentence(convnet).startswith("3 convolutional layers (3 x 3 kernels), 16 filters in the first")
    assert "global max pooling" in wording.sentence(convnet)
    assert wording.short(convnet).startswith("3 conv,")
    assert "No augmentation." in wording.sentence(convnet)


def test_an_unknown_reason_is_its_code() -> None:
    assert wording.reason("never-heard-of") == "never-heard-of"
