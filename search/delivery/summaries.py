"""Summaries of training and predicting, as plain values that the commands print."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True, slots=True)
class Trained:
    """Summary of a training whose model was written."""

    model: Path
    card: Path
    images: int
    members: int  # trainings that the model is made of
    weights: int
    metric: str
    held_out: float | None  # of an ensemble: score of its members on the images that they were not trained on
    notes: tuple[str, ...]  # what the user should know, in sentences


@dataclass(frozen=True, kw_only=True, slots=True)
class Predicted:
    """Summary of the predictions in a written table."""

    csv: Path
    images: int
    classes: dict[str, int]  # images given to each class
    unlike: int | None  # images unlike the training images; None where that can't be told
    unreadable: dict[str, str]  # file -> reason
    right: tuple[int, int] | None  # where sub-folders are named as the classes: images that lie in theirs, of all
    notes: tuple[str, ...]
