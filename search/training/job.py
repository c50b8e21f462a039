"""Description of a fit: the part that its stage decides, and the part that follows from the study."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from search.arrays import IntArray
from search.collapse.rules import FitContext
from search.settings import TrainingProtocol
from spaces.config import Configuration


@dataclass(frozen=True, kw_only=True, slots=True)
class FitSpec:
    """A fit as its stage describes it: a configuration, and the images to train and validate on.

    Configuration, split, repeat, fold and attempt determine the fit's seed.
    """

    trial: int  # number of the trial in the study
    stage: str  # name of the stage, such as "search" or "confirm"
    configuration: Configuration
    train: IntArray  # (m,) rows of the training images among all images
    val: IntArray  # (v,) rows of the validation images; v = 0 without validation
    repeat: int = 0
    fold: int = 0
    attempt: int = 0  # 0, or 1 for the second fit of a fold after a collapse
    split: str | None = None  # name of the partition in key and seed; None: the stage's name
    corrupt: bool = False  # also score corrupted copies of the validation images if the fit learns
    bars: tuple[tuple[int, float], ...] = ()  # (epoch, least validation skill with which the fit goes on)
    shortest: int | None = None  # training images of the partition's smallest fold; None: of the search's smallest fold


@dataclass(frozen=True, kw_only=True, slots=True)
class FitJob(FitSpec):
    """A fit as a worker runs it: the description, and the settings that follow from the study."""

    protocol: TrainingProtocol
    seed: int  # seed of the fit
    context: FitContext  # facts for the collapse rules
    audited: bool = False  # True: a collapse is recorded, but does not end the fit
    updates: int | None = None  # optimizer steps by the smallest fold, equal for all folds; None: of this fit
    limit_seconds: float | None = None  # a fit that would take longer is stopped as too slow; None: no limit
    microbatches: int = 1  # number of parts of a batch that earlier fits needed for the device's memory
    predict: Path | None = None  # images to predict if the fit learns: (p, side, side, channels) uint8 .npy
    predict_shape_ids: IntArray | None = None  # (p,) index of each of these images' shape; None: all squares
    checkpoint: Path | None = None  # file of the fit's checkpoint; None: no checkpoints
