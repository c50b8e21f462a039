"""Summaries of a training and of a prediction, for the commands to print."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True, slots=True)
class Trained:
    """Summary of a training whose model was written."""

    model: Path  # .keras file
    card: Path  # .json file
    images: int  # number of training images
    members: int  # number of networks in the model: 1, or one per fold for an ensemble
    weights: int  # number of weights of the model
    metric: str
    held_out: float | None  # score of an ensemble's members on their validation images; None for a single network
    notes: tuple[str, ...]  # sentences for the user


@dataclass(frozen=True, kw_only=True, slots=True)
class Predicted:
    """Summary of the predictions in a CSV file."""

    csv: Path
    images: int  # number of predicted images
    classes: dict[str, int]  # class -> number of images predicted as it
    unlike: int | None  # number of images unlike the training images; None without an outlier detector
    unreadable: dict[str, str]  # file -> reason
    right: tuple[int, int] | None  # (correct images, all images) if sub-folders are named like the classes, else None
    notes: tuple[str, ...]  # sentences for the user
