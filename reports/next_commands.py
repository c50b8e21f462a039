"""Shell commands for the next steps after a search, with its run folder, images and options."""

from __future__ import annotations

import shlex
from pathlib import Path, PurePath

from reports.wording import shown
from search.records import StudyRecord
from spaces.backbones import AUTO, IMAGENET, NO_BACKBONE, NO_WEIGHTS, RANDOM
from spaces.config import Configuration


def check(study: StudyRecord) -> str:
    """Return the command that shows the findings in the images."""
    return f"python run_search.py check {_images(study)}{_option(study, 'groups')}{_option(study, 'test')}"


def train(study: StudyRecord, configuration: Configuration) -> str:
    """Return the command that trains the recommended configuration on all images."""
    out = _run_folder(study)
    weights = study.settings.get("weights", AUTO)
    is_needed = configuration.backbone != NO_BACKBONE and weights not in (AUTO, IMAGENET, RANDOM, NO_WEIGHTS)
    weights_option = f" --weights {_word(weights)}" if is_needed else ""
    return (
        f"python run_search.py train --config {_word(str(out / 'best_config.yaml'))} {_images(study)}"
        f"{_option(study, 'groups')}{weights_option} --model model.keras"
    )


def predict() -> str:
    """Return the command that predicts new images with the trained model."""
    return "python run_search.py predict --model model.keras --data ./new_images --csv out.csv"


def place(study: StudyRecord) -> str:
    """Return where to run the commands, in brackets; empty if the images can be found from the current folder."""
    return "" if _is_here(study) else " (run from the folder where you ran the search)"


def _run_folder(study: StudyRecord) -> PurePath:
    """Return the run folder as the current folder sees it; absolute if the commands must be run from elsewhere."""
    if study.run_folder:
        return Path(study.run_folder) if _is_here(study) else Path(study.run_folder).absolute()
    return PurePath(study.settings.get("out") or PurePath("runs") / PurePath(study.data.folder).name)


def _is_here(study: StudyRecord) -> bool:
    return not study.run_folder or Path(study.data.folder).exists()


def _images(study: StudyRecord) -> str:
    links = " --follow-links" if study.settings.get("follow_links") else ""
    return f"--data {_word(study.data.folder)}{_option(study, 'labels')}{links}"


def _option(study: StudyRecord, name: str) -> str:
    """Return an option with its value in the search; empty if it was not set."""
    value = study.settings.get(name)
    return f" --{name} {_word(value)}" if value else ""


def _word(text: str) -> str:
    return shlex.quote(shown(text))
