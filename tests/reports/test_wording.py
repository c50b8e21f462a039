from __future__ import annotations

import pytest

from reports import wording


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


def test_an_unknown_reason_is_its_code() -> None:
    assert wording.reason("never-heard-of") == "never-heard-of"
