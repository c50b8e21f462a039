from __future__ import annotations

import pytest

from reports.sections.data import data
from tests.reports import made


@pytest.mark.parametrize(
    ("classes", "words"),
    [
        ({"a": 30, "b": 31}, "61 images in 2 classes, about as many of each."),
        ({"a": 10, "b": 25}, "35 images in 2 classes; the largest has 2.5 times as many as the smallest."),
    ],
)
def test_the_sentence_says_how_even_the_classes_are(classes: dict[str, int], words: str) -> None:
    assert data(made.results(classes=classes)).sentence == words


def test_classes_keep_their_order() -> None:
    rows = data(made.results(classes={"b": 10, "a": 40})).classes
    assert [(row.name, row.share) for row in rows] == [("b", 25.0), ("a", 100.0)]
