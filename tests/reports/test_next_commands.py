"""Commands that a report tells people to go on with."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from reports import next_commands
from tests.reports import fake_results as fake

STUDY = fake.results().study
CONFIGURATION = fake.configuration(0)
PRETRAINED = replace(CONFIGURATION, backbone="mobilenet_v2", depth=1, dense_ratio=0.0, head="average")


@pytest.mark.parametrize(
    ("settings", "train", "check"),
    [
        ({}, "", ""),
        ({"labels": "a b.csv", "follow_links": True}, "--labels 'a b.csv' --follow-links", "the same"),
        ({"weights": "/weights", "follow_links": False}, "--weights /weights", ""),
        ({"weights": "none"}, "", ""),
        ({"groups": "who.csv"}, "--groups who.csv", "the same"),
        ({"labels": "l\n.csv"}, "--labels 'l\\n.csv'", "the same"),
    ],
)
def test_the_images_are_named_as_the_search_had_them(settings: dict[str, Any], train: str, check: str) -> None:
    study = replace(STUDY, settings={"out": "run"} | settings)
    data = shlex.quote(STUDY.data.folder)
    given = f" {train}" if train else ""
    assert next_commands.train(study, PRETRAINED) == (
        f"python run_search.py train --config run/best_config.yaml --data {data}{given} --model model.keras"
    )
    assert next_commands.check(study) == f"python run_search.py check --data {data}{given if check else ''}"


def test_a_copied_run_folder_is_named_where_it_is_now(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    study = replace(STUDY, settings={"out": "old"}, run_folder="copy")
    assert f"--config {tmp_path}/copy/best_config.yaml --data images " in next_commands.train(study, CONFIGURATION)
    assert next_commands.place(study) == " (run from the folder where you ran the search)"
    Path("images").mkdir()
    assert "--config copy/best_config.yaml --data images " in next_commands.train(study, CONFIGURATION)
    assert next_commands.place(study) == ""


def test_a_network_from_scratch_needs_no_weights() -> None:
    study = replace(STUDY, settings={"out": "run", "weights": "/weights"})
    assert "--weights" not in next_commands.train(study, CONFIGURATION)


def test_what_stood_out_is_shown_of_the_test_images_too() -> None:
    study = replace(STUDY, settings={"groups": "who.csv", "test": "hold out"})
    assert next_commands.check(study).endswith(" --groups who.csv --test 'hold out'")
    assert "hold out" not in next_commands.train(study, CONFIGURATION)
