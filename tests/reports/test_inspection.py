"""The summary of an inspection on the terminal, in JSON and on its page."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from reports.inspection_json import inspection_json
from reports.inspection_page import inspection_page
from reports.inspection_text import inspection_lines
from search.inspection.findings import KINDS, Finding, Inspection, Severity
from tests.reports.test_page import Reader

HOSTILE = "<img src=x onerror=alert(1)>\u202e\n.png"
FINDINGS = (
    Finding(
        kind="leak",
        severity=Severity.ERROR,
        detail="2 test images are among the training images too.",
        files=("a/1.png", "test/a/2.png"),
        sets=(("test/a/2.png", "a/1.png"),),
    ),
    Finding(kind="corrupt", severity=Severity.WARNING, detail="1 file is left out: empty file.", files=("b/3.png",)),
    Finding(kind="dark", severity=Severity.NOTE, detail="6 files are much darker.", files=tuple("abcdef")),
)
CLEAN = Inspection(
    folder="/data/images",
    test=None,
    classes={"a": 30, HOSTILE: 10},
    images=40,
    findings=(),
    sizes={"20 x 30": 40},
    aspects=(0.67, 0.67, 1.5),
    modes={"RGB": 40},
    bits={8: 39, 16: 1},
    formats={"PNG": 40},
    units=38,
    folds=10,
    chance=0.5,
    baselines={"constant": 0.5, "knn": 0.6, "logistic": 0.71},
    half=0.12,
    seconds=1.5,
    thumbnails={"a/1.png": "/9j/4AAQ"},
)
DIRTY = replace(CLEAN, findings=FINDINGS, test="/data/test")


def test_a_clean_folder_in_a_few_lines(tmp_path) -> None:
    lines = inspection_lines(CLEAN, tmp_path / "check.html")
    assert "40 images (38 without copies and images of the same group) in 2 classes" in lines[0]
    said = " ".join(lines)
    assert "Classes (1 : 3.0): a (30)" in said
    assert "Sizes: 20 x 30 (40); width / height 0.67 to 1.50, median 0.67." in said
    assert "Colour modes: RGB (40); 8, 16 bits per channel. Up to 10 folds are possible." in said
    assert "No problems found." in lines
    assert "balanced accuracy of 0.71 (logistic regression" in " ".join(lines)
    assert lines[-1].endswith("check.html")


def test_findings_with_their_files(tmp_path) -> None:
    lines = inspection_lines(DIRTY, tmp_path)
    assert [line.partition(":")[0] for line in lines if line.startswith(("error", "warning", "note"))] == [
        "error",
        "warning",
        "note",
    ]
    assert "    test/a/2.png = a/1.png" in lines
    assert "    and 3 more" in lines
    assert all(len(line) <= 100 for line in lines[:-1])


def test_json_by_its_schema() -> None:
    told = json.loads(inspection_json(DIRTY))
    assert told["schema"] == 1
    assert [one["kind"] for one in told["findings"]] == ["leak", "corrupt", "dark"]
    for one in told["findings"]:
        assert {"kind", "severity", "files", "detail"} <= one.keys()
        assert one["kind"] in KINDS
    assert told["findings"][0]["sets"] == [["test/a/2.png", "a/1.png"]]


@pytest.mark.slow
def test_a_page_with_parts_by_severity_and_names_as_text() -> None:
    html = inspection_page(DIRTY)
    ids = Reader(html).ids
    assert len(ids) == len(set(ids))
    assert [title in html for title in ("Errors to fix before a search", "Warnings", "Notes")] == [True] * 3
    assert "<img src=x" not in html
    assert "data:image/jpeg;base64,/9j/4AAQ" in html
    assert "no image" in html
    assert "There are errors to fix" in html
    assert "script src" not in html
    assert "Ready for a search" in inspection_page(CLEAN)
