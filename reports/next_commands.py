"""Commands that go on from a study, for the shell: they name the same images as it did."""

from __future__ import annotations

import shlex
from pathlib import PurePath

from reports.wording import shown
from search.records import StudyRecord
from spaces.backbones import IMAGENET, NO_BACKBONE, RANDOM
from spaces.config import Configuration


def check(study: StudyRecord) -> str:
    """That shows what stood out in the images."""
    return f"python run_search.py check {_images(study)}{_given(study, 'groups')}{_given(study, 'test')}"


def train(study: StudyRecord, configuration: Configuration) -> str:
    """That trains the recommended configuration on all images."""
    out = PurePath(study.settings.get("out") or PurePath("runs") / PurePath(study.data.folder).name)
    weights = study.settings.get("weights", IMAGENET)
    is_needed = configuration.backbone != NO_BACKBONE and weights not in (IMAGENET, RANDOM)
    given = f" --weights {_word(weights)}" if is_needed else ""
    return (
        f"python run_search.py train --config {_word(str(out / 'best_config.yaml'))} {_images(study)}"
        f"{_given(study, 'groups')}{given} --model model.keras"
    )


def predict() -> str:
    """That asks the trained network."""
    return "python run_search.py predict --model model.keras --data NEW --csv out.csv"


def _images(study: StudyRecord) -> str:
    links = " --follow-links" if study.has_switch("follow_links") else ""
    return f"--data {_word(study.data.folder)}{_given(study, 'labels')}{links}"


def _given(study: StudyRecord, name: str) -> str:
    """An option as the search had it."""
    value = study.settings.get(name)
    return f" --{name} {_word(value)}" if value else ""


def _word(text: str) -> str:
    return shlex.quote(shown(text))
