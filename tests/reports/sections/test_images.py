from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from reports.markdown import markdown
from reports.page import page
from reports.sections.images import confusion_rows, corruption_rows, corruptions_sentence, images, recall_rows, sentence
from search.metric_definitions import METRICS
from search.selection.results import OnImages
from tests.reports import fake_results as fake
from tests.reports import fake_robustness as robust

FULL = robust.everything(30)


def with_matrix(matrix: list[list[int]]) -> fake.Results:
    seen = OnImages(confusion=np.array(matrix), mistakes=(), suspects=())
    return replace(FULL, on_images=seen)


@pytest.mark.parametrize(
    ("matrix", "words"),
    [
        (
            [[60, 2], [12, 46]],
            "14 of 120 held-out images are misclassified; .* malignant is classified as benign \\(12 of 58\\)",
        ),
        ([[62, 0], [0, 58]], "All of 120 held-out images are classified correctly"),
    ],
)
def test_the_most_frequent_mistake_in_a_sentence(matrix: list[list[int]], words: str) -> None:
    import re

    assert re.search(words, sentence(with_matrix(matrix)))


def test_without_predictions_the_sentence_says_why() -> None:
    assert "not computed" in sentence(fake.results(fake.trials(12)))
    assert "without a recommended" in sentence(fake.results())


def test_confusion_cells_hold_shares_of_the_row() -> None:
    (first, second), empty = confusion_rows(np.array([[3, 1], [0, 0]]))
    assert (first.count, first.share, first.right) == (3, 0.75, True)
    assert (second.count, second.share, second.right) == (1, 0.25, False)
    assert [cell.share for cell in empty] == [0.0, 0.0]


def test_each_class_with_its_metrics_and_all_classes_in_every_metric() -> None:
    found = images(FULL)
    assert [one.name for one in found.by_class] == list(FULL.study.data.classes)
    assert all(len(one.values) == len(found.columns) for one in found.by_class)
    assert dict(zip(found.columns, found.by_class[0].values, strict=True))["recall at 90 % precision"] == 0.37
    assert len(found.in_metrics) == len(METRICS)
    for said in (page(FULL), markdown(FULL)):
        assert "recall at 90 % precision" in said
        assert "Matthews correlation 0.60" in said


def test_pictures_name_file_classes_and_the_likeliest_three() -> None:
    found = images(robust.everything(20, classes={f"c{place}": 12 for place in range(7)}))
    for one in found.mistakes:
        assert one.file.startswith(f"{one.label}/IMG_")
        assert one.bars[0][0] == one.other
        assert len(one.bars) == 3
        assert one.thumbnail
    assert found.suspects_in_all == len(found.suspects) == 3


def test_an_image_without_name_or_thumbnail_is_still_named() -> None:
    bare = images(replace(FULL, study=replace(FULL.study, files=(), thumbnails={})))
    assert all(one.file.startswith("image ") and one.thumbnail is None for one in bare.mistakes)


def test_corruptions_come_the_most_costly_first_and_the_recommended_one_leads() -> None:
    assert FULL.recommended is not None
    found = images(FULL)
    assert found.corruptions_of[0] == f"trial {FULL.recommended.ranked.trial.number}"
    rows = corruption_rows(FULL)
    costs = [max(sum(lost) for lost in row.lost if lost) for row in rows]
    assert costs == sorted(costs, reverse=True)
    own = FULL.recommended.finalist
    assert own is not None
    worst = max(own.corruptions, key=lambda name: own.corruptions[name][1])
    assert f"Strong {worst} costs most" in corruptions_sentence(FULL)
    assert "not measured" in corruptions_sentence(fake.results(fake.trials(12)))


def test_recalls_keep_the_order_of_the_classes() -> None:
    rows = recall_rows(fake.results(fake.trials(12), classes={"b": 10, "a": 40}))
    assert [(row.name, row.images) for row in rows] == [("b", 10), ("a", 40)]
    assert recall_rows(fake.results()) == []
