"""Shell commands for the next steps after a search, with the images and options of the search."""

from __future__ import annotations

import shlex
from pathlib import PurePath

from reports.wording import shown
from search.records import StudyRecord
from spaces.backbones import IMAGENET, NO_BACKBONE, RANDOM
from spaces.config import Configuration


def check(study: StudyRecord) -> str:
    """Return the command that shows the findings in the images."""
    return f"python run_search.py check {_images(study)}{_option(study, 'groups')}{_option(study, 'test')}"


def train(study: StudyRecord, configuration: Configuration) -> str:
    """Return the command that trains the recommended configuration on all images."""
    out = PurePath(study.settings.get("out") or PurePath("runs") / PurePath(study.data.folder).name)
    weights = study.settings.get("weights", IMAGENET)
    is_needed = configuration.backbone != NO_BACKBONE and weights not in (IMAGENET, RANDOM)
    weights_option = f" --weights {_word(weights)}" if is_needed else ""
    return (
        f"python run_search.py train --config {_word(str(out / 'best_config.yaml'))} {_images(study)}"
        f"{_option(study, 'groups')}{weights_option} --model model.keras"
    )


def predict() -> str:
    """Return the command that predicts new images with the trained model."""
    return "python run_search.py predict --model model.keras --data NEW --csv out.csv"


def _images(study: StudyRecord) -> str:
    links = " --follow-links" if study.settings.get("follow_links") else ""
    return f"--data {_word(study.data.folder)}{_option(study, 'labels')}{links}"


def _option(study: StudyRecord, name: str) -> str:
    """Return an option with its value in the search; empty if it was not set."""
    value = study.settings.get(name)
    return f" --{name} {_word(value)}" if value else ""


def _word(text: str) -> str:
    return shlex.quote(shown(text))
