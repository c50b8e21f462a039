from __future__ import annotations

import os
from pathlib import Path

import pytest

from reports import write
from reports.atomic_write import replace_text
from reports.write import write_all
from tests.reports import fake_results as fake

FILES = ["fits.csv", "trials.csv", "best_config.yaml", "report.md", "report.html", "summary.json"]


def test_all_files_and_nothing_else_are_written(tmp_path: Path) -> None:
    paths = write_all(fake.results(fake.trials(8)), tmp_path / "runs" / "new")
    assert [path.name for path in paths] == FILES
    assert sorted(path.name for path in (tmp_path / "runs" / "new").iterdir()) == sorted(FILES)


def test_equal_results_give_equal_files(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        write_all(fake.results(fake.trials(8)), tmp_path / folder)
    for name in FILES:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_an_outdated_configuration_is_set_aside_and_kept(tmp_path: Path) -> None:
    for text in ("first", "second"):
        (tmp_path / "best_config.yaml").write_text(text)
        write_all(fake.results(), tmp_path)
        assert not (tmp_path / "best_config.yaml").exists()
    assert (tmp_path / "best_config.stale.yaml").read_text() == "first"
    assert (tmp_path / "best_config.stale-2.yaml").read_text() == "second"


def test_a_page_that_cannot_be_drawn_costs_no_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_all(fake.results(fake.trials(3)), tmp_path)
    old = (tmp_path / "report.html").read_bytes()
    monkeypatch.setattr(write, "page", lambda results: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_all(fake.results(fake.trials(8)), tmp_path)
    assert (tmp_path / "report.html").read_bytes() == old
    assert len((tmp_path / "trials.csv").read_text().splitlines()) == 9


def test_an_interrupted_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")

    def full(descriptor: int) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        replace_text(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_names_that_are_not_unicode_do_not_stop_the_report(tmp_path: Path) -> None:
    results = fake.results(fake.trials(6), classes={"a\udcff": 30, "b": 30}, quarantined={"\udcfe.png": "truncated"})
    write_all(results, tmp_path)
    for name in FILES:
        (tmp_path / name).read_bytes().decode("utf-8")
