"""The description of a fit: what its stage decides, and what follows from the study."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from search.arrays import IntArray
from search.collapse.rules import FitContext
from search.settings import TrainingProtocol
from spaces.config import Configuration


@dataclass(frozen=True, kw_only=True, slots=True)
class FitSpec:
    """A fit as its stage describes it: which configuration on which images.

    All but `corrupt`, `bars` and `shortest` decides the fit's key and seed.
    """

    trial: int  # place of the trial in the study
    stage: str  # search, confirm, ...
    configuration: Configuration
    train: IntArray  # (m,) rows of the training images among all images
    val: IntArray  # (v,) rows of the validation images; empty where there is nothing to validate on
    repeat: int = 0
    fold: int = 0
    attempt: int = 0  # 0, or 1 for the second chance after a soft collapse
    split: str | None = None  # name of the partition in key and seed; None takes the stage's
    corrupt: bool = False  # also score corrupted copies of the validation images if the fit learns
    bars: tuple[tuple[int, float], ...] = ()  # by epoch, the least skill with which the fit goes on
    shortest: int | None = None  # training images of the partition's smallest fold; None: of the search's


@dataclass(frozen=True, kw_only=True, slots=True)
class FitJob(FitSpec):
    """A fit as a worker runs it: the description, and what follows from it in this study."""

    protocol: TrainingProtocol
    seed: int
    context: FitContext  # for the collapse rules
    audited: bool = False  # a collapse is recorded and does not end the fit
    updates: int | None = None  # optimizer steps of a fit of its kind, equal for unequal folds; None: its own
    limit_seconds: float | None = None  # a fit that will take longer is stopped as too slow
    microbatches: int = 1  # parts of a batch, as many as are known to be needed for the device's memory
    predict: Path | None = None  # images to predict if the fit learns: (p, side, side, channels) uint8 .npy
    predict_shape_ids: IntArray | None = None  # (p,) index of each of these images' shape in the protocol's
    checkpoint: Path | None = None  # file from which an interrupted fit resumes; None: it would start again
