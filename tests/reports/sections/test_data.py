from __future__ import annotations

from dataclasses import replace

import pytest

from reports.sections.data import data
from search.inspection.findings import KINDS
from tests.reports import fake_results as fake


@pytest.mark.parametrize(
    ("classes", "words"),
    [
        ({"a": 30, "b": 31}, "61 images in 2 classes, about equally many of each."),
        ({"a": 40, "b": 40}, "80 images in 2 classes, 40 of each."),
        ({"a": 10, "b": 25}, "35 images in 2 classes; the largest has 2.5 times as many as the smallest."),
    ],
)
def test_the_sentence_says_how_even_the_classes_are(classes: dict[str, int], words: str) -> None:
    assert data(fake.results(classes=classes)).sentence == words


def test_sizes_colours_and_duplicates_are_listed_if_known() -> None:
    results = fake.results()
    facts = data(results).facts
    assert ("640 x 480", "pixels: 100 files; others: 600 x 450 (14), other (6)") in facts
    assert ("117", "images in colour; 3 grey") in facts
    assert ("2", "images are byte-identical to another one") in facts
    unknown = replace(results.study.data, sizes={}, grey=None, duplicates=None, groups=40)
    assert [value for value, _ in data(replace(results, study=replace(results.study, data=unknown))).facts] == [
        "64 x 64",
        "40",
    ]


def test_what_stood_out_is_named_but_for_files_that_have_a_table_of_their_own() -> None:
    results = fake.results()
    findings = (
        ("leak", "error", "3 test images are here too"),
        ("corrupt", "warning", "1 file is left out"),
        ("corrupt", "warning", "Test: 2 files are left out"),
    )
    section = data(replace(results, study=replace(results.study, findings=findings)))
    assert section.findings == (
        (KINDS["leak"], "error", "3 test images are here too"),
        (KINDS["corrupt"], "warning", "Test: 2 files are left out"),
    )
    assert section.check_command == "python run_search.py check --data images"


def test_classes_keep_their_order() -> None:
    rows = data(fake.results(classes={"b": 10, "a": 40})).classes
    assert [(row.name, row.share) for row in rows] == [("b", 25.0), ("a", 100.0)]
